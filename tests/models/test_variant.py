"""Variants: what is converted when, and how it is kept in the cache."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from framepace.errors import ModelError, SourceError, UsageError
from framepace.facts.plan import Batching, ModelPlan, Prepare
from framepace.models import builtin
from framepace.models.convert.calibration import prepared_inputs
from framepace.models.convert.variant import load, variant, weight_files
from framepace.models.spec import inspect, resolve
from framepace.video.source import synthetic_video

FOLDED = Prepare(place="graph")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for each test."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("FRAMEPACE_CACHE", str(folder))
    return folder


@pytest.fixture
def told() -> list[str]:
    """What was told while converting."""
    return []


SMALL = "builtin:classifier@64x64"


def plan(model: str = "builtin:classifier", **fields: Any) -> ModelPlan:
    """A plan of the model."""
    return ModelPlan(**{"name": "m", "model": model, **fields})


def run(location: str, inputs: dict[str, Any]) -> Any:
    """First output of ONNX Runtime on the CPU."""
    source = builtin.model_bytes(location.removeprefix("builtin:")) if location.startswith("builtin:") else location
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def pixels(side: int = 224) -> Any:
    """A picture for the built-in classifier, as bytes."""
    return np.random.default_rng(0).integers(0, 256, (1, 3, side, side), dtype=np.uint8)


def beside(folder: Path) -> str:
    """The built-in classifier with its weights in a file beside it."""
    path = folder / "net.onnx"
    onnx.save(load("builtin:classifier"), path, save_as_external_data=True, location="net.bin", size_threshold=0)
    return str(path)


def files(folder: Path) -> list[str]:
    """Names of all files in it."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_nothing_to_change_is_the_model_itself(own_cache: Path) -> None:
    """Without a fold and another precision the model's own location comes back, and nothing is written."""
    assert variant(plan()) == "builtin:classifier"
    assert variant(plan("null", prepare=FOLDED), "fp16") == "null"
    assert files(own_cache) == []


def test_a_model_that_takes_bytes_is_the_model_itself(tmp_path: Path, own_cache: Path) -> None:
    """An input of uint8 has nothing to fold."""
    values = [helper.make_tensor_value_info(name, TensorProto.UINT8, [1, 3, 8, 8]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", values[:1], values[1:])
    path = tmp_path / "bytes.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    assert variant(plan(str(path), prepare=FOLDED)) == str(path)
    assert files(own_cache) == []


def test_a_folded_network_gives_the_same_answers() -> None:
    """The built-in classifier on the same pixels: probabilities equal to 1e-5."""
    location = variant(plan(prepare=FOLDED))
    expected = run("builtin:classifier", {"images": pixels().astype(np.float32) / np.float32(255)})
    np.testing.assert_allclose(run(location, {"images": pixels()}), expected, atol=1e-5)


@pytest.mark.parametrize(("precision", "off"), [("fp16", 0.01), ("int8", 0.1)])
@pytest.mark.parametrize("place", ["host", "graph"])
def test_each_precision_with_and_without_preparation_in_the_graph(precision: str, off: float, place: Any) -> None:
    """Inputs as the plan's host prepares them, or the bytes: answers near those of FP32 on frames of the video."""
    model = plan(SMALL, calibration="synthetic", prepare=Prepare(place=place, mean=(0.5,), std=(0.5,)))
    location = variant(model, precision)
    own, changed = (resolve(inspect(where), model) for where in (model.model, location))
    assert changed.image is not None
    assert changed.image.dtype == ("uint8" if place == "graph" else "float32")
    for expected, given in list(zip(prepared_inputs(model, own), prepared_inputs(model, changed), strict=True))[::20]:
        wanted, got = run(model.model, expected), run(location, given)
        assert got.dtype == np.float32
        assert 0 < np.linalg.norm(got - wanted) < off * np.linalg.norm(wanted)


def test_int8_with_the_rest_in_fp16_is_a_variant_of_its_own() -> None:
    """Weights in float16, Q/DQ pairs as in INT8; inputs and outputs stay float32."""
    model = plan(SMALL, calibration="synthetic")
    mixed, plain = variant(model, "int8+fp16"), variant(model, "int8")
    assert mixed != plain
    assert inspect(mixed).inputs == inspect(plain).inputs == inspect(model.model).inputs
    assert inspect(mixed).outputs[0].dtype == "float32"
    pairs = [[node.op_type for node in load(where).graph.node].count("QuantizeLinear") for where in (mixed, plain)]
    assert pairs[0] == pairs[1] > 0


def test_a_variant_is_made_once_and_again_when_something_changes(own_cache: Path, told: list[str]) -> None:
    """The second time the file is found; another mean, precision or model is another file."""

    def made(**fields: Any) -> str:
        precision = fields.pop("precision", None)
        return variant(plan(**{"prepare": FOLDED, **fields}), precision, lambda text, share: told.append(text))

    first = made()
    assert made() == first
    assert told == ["converting m: preparation into the graph"]
    others = [made(prepare=Prepare(place="graph", mean=(0.5,))), made(precision="fp16"), made(model="builtin:detector")]
    assert len({first, *others}) == len(files(own_cache)) == 4


def test_what_does_not_matter_to_a_fold_makes_no_other_file() -> None:
    """Resizing, padding and the order of colours stay with the host: the same graph serves."""
    first = variant(plan(prepare=FOLDED))
    assert variant(plan(prepare=Prepare(place="graph", resize="letterbox", pad_value=0, colour="bgr"))) == first
    assert variant(plan(prepare=FOLDED, batch=Batching(max=4))) == first


def test_int8_depends_on_frames_and_preparation(tmp_path: Path, told: list[str]) -> None:
    """Another video, the same one changed, other sizes or another preparation calibrate anew; the place does not."""
    video = tmp_path / "v.mp4"
    video.write_bytes(synthetic_video((64, 64)))

    def made(**fields: Any) -> str:
        model = plan(**{"model": SMALL, "calibration": str(video), **fields})
        return variant(model, "int8", lambda text, share: told.append(text))

    first = made()
    others = [made(prepare=Prepare(mean=(0.5,))), made(batch=Batching(max=2)), made(calibration="synthetic")]
    os.utime(video, ns=(1, 1))
    assert len({first, *others, made()}) == 5
    told.clear()
    assert made(prepare=Prepare(constant=True)) == made()
    assert told == []


def test_a_variant_that_is_there_needs_no_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found in the cache: nothing is decoded."""
    first = variant(plan(SMALL, calibration="synthetic"), "int8")
    monkeypatch.setattr("framepace.models.convert.variant.prepared_inputs", None)
    assert variant(plan(SMALL, calibration="synthetic"), "int8") == first


def test_weights_beside_the_file_are_converted_and_told_apart(tmp_path: Path) -> None:
    """The variant holds them itself; other weights under the same graph are another variant."""
    location = beside(tmp_path)
    assert [path.name for path in weight_files(location)] == ["net.bin"]
    first = variant(plan(location, prepare=FOLDED))
    assert weight_files(first) == []
    expected = run("builtin:classifier", {"images": pixels().astype(np.float32) / np.float32(255)})
    np.testing.assert_allclose(run(first, {"images": pixels()}), expected, atol=1e-5)
    data = (tmp_path / "net.bin").read_bytes()
    (tmp_path / "net.bin").write_bytes(bytes(len(data)))
    os.utime(tmp_path / "net.bin", ns=(1, 1))
    second = variant(plan(location, prepare=FOLDED))
    assert second != first
    np.testing.assert_allclose(run(second, {"images": pixels()}), 0.01)  # a hundred classes alike


def test_weights_that_are_missing_are_a_sentence(tmp_path: Path, own_cache: Path) -> None:
    """The file beside the model is gone: the error says to put it there, and nothing is written."""
    location = beside(tmp_path)
    (tmp_path / "net.bin").unlink()
    with pytest.raises(ModelError, match="weights file"):
        variant(plan(location), "fp16")
    assert files(own_cache) == []


@pytest.mark.parametrize("precision", [None, "fp16", "int8"])
def test_what_is_too_large_for_one_file_has_its_weights_beside_it(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch, precision: str | None
) -> None:
    """With the limit lowered: two files, which run from where they are, as the one file does."""
    model = plan(SMALL, prepare=FOLDED, calibration="synthetic")
    expected = run(variant(model, precision), {"images": pixels(64)})
    monkeypatch.setattr("framepace.models.convert.variant.LARGEST", 1 << 20)
    monkeypatch.setattr("framepace.models.convert.precision.LARGEST", 1 << 20)
    monkeypatch.setattr("framepace.models.convert.optimised.LARGEST", 1 << 20)
    shutil.rmtree(own_cache)
    location = variant(model, precision)
    assert [path.name for path in weight_files(location)] == [f"{Path(location).name}.data"]
    assert files(own_cache / "variants") == sorted([Path(location).name, f"{Path(location).name}.data"])
    assert Path(location).stat().st_size < 1 << 20
    np.testing.assert_allclose(run(location, {"images": pixels(64)}), expected, atol=1e-4)


def test_ctrl_c_leaves_no_variant(own_cache: Path) -> None:
    """Interrupted while calibrating: nothing in the cache, and the next time it is made."""

    def interrupt(text: str, share: float | None) -> None:
        if share is not None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        variant(plan(SMALL, calibration="synthetic"), "int8", interrupt)
    assert files(own_cache) == []
    assert Path(variant(plan(SMALL, calibration="synthetic"), "int8")).is_file()


def test_any_name_of_a_model_makes_a_file_of_the_cache(own_cache: Path) -> None:
    """Slashes, colons and great length are not taken into the path."""
    for name in ("../../up", "a:b/c", "x" * 500):
        location = Path(variant(plan(name=name, prepare=FOLDED)))
        assert location.parent == own_cache / "variants"
        assert location.is_file()


def test_int8_without_frames_says_how_to_give_them() -> None:
    """No calibration data: the setting that names it is in the error."""
    with pytest.raises(UsageError, match="calibration=VIDEO"):
        variant(plan(), "int8")


def test_frames_that_are_not_there_are_a_sentence(own_cache: Path) -> None:
    """A video that does not exist: a SourceError, and nothing is written."""
    with pytest.raises(SourceError, match="no such video"):
        variant(plan(calibration="nowhere.mp4"), "int8")
    assert files(own_cache) == []


def test_bf16_cannot_be_put_into_a_file() -> None:
    """The error names what can."""
    with pytest.raises(UsageError, match="tensorrt 10"):
        variant(plan(), "bf16")
