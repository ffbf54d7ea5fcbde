"""PyTorch on a CPU: the same numbers as elsewhere."""

from __future__ import annotations

import functools
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from framepace.backends.base import get_backend
from framepace.errors import BackendError, FramepaceError
from framepace.facts.plan import Prepare
from framepace.models import builtin
from framepace.video.prepare import Preparer

pytest.importorskip("torch")
import torch

from framepace.backends.torch.layers import operator_layers
from tests.doubles.torchnets import Branches, Net, fill, infer, load, reference


@pytest.mark.parametrize("name", builtin.names())
def test_built_in_networks_are_those_of_the_onnx_file(name: str) -> None:
    """PyTorch and ONNX Runtime give the same outputs within 1e-4 of their size, under the same names."""
    import onnxruntime as ort

    worker = load(f"builtin:{name}").worker()
    x = fill(worker)
    other = ort.InferenceSession(builtin.model_bytes(name), providers=["CPUExecutionProvider"])
    expected = dict(zip([out.name for out in other.get_outputs()], other.run(None, {"images": x}), strict=True))
    found = infer(worker, 1)
    assert list(found) == list(expected)
    for key, out in found.items():
        np.testing.assert_allclose(out, expected[key], atol=1e-4 * max(1.0, np.abs(expected[key]).max()))


def test_an_exported_program_computes_what_the_module_does(exported: str) -> None:
    """Outputs equal the module's for the whole batch and for a part of it; shapes and dtypes are the file's."""
    session = load(exported, batch=5)
    assert [(t.name, t.shape, t.dtype) for t in session.spec.inputs] == [("picture", (5, 3, 8, 8), "float32")]
    assert session.spec.format == "torch-export"
    worker = session.worker()
    x = fill(worker)
    for count in (5, 2):
        found = infer(worker, count)
        assert set(found) == {t.name for t in session.spec.outputs}
        for out, expected in zip(found.values(), reference(x[:count]), strict=True):
            assert out.dtype == np.float32
            np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("how", ["scripted", "traced", "frozen"])
def test_torchscript_computes_what_the_module_does(tmp_path: Path, how: str) -> None:
    """With a shape from the plan, however it was made; outputs are y0 and y1, a 1 in the shape is the batch."""
    net, path = Net().eval(), tmp_path / "net.ts"
    module = torch.jit.trace(net, torch.rand(1, 3, 8, 8)) if how == "traced" else torch.jit.script(net)
    (torch.jit.freeze(module) if how == "frozen" else module).save(path)
    session = load(str(path), batch=4, shapes={"picture": (1, 3, 8, 8)})
    assert {t.name: t.shape for t in session.spec.outputs} == {"y0": (4, 4, 8, 8), "y1": (4, 4)}
    worker = session.worker()
    x = fill(worker)
    for count in (4, 1):
        found = infer(worker, count)
        for name, expected in zip(("y0", "y1"), reference(x[:count]), strict=True):
            np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-6)


def test_control_flow_modes_and_sizes_are_those_of_torch(tmp_path: Path) -> None:
    """Every output equals that of torch.export's own module, bit for bit; bfloat16 comes as float32."""
    path, x = tmp_path / "branches.pt2", torch.rand(4, 3, 6) - 0.5
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(Branches().eval(), (x, None), dynamic_shapes=({0: batch}, None))
    torch.export.save(program, path)
    session = load(str(path), batch=4)
    worker = session.worker()
    worker.staging(0)["x"][...] = x.numpy()
    found = list(infer(worker, 4).values())
    with torch.no_grad():
        leaves = [leaf for leaf in torch.utils._pytree.tree_leaves(program.module()(x, None)) if leaf is not None]
    assert len(found) == len(leaves) == 9
    assert all(np.array_equal(out, leaf.float().numpy()) for out, leaf in zip(found, leaves, strict=True))


def test_two_threads_get_the_outputs_of_their_own_inputs(exported: str) -> None:
    """Workers share the weights and nothing else."""
    session, wrong = load(exported), list[int]()

    def work(seed: int) -> None:
        worker = session.worker()
        expected = reference(fill(worker, seed))[0]
        wrong.extend(seed for _ in range(50) if not np.allclose(next(iter(infer(worker, 1).values())), expected, 1e-4))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    ("changes", "near"),
    [
        ({"options": {"channels_last": "true"}}, 1e-5),
        ({"precision": "bf16"}, 5e-2),
        ({"precision": "fp16"}, 1e-2),
        ({"precision": "bf16", "options": {"channels_last": True}}, 5e-2),
    ],
)
@pytest.mark.parametrize("kind", ["exported", "scripted"])
def test_layout_and_precision_change_the_rounding_alone(
    request: pytest.FixtureRequest, kind: str, changes: dict[str, Any], near: float
) -> None:
    """Outputs stay float32 and contiguous, near those of float32; low precision is visible in them."""
    location = request.getfixturevalue(kind)
    worker = load(location, batch=2, shapes={"picture": (1, 3, 8, 8)}, **changes).worker()
    x = fill(worker)
    for out, expected in zip(infer(worker, 2).values(), reference(x), strict=True):
        assert out.dtype == np.float32
        assert out.flags.c_contiguous
        assert np.abs(out - expected).max() < near * np.abs(expected).max()
        assert ("precision" in changes) == bool(np.abs(out - expected).max() > 1e-5)


def test_compiled_outputs_are_those_of_the_module(exported: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.compile traces the whole inference, folding included (its back-end here only replays the trace)."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager", fullgraph=True))
    prepare = Prepare(place="graph")
    worker = load(exported, batch=2, options={"compile": True}, prepare=prepare).worker()
    x = fill(worker)
    for out, expected in zip(infer(worker, 2).values(), reference(np.float32(x) / 255), strict=True):
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)


def test_every_compiled_model_of_a_process_is_compiled(exported: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch stops compiling one function after eight variants; every load is a function of its own."""
    compiled = 0

    def counting(graph: Any, inputs: Any) -> Any:
        nonlocal compiled
        compiled += 1
        return graph.forward

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=counting))
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 2, raising=False)
    for _ in range(4):
        load(exported, options={"compile": True}).close()
    assert compiled >= 4


@pytest.mark.parametrize(
    "prepare",
    [
        Prepare(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        Prepare(colour="bgr", scale=1.0, mean=(104.0, 117.0, 123.0)),
        Prepare(resize="letterbox", mean=(0.5,), std=(0.25,)),
    ],
)
def test_folded_preparation_gives_the_values_of_the_host(exported: str, prepare: Prepare) -> None:
    """The same picture, prepared on the host or in PyTorch, gives equal outputs within rounding, from uint8 staging."""
    from msgspec.structs import replace

    picture = np.random.default_rng(3).integers(0, 256, (12, 20, 3), np.uint8)
    results = []
    for place, dtype in (("host", "float32"), ("graph", "uint8")):
        session = load(exported, prepare=replace(prepare, place=place))
        worker, image = session.worker(), session.resolved.image
        assert image is not None
        assert worker.staging(0)["picture"].dtype == image.dtype == dtype
        Preparer(prepare, (8, 8), "nchw", 3, dtype)(picture, worker.staging(0)["picture"][0])
        results.append(list(infer(worker, 1).values()))
        assert session.spec.inputs[0].dtype == "float32"
    for host, folded in zip(*results, strict=True):
        np.testing.assert_allclose(folded, host, rtol=1e-4, atol=1e-4 * np.abs(host).max())


def test_layers_are_the_nodes_of_the_graph_with_their_work(exported: str) -> None:
    """In their order, each with its time, operations, bytes and tensors; the convolution has the most operations."""
    layers = load(exported, threads=1).layers()
    assert all(layer.time is not None and layer.bytes for layer in layers)
    assert "conv" in max(layers, key=lambda layer: layer.flops or 0).name
    written = {name for layer in layers for name in layer.outputs}
    assert set(layers[-1].inputs) <= written
    assert {layer.place for layer in layers} == {"cpu"}


def test_the_profiler_writes_nothing_to_stderr(exported: str, capfd: pytest.CaptureFixture[str]) -> None:
    """PyTorch 2.13 says there when a profile begins and ends."""
    load(exported, threads=1).layers()
    assert capfd.readouterr().err == ""


def test_layers_of_what_is_no_graph_are_operators_the_longest_first() -> None:
    """A compiled network is one function; its operators have no edges between them."""
    told = operator_layers(lambda inputs: [("y", torch.relu(inputs[0] @ inputs[0]))], [torch.ones(64, 64)], "cpu")
    times = [layer.time or 0 for layer in told]
    assert sum(times) > 0
    assert times == sorted(times, reverse=True)
    assert {"aten::mm", "aten::relu"} <= {layer.name for layer in told}


def test_threads_are_set_and_set_back(exported: str) -> None:
    """The number of threads holds in other threads too, and 0 gives PyTorch's own again."""
    load(exported, threads=0)
    own, seen = torch.get_num_threads(), list[int]()
    for threads in (own + 1, 0):
        load(exported, threads=threads)
        thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        thread.start()
        thread.join()
    assert seen == [own + 1, own]


def test_without_a_gpu_the_cpu_is_told_of(exported: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing asked: a note says why it is the CPU. 'cuda' asked: an error with the reason and the way out."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "runs on the CPU" in load(exported, device=None).notes[0]
    assert get_backend("torch").devices == ("cpu", "cuda")
    with pytest.raises(BackendError, match="cannot use a GPU") as error:
        load(exported, device="cuda")
    assert error.value.got
    assert error.value.fix


def test_a_failing_inference_says_what_pytorch_says(scripted: str, exported: str) -> None:
    """Wrong channels: the library's sentence, not the place in its sources; TorchScript says it last."""
    for location in (scripted, exported):
        worker = load(location, shapes={"picture": (1, 3, 8, 8)}).worker()
        worker._inputs = {"picture": np.zeros((1, 4, 8, 8), np.float32)}  # type: ignore[attr-defined]
        with pytest.raises(BackendError, match="to have 3 channels, but got 4"):
            worker.enqueue(0, 1)


@pytest.mark.parametrize(
    ("kind", "changes", "says"),
    [
        ("scripted", {}, "--shape picture=1x3x"),
        ("scripted", {"shapes": {"picture": (1, 5, 8, 8)}, "prepare": Prepare(layout="nchw")}, "channels"),
        ("scripted", {"shapes": {"picture": (1, 3, 8, 8)}, "options": {"compile": True}}, "cannot be compiled"),
        ("exported", {"precision": "int8"}, "onnxruntime or tensorrt"),
        ("exported", {"batch": 65}, "exported for other sizes"),
        ("exported", {"options": {"compile": "perhaps"}}, "bool"),
        ("exported", {"options": {"compile_mode": "reduce-overhead"}}, "compile_mode"),
    ],
)
def test_settings_that_cannot_be_are_refused_with_a_sentence(
    request: pytest.FixtureRequest, kind: str, changes: dict[str, Any], says: str
) -> None:
    """An error of ours that names the way out."""
    with pytest.raises(FramepaceError, match=says):
        load(request.getfixturevalue(kind), **changes)


def test_versions_can_be_stored() -> None:
    """PyTorch's version is a subclass of str, which files do not take: ours is a plain one."""
    assert {type(version) for version in get_backend("torch").versions().values()} == {str}
