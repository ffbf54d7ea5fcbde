"""PyTorch: the same numbers as elsewhere, and nothing in a model file is run that does not compute."""

from __future__ import annotations

import functools
import io
import json
import pickle
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from framepace.errors import BackendError, DeviceLost, DeviceMemoryError, FramepaceError, ModelError, UsageError
from framepace.exec import builtin, torchmodel
from framepace.exec.backend import Session, Tensors, Worker, get_backend
from framepace.exec.clock import SystemClock
from framepace.exec.prepare import Preparer
from framepace.facts.plan import Batching, ModelPlan, Prepare
from tests.gpus import missing

pytest.importorskip("torch")
import torch

cuda = pytest.mark.skipif(missing("torch", "cuda") is not None, reason="no GPU for PyTorch")


class Net(torch.nn.Module):  # type: ignore[misc]
    """A convolution with a normalisation and a buffer: a map and its mean."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(4)
        self.register_buffer("scale", torch.full((4, 1, 1), 2.0))

    def forward(self, picture):  # type: ignore[no-untyped-def]
        """(n, 3, 8, 8) to (n, 4, 8, 8) and (n, 4)."""
        y = self.norm(self.conv(picture)) * self.scale
        return y, y.mean((2, 3))


class Branches(torch.nn.Module):  # type: ignore[misc]
    """What exported graphs may hold: control flow, modes, sizes, several results of one operator, None, bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.linear = torch.nn.Linear(6, 6)
        self.lstm = torch.nn.LSTM(6, 5, batch_first=True)

    def forward(self, x, unused=None):  # type: ignore[no-untyped-def]
        """(n, 3, 6) to many."""
        with torch.no_grad():
            y = self.linear(x)
        with torch.autocast("cpu", enabled=False):
            product = torch.matmul(y, y.transpose(1, 2))
        first, second = torch.split(y, [2, 4], dim=-1)
        sign = torch.cond(x.sum() > 0, lambda t: (t + 1,), lambda t: (t - 1,), (y,))[0]
        flat = y.reshape(x.shape[0] * x.shape[1], 6)
        limited = torch.clamp(y, min=-float("inf"), max=0.5)
        half = torch.ones(x.shape[0] // 2 + 1, dtype=torch.bfloat16)
        return {"a": first, "b": [second, torch.sort(y)[0]]}, product, sign, flat, self.lstm(x)[0], limited, half, None


def save_export(path: Path, net: Any = None) -> str:
    """An exported program with a batch of 1 to 64."""
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(net or Net().eval(), (torch.rand(2, 3, 8, 8),), dynamic_shapes=({0: batch},))
    torch.export.save(program, path)
    return str(path)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The exported program of Net."""
    return save_export(tmp_path_factory.mktemp("torch") / "net.pt2")


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Net as TorchScript."""
    path = tmp_path_factory.mktemp("torch") / "net.pt"
    torch.jit.script(Net().eval()).save(path)
    return str(path)


def plan(location: str, batch: int = 1, **changes: Any) -> ModelPlan:
    """A plan on the CPU."""
    fields: dict[str, Any] = {"device": "cpu", "threads": 1} | changes
    return ModelPlan(name="m", model=location, backend="torch", batch=Batching(max=batch), **fields)


def load(location: str, batch: int = 1, **changes: Any) -> Session:
    """The model loaded."""
    return get_backend("torch").load(plan(location, batch, **changes), SystemClock())


def fill(worker: Worker, seed: int = 0) -> NDArray[Any]:
    """Random input; what it is."""
    (array,) = worker.staging(0).values()
    high = 256 if array.dtype == np.uint8 else 1
    array[...] = np.random.default_rng(seed).random(array.shape) * high
    return array


def infer(worker: Worker, count: int) -> Tensors:
    """One inference, its outputs copied."""
    worker.enqueue(0, count)
    return {name: out.copy() for name, out in worker.wait(0).items()}


_NET = Net().eval()


def reference(x: Any) -> list[NDArray[Any]]:
    """What Net itself computes."""
    with torch.no_grad():
        return [out.numpy() for out in _NET(torch.from_numpy(np.array(x)))]


def changed(location: str, into: Path, change: Callable[[str, bytes], bytes | None]) -> str:
    """A copy of an archive with changed members; None leaves one out."""
    with zipfile.ZipFile(location) as source, zipfile.ZipFile(into, "w") as target:
        for name in source.namelist():
            if (content := change(name, source.read(name))) is not None:
                target.writestr(name, content)
    return str(into)


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


def test_layers_name_operators_and_their_times(exported: str) -> None:
    """The profiler's operators, biggest first, add up to something; the convolution is among them."""
    layers = load(exported).layers()
    times = [layer.time or 0 for layer in layers]
    assert sum(times) > 0
    assert times == sorted(times, reverse=True)
    assert any("conv" in layer.name for layer in layers)
    assert {layer.place for layer in layers} == {"cpu"}


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


def _write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def _saved(path: Path, **how: Any) -> str:
    torch.save(Net().state_dict(), path, **how)
    return str(path)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: _saved(p / "m.pt"), "pickled checkpoint"),
        (lambda p: _saved(p / "m.pt", _use_new_zipfile_serialization=False), "pickled checkpoint"),
        (lambda p: _write(p / "m.pt2", b""), "is empty"),
        (lambda p: _write(p / "m.pt2", b"no model at all"), "no PyTorch model"),
        (lambda p: str(p / "nowhere.pt"), "cannot be read"),
        (lambda p: str(p), "not a folder"),
        (lambda p: str(p / "m.onnx"), "does not run ONNX"),
    ],
)
def test_other_files_are_refused_with_a_sentence(tmp_path: Path, make: Callable[[Path], str], says: str) -> None:
    """Whatever is no exported program and no TorchScript: ModelError, which says what to do."""
    with pytest.raises(ModelError, match=says):
        load(make(tmp_path))


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


class _Payload:
    """A pickle that makes a file when it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (Path.touch, (self.marker,))


def _pickled(marker: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save((_Payload(marker),), buffer)
    return buffer.getvalue()


def _in_json(change: Callable[[Any], None]) -> Callable[[str, bytes], bytes]:
    def apply(name: str, content: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return content
        document = json.loads(content)
        change(document)
        return json.dumps(document).encode()

    return apply


def _expression(marker: Path) -> Callable[[str, bytes], bytes]:
    def change(document: Any) -> None:
        size = document["graph_module"]["graph"]["tensor_values"]["picture"]["sizes"][0]
        size["as_expr"]["expr_str"] = f"__import__('pathlib').Path({str(marker)!r}).touch()"

    return _in_json(change)


def _guard(marker: Path) -> Callable[[str, bytes], bytes]:
    return _in_json(lambda d: d.update(guards_code=[f"__import__('pathlib').Path({str(marker)!r}).touch()"]))


def _target(target: str) -> Callable[[Path], Callable[[str, bytes], bytes]]:
    def change(document: Any, marker: Path) -> None:
        node = document["graph_module"]["graph"]["nodes"][0]
        given = [{"name": "a", "kind": 1, "arg": {"as_string": f"touch {marker}"}}]
        node.update(target=target, inputs=given)

    return lambda marker: _in_json(lambda document: change(document, marker))


def _weights(marker: Path) -> Callable[[str, bytes], bytes]:
    def apply(name: str, content: bytes) -> bytes:
        if name.endswith("weights/weight_0"):
            return _pickled(marker)
        return content.replace(b'"use_pickle": false', b'"use_pickle": true', 1)

    return apply


def _samples(marker: Path) -> Callable[[str, bytes], bytes]:
    return lambda name, content: _pickled(marker) if "sample_inputs" in name else content


@pytest.mark.parametrize(
    "change",
    [
        _samples,
        _weights,
        _expression,
        _guard,
        _target("torch.os.system"),
        _target("os.system"),
        _target("torch.ops.load_library"),
        _target("torch.ops.aten.from_file.default"),
        _target("_operator.methodcaller"),
    ],
)
def test_an_exported_program_runs_nothing_but_operators(
    tmp_path: Path, exported: str, change: Callable[[Path], Callable[[str, bytes], bytes]]
) -> None:
    """Pickles, expressions, guards and names of functions in the file are refused or left alone, never run."""
    marker = tmp_path / "ran"
    location = changed(exported, tmp_path / "changed.pt2", change(marker))
    try:
        infer(load(location).worker(), 1)
        refused = False
    except ModelError:
        refused = True
    assert refused == (change not in (_samples, _guard, _expression))
    assert not marker.exists()


def test_the_payload_of_these_tests_does_run(tmp_path: Path) -> None:
    """Unpickling it in the ordinary way makes the file: that the tests above see none means something."""
    pickle.loads(pickle.dumps(_Payload(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "call", ["torch.save(x, {!r})", "torch.from_file({!r}, True, 4)", "getattr(torch, '\\x73ave')"]
)
def test_torchscript_that_reaches_for_files_is_refused(tmp_path: Path, scripted: str, call: str) -> None:
    """Code with operators for files is not loaded; the sentence names what was found."""
    code = call.format(str(tmp_path / "ran")).encode()

    def change(name: str, content: bytes) -> bytes:
        return content.replace(b"  return", b"  _9 = " + code + b"\n  return", 1) if name.endswith(".py") else content

    location = changed(scripted, tmp_path / "changed.pt", change)
    with pytest.raises(ModelError, match="outside of the computation"):
        load(location, shapes={"picture": (1, 3, 8, 8)})
    assert not (tmp_path / "ran").exists()


def test_weights_of_an_older_archive_are_read_as_tensors_alone(tmp_path: Path, exported: str) -> None:
    """A state dict in one pickled member gives the same outputs; one with an object in it is refused, unread."""
    marker = tmp_path / "ran"

    def older(state: Any) -> str:
        buffer = io.BytesIO()
        torch.save(state, buffer)

        def change(name: str, content: bytes) -> bytes | None:
            if "data/weights/" not in name:
                return content
            return buffer.getvalue() if name.endswith("_config.json") else None

        location = changed(exported, tmp_path / "old", change)
        with zipfile.ZipFile(location) as source, zipfile.ZipFile(tmp_path / "older.pt2", "w") as target:
            for name in source.namelist():
                target.writestr(
                    name.replace("weights/model_weights_config.json", "weights/model.pt"), source.read(name)
                )
        return str(tmp_path / "older.pt2")

    worker = load(older(Net().eval().state_dict())).worker()
    x = fill(worker)
    np.testing.assert_allclose(next(iter(infer(worker, 1).values())), reference(x)[0], rtol=1e-5, atol=1e-6)
    with pytest.raises(ModelError, match="pickled objects"):
        load(older({"conv.weight": _Payload(marker)}))
    assert not marker.exists()


def _cut(victim: str) -> Callable[[str, bytes], bytes]:
    return lambda name, content: content[: len(content) // 2] if name == victim else content


def test_a_damaged_program_is_an_error_of_ours(tmp_path: Path, exported: str) -> None:
    """Whatever member is cut short or empty: ModelError, no traceback of another kind."""
    with zipfile.ZipFile(exported) as file:
        names = [name for name in file.namelist() if "weights" in name or "models" in name or "constants" in name]
    for victim in names:
        location = changed(exported, tmp_path / "cut.pt2", _cut(victim))
        with pytest.raises(ModelError):
            load(location)


def test_inspection_needs_no_shapes(exported: str, scripted: str) -> None:
    """Names, dtypes and the dynamic batch of a file, before any plan."""
    program, script = torchmodel.inspect(exported), torchmodel.inspect(scripted)
    assert [t.name for t in program.inputs] == [t.name for t in script.inputs] == ["picture"]
    assert isinstance(program.inputs[0].shape[0], str)
    assert program.inputs[0].shape[1:] == (3, 8, 8)
    assert script.format == "torchscript"
    assert program.sha256 != script.sha256


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), DeviceMemoryError),
        (RuntimeError("CUDA error: an illegal memory access was encountered\nmore"), DeviceLost),
        (RuntimeError("CUDA error: device-side assert triggered"), DeviceLost),
        (RuntimeError("expected 3 channels"), BackendError),
        (UsageError("ours"), UsageError),
    ],
)
def test_errors_of_cuda_are_told_apart(error: Exception, kind: type[Exception]) -> None:
    """Too little memory, a lost device and a plain failure are different errors, in one line."""
    from framepace.exec.backends.torch_cuda import translate

    found = translate(error, "inference failed in PyTorch")
    assert type(found) is kind
    assert "more" not in str(found)


@cuda
@pytest.mark.parametrize("changes", [{}, {"graph": True}, {"graph": True, "slots": 3}, {"transfer": "pageable"}])
def test_a_gpu_gives_the_outputs_of_the_module(exported: str, changes: dict[str, Any]) -> None:
    """Every slot, whole batch and parts of it, twice: outputs are those of the CPU within rounding."""
    worker = load(exported, batch=4, device="cuda", options={"tf32": False}, **changes).worker()
    for turn in range(2):
        for slot in range(worker.slots):
            x = worker.staging(slot)["picture"]
            x[...] = np.random.default_rng([turn, slot]).random(x.shape)
        for count in (4, 1):
            for slot in range(worker.slots):
                worker.enqueue(slot, count)
            for slot in range(worker.slots):
                expected = reference(worker.staging(slot)["picture"][:count])
                for out, own in zip(worker.wait(slot).values(), expected, strict=True):
                    np.testing.assert_allclose(out, own, rtol=1e-4, atol=1e-5)
    worker.close()


@cuda
@pytest.mark.parametrize(("precision", "near"), [("fp16", 1e-2), ("bf16", 5e-2)])
def test_folding_layout_and_precision_on_a_gpu(exported: str, precision: str, near: float) -> None:
    """uint8 in, float32 out, near the module's own outputs; as a graph."""
    changes = {"precision": precision, "options": {"channels_last": True}, "prepare": Prepare(place="graph")}
    worker = load(exported, batch=2, device="cuda", graph=True, **changes).worker()
    x = fill(worker)
    for out, expected in zip(infer(worker, 2).values(), reference(np.float32(x) / 255), strict=True):
        assert out.dtype == np.float32
        assert np.abs(out - expected).max() < near * np.abs(expected).max()


@cuda
def test_layers_on_a_gpu_are_operators_with_device_time(exported: str) -> None:
    """Kernels are counted to the operator that launched them."""
    session = load(exported, device="cuda")
    assert session.gpu
    layers = session.layers()
    assert any("conv" in layer.name for layer in layers)
    assert all(layer.place == "cuda" and (layer.time or 0) > 0 for layer in layers)


@cuda
def test_two_workers_capture_and_run_side_by_side(exported: str) -> None:
    """Graphs captured in two threads at once replay with their own inputs."""
    session, wrong = load(exported, batch=4, device="cuda", graph=True, options={"tf32": False}), list[int]()

    def work(seed: int) -> None:
        worker = session.worker()
        x = fill(worker, seed)
        for count in (1, 2, 3, 4) * 10:
            out = next(iter(infer(worker, count).values()))[:count]
            wrong.extend([seed] if not np.allclose(out, reference(x[:count])[0], rtol=1e-4, atol=1e-5) else [])
        worker.close()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_versions_can_be_stored() -> None:
    """PyTorch's version is a subclass of str, which files do not take: ours is a plain one."""
    assert {type(version) for version in get_backend("torch").versions().values()} == {str}
