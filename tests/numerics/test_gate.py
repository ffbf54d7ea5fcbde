"""The accuracy gate: real models in other precisions, held against themselves in FP32."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper

from framepace.errors import ModelError, SourceError, UsageError
from framepace.facts.accuracy import Agreement, Gate
from framepace.facts.plan import Batching, ModelPlan, Prepare
from framepace.facts.workload import Input
from framepace.models.convert.variant import variant
from framepace.numerics.gate import agreement, reference_of
from framepace.store import cache

VIDEO = Input(size=(64, 96))
SMALL = ("builtin:classifier@64x64", "builtin:detector@128x64")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for each test."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("FRAMEPACE_CACHE", str(folder))
    return folder


@pytest.fixture
def told() -> list[str]:
    """What was told: nothing when the numbers came from the cache."""
    return []


def plan(model: str = SMALL[0], **fields: Any) -> ModelPlan:
    """A plan of the model."""
    return ModelPlan(**{"name": "m", "model": model, "threads": 1, **fields})


def half(model: ModelPlan) -> ModelPlan:
    """The model's FP16 file, run as it is: ONNX Runtime takes no precision fp16 on a CPU, but runs such files."""
    return replace(model, model=variant(model, "fp16"))


def save(path: Path, nodes: list[Any], inputs: dict[str, Any], outputs: tuple[str, ...], *weights: Any) -> str:
    """An ONNX file of float tensors, outputs of any shape."""
    value = helper.make_tensor_value_info
    given = [value(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    made = [value(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "g", given, made, list(weights))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return str(path)


def overflowing(path: Path) -> str:
    """'mild' and 'large' of a picture of 16x16: 'large' goes up to 120000, more than FP16 can hold.

    On a CPU ONNX Runtime computes in FP32 what it has no FP16 kernel for, and leaves out the casts in between, at any
    level of optimisation; a transposition it does in FP16, so that the values do go through FP16.
    """
    factor = numpy_helper.from_array(np.float32(60000), "factor")
    nodes = [
        helper.make_node("Mul", ["x", "factor"], ["big"]),
        helper.make_node("Add", ["big", "big"], ["sum"]),
        helper.make_node("Transpose", ["sum"], ["large"], perm=[0, 2, 3, 1]),
        helper.make_node("Relu", ["x"], ["mild"]),
    ]
    return save(path, nodes, {"x": ["n", 3, 16, 16]}, ("mild", "large"), factor)


def numbers(found: Agreement, name: str) -> list[float | None]:
    """One number of every output."""
    return [getattr(out, name) for out in found.outputs]


@pytest.mark.parametrize("model", SMALL)
def test_a_model_agrees_with_itself_exactly(model: str) -> None:
    """The same plan on both sides: zero error at every output, and the strictest gate passes."""
    strictest = Gate(cosine=1.0, relative_l2=0.0, top1=1.0)
    found = agreement(plan(model), VIDEO, strictest, frames=5)
    assert (found.passed, found.frames, found.why) == (True, 5, ())
    assert set(numbers(found, "max_abs")) == set(numbers(found, "worst_l2")) == {0.0}


@pytest.mark.parametrize("model", SMALL)
def test_batches_bring_the_same_frames(model: str) -> None:
    """A batch of 4 beside a batch of 1: each frame against itself, the last, incomplete batch too."""
    found = agreement(
        plan(model, batch=Batching(max=4)), VIDEO, Gate(relative_l2=1e-5), reference=plan(model), frames=6
    )
    assert (found.passed, found.frames) == (True, 6), found.why
    one = agreement(plan(model), VIDEO, frames=6)
    assert numbers(found, "compared") == numbers(one, "compared")


@pytest.mark.parametrize("model", SMALL)
def test_fp16_passes_and_int8_passes_its_wider_gate(model: str) -> None:
    """Both err, FP16 less than INT8; at FP16's thresholds INT8 does not pass."""
    whole = plan(model, calibration="synthetic")
    fp16 = agreement(half(whole), VIDEO, reference=whole, frames=8)
    int8 = agreement(replace(whole, precision="int8"), VIDEO, frames=8)
    assert (fp16.passed, int8.passed) == (True, True), (fp16.why, int8.why)
    for fine, coarse in zip(numbers(fp16, "relative_l2"), numbers(int8, "relative_l2"), strict=True):
        assert fine is not None
        assert coarse is not None
        assert 0 < fine < coarse
    strict = agreement(replace(whole, precision="int8"), VIDEO, Gate(relative_l2=0.01), frames=8)
    assert any("relative L2 error" in why for why in strict.why)


def test_only_a_classifier_has_a_top_1() -> None:
    """Scores of classes are compared by class; a detector's maps by numbers only."""
    assert numbers(agreement(plan(SMALL[0]), VIDEO, frames=2), "top1") == [1.0]
    assert numbers(agreement(plan(SMALL[1]), VIDEO, frames=2), "top1") == [None] * 3


def test_an_overflow_in_fp16_fails_and_names_the_output(tmp_path: Path) -> None:
    """Values over 65504 are infinite in FP16: the gate says where, and that the other output is right."""
    whole = plan(overflowing(tmp_path / "m.onnx"))
    found = agreement(half(whole), VIDEO, reference=whole, frames=4)
    assert not found.passed
    assert {reason.partition(":")[0] for reason in found.why} == {"output 'large'"}
    assert "NaN or infinite" in found.why[0]
    assert [out.nonfinite > 0 for out in found.outputs] == [False, True]


def test_folded_preparation_passes_and_a_wrong_one_does_not() -> None:
    """Bytes normalised in the graph are within rounding of the host's; another mean gives other answers."""
    own = plan(prepare=Prepare(mean=(0.4, 0.5, 0.6), std=(0.2,)))
    folded = replace(own, prepare=replace(own.prepare, place="graph"))
    assert agreement(folded, VIDEO, Gate(relative_l2=1e-5), frames=4).passed
    assert not agreement(replace(own, prepare=Prepare()), VIDEO, reference=own, frames=4).passed


def test_a_model_without_pictures_gets_seeded_random_inputs(tmp_path: Path) -> None:
    """Each frame is another draw, the same for both sides, with a batch or without; another seed, other numbers."""
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    weight = numpy_helper.from_array(np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32), "w")
    whole = plan(save(tmp_path / "m.onnx", [node], {"x": ["n", 8]}, ("y",), weight))
    first, other = (agreement(half(whole), VIDEO, reference=whole, frames=6, seed=seed) for seed in (0, 1))
    assert first.passed
    assert first.outputs[0].relative_l2 != other.outputs[0].relative_l2
    assert first.outputs[0].worst_l2 > first.outputs[0].relative_l2  # type: ignore[operator]
    assert agreement(replace(whole, batch=Batching(max=4)), VIDEO, reference=whole, frames=6).passed


def test_a_network_that_draws_random_numbers_is_told_as_such(tmp_path: Path) -> None:
    """It is not the precision that is blamed: in FP32 it answers otherwise each time as well."""
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["noise"]),
        helper.make_node("Add", ["x", "noise"], ["y"]),
    ]
    whole = plan(save(tmp_path / "m.onnx", nodes, {"x": [1, 64]}, ("y",)))
    with pytest.raises(ModelError, match="answers otherwise each time") as error:
        agreement(half(whole), VIDEO, reference=whole, frames=2)
    assert "output y: " in str(error.value.got)
    assert "RandomNormal" in str(error.value.fix)


def test_a_pytorch_program_is_held_against_itself_in_fp32(tmp_path: Path) -> None:
    """Its own backend is the reference: BF16 errs and passes, FP32 does not err."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    path = tmp_path / "net.pt"
    torch.jit.script(torch.nn.Conv2d(3, 4, 3)).save(path)
    whole = plan(str(path), backend="torch", device="cpu", shapes={"input": (1, 3, 16, 16)})
    error = [agreement(replace(whole, precision=p), VIDEO, frames=3).outputs[0].relative_l2 for p in ("fp32", "bf16")]
    assert error[0] == 0
    assert error[1] is not None
    assert 0 < error[1] < 0.03


def test_numbers_are_kept_whatever_the_gate_and_what_only_speed_depends_on(
    told: list[str], bikes: Path, tmp_path: Path
) -> None:
    """Another gate, or more slots, asks for no other run; other settings, frames, or the video changed do."""
    video = tmp_path / "v.mp4"
    shutil.copyfile(bikes, video)

    def asked(gate: Gate | None = None, frames: int = 2, **fields: Any) -> Agreement:
        source = Input(videos=(str(video),))
        told.clear()
        return agreement(plan(**fields), source, gate, frames=frames, tell=lambda text, share: told.append(text))

    first = asked()
    assert told
    assert asked(name="other") == first
    assert not told
    assert asked(Gate(relative_l2=None), slots=1, spinning=False, batch=Batching(window_ms=5)).outputs == first.outputs
    assert not told
    changes: list[dict[str, Any]] = [{"frames": 3}, {"prepare": Prepare(mean=(0.5,))}, {"model": SMALL[1]}]
    for change in changes:
        asked(**change)
        assert told, change
    shutil.copyfile(bikes, video)
    asked()
    assert told


def test_a_damaged_file_of_the_cache_is_made_again(own_cache: Path) -> None:
    """Half a file is no answer."""
    first = agreement(plan(), VIDEO, frames=2)
    (path,) = (own_cache / "agreements").iterdir()
    path.write_bytes(path.read_bytes()[:20])
    assert agreement(plan(), VIDEO, frames=2) == first


def test_a_hook_may_change_so_nothing_is_kept() -> None:
    """Nobody knows what the user's function does the next time."""
    hooked = plan(prepare=Prepare(hook="numpy:flipud"))
    assert agreement(hooked, VIDEO, frames=2).passed
    assert not (cache.folder() / "agreements").exists()


def test_frames_come_from_a_folder_too(tmp_path: Path) -> None:
    """Pictures in a folder; a folder without any is the user's mistake."""
    import av

    for number in range(3):
        pixels = np.full((48, 64, 3), 60 * number, np.uint8)
        with av.open(str(tmp_path / f"{number}.png"), "w", format="image2") as container:
            stream: Any = container.add_stream("png")
            stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode())
    assert agreement(plan(), Input(videos=(str(tmp_path),))).frames == 3
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no pictures"):
        agreement(plan(), Input(videos=(str(tmp_path / "empty"),)))


def test_int8_without_frames_to_calibrate_on_says_how_to_name_them() -> None:
    """Told before anything is loaded."""
    with pytest.raises(UsageError, match=r"--set calibration=VIDEO\|FOLDER"):
        agreement(plan(precision="int8"), VIDEO)


def test_what_computes_nothing_cannot_agree() -> None:
    """A simulated device, and no frames at all."""
    with pytest.raises(UsageError, match="simulated"):
        agreement(plan(backend="simulated"), VIDEO)
    with pytest.raises(UsageError, match="nothing to compare"):
        agreement(plan(), VIDEO, frames=0)


def test_another_model_is_no_reference(tmp_path: Path) -> None:
    """More outputs, or inputs of other names, cannot be compared."""
    with pytest.raises(ModelError, match="outputs are not those of the reference"):
        agreement(plan(SMALL[0]), VIDEO, reference=plan(SMALL[1]))
    with pytest.raises(ModelError, match="inputs have other names"):
        agreement(plan(_sum(tmp_path, "ab")), VIDEO, reference=plan(_sum(tmp_path, "ac")))


def _sum(folder: Path, names: str) -> str:
    """The file of a network that adds up two inputs."""
    inputs = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [4]) for name in names]
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [4])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Add", [*names], ["y"])], "net", inputs, [output])
    path = folder / f"{names}.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    return str(path)


def test_the_reference_is_the_model_in_fp32_without_what_only_a_gpu_has() -> None:
    """ONNX Runtime on the CPU for any ONNX file; an engine has no other precision."""
    gpu = plan(backend="tensorrt", device="cuda", precision="fp16", graph=True, sms=16, prepare=Prepare(place="graph"))
    assert reference_of(gpu) == plan(device="cpu")
    with pytest.raises(UsageError, match="an engine"):
        reference_of(plan("net.engine", backend="tensorrt"))
