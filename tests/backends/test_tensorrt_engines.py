"""TensorRT engines: loading, what they say of themselves, and a session on a scripted device."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from framepace.backends.deviceslot import Lanes, Slot
from framepace.devices import cuda
from framepace.errors import BackendError, DeviceLost, DeviceMemoryError, ModelError, UsageError
from framepace.facts.model import Layer, TensorSpec
from framepace.facts.plan import Batching, ModelPlan, Prepare
from framepace.models.spec import Resolved
from framepace.testing import FakeClock
from tests.doubles.device import ScriptedDevice

try:
    from framepace.backends.tensorrt import backend, build, engine
    from framepace.backends.tensorrt.api import Library, Words, find_library
    from framepace.backends.tensorrt.contexts import Contexts
except ImportError:
    pytest.skip("no TensorRT is installed", allow_module_level=True)

LIB = find_library()
ABSENT = build.Target("a device that is not here", "8.6", absent=True)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own for each test."""
    monkeypatch.setenv("FRAMEPACE_CACHE", str(tmp_path / "cache"))


def plan(model: str = "builtin:classifier", **fields: Any) -> ModelPlan:
    """A plan of the model for this backend."""
    return ModelPlan(name="net", model=model, backend="tensorrt", **fields)


def library(*flags: str, version: str = "10.0", name: str = "tensorrt", **parts: Any) -> Library:
    """A library whose builder has these flags."""
    trt = SimpleNamespace(BuilderFlag=SimpleNamespace(**dict.fromkeys(flags, 1)), **parts)
    return Library(trt, name, version, Words(), None)


def test_an_engine_of_another_version_is_refused(tmp_path: Path) -> None:
    """Bytes that are no engine of this version: the error says so, with the path and the version."""
    path = tmp_path / "old.engine"
    path.write_bytes(b"ftrt" + bytes(100))
    with pytest.raises(BackendError) as error:
        engine.load(LIB, path)
    assert str(path) in str(error.value)
    assert LIB.version in str(error.value)


def test_an_empty_or_missing_engine_is_a_sentence(tmp_path: Path) -> None:
    """Neither reaches the library."""
    (tmp_path / "empty.engine").write_bytes(b"")
    with pytest.raises(ModelError, match="empty"):
        engine.load(LIB, tmp_path / "empty.engine")
    with pytest.raises(ModelError, match="cannot be read"):
        engine.load(LIB, tmp_path / "none.engine")


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("Version tag does not match", BackendError, "build it again from the ONNX file"),
        ("CUDA driver version is insufficient for CUDA runtime version", BackendError, "newer NVIDIA driver"),
        ("Requested amount of GPU memory could not be allocated: OutOfMemory", DeviceMemoryError, "104 B or more"),
        ("CUDA_ERROR_ILLEGAL_ADDRESS", DeviceLost, "nvidia-smi"),
    ],
)
@pytest.mark.parametrize("starts", [True, False])
def test_why_an_engine_does_not_load_decides_the_error(
    said: str, kind: type[BackendError], words: str, starts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library says nothing but its log, or raises a TypeError of its bindings where its runtime does not start."""

    class Runtime:
        def __init__(self, logger: Any) -> None:
            if not starts:
                lib.words.add(said)
                raise TypeError("factory function returned nullptr")

        def deserialize_cuda_engine(self, data: bytes) -> None:
            lib.words.add(said)

    lib = library(Runtime=Runtime)
    monkeypatch.setattr(cuda, "free_memory", lambda: (1 << 10, 1 << 30))
    (tmp_path / "net.engine").write_bytes(bytes(104))
    with pytest.raises(BackendError) as error:
        engine.load(lib, tmp_path / "net.engine")
    assert type(error.value) is kind
    assert not starts or words in str(error.value)


class Context:
    """An execution context that does what is scripted."""

    def __init__(self, enqueues: bool = True, takes: bool = True) -> None:
        self.enqueues, self.takes = enqueues, takes
        self.shapes: list[tuple[int, ...]] = []
        self.addresses: list[tuple[str, int]] = []

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        """Note the shape."""
        self.shapes.append(tuple(shape))
        return self.takes

    def set_tensor_address(self, name: str, pointer: int) -> bool:
        """Note the address."""
        self.addresses.append((name, pointer))
        return True

    def execute_async_v3(self, stream: int) -> bool:
        """As scripted."""
        return self.enqueues

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """An output whose last dimension the data decide."""
        return (4, -1)


RESOLVED = Resolved((TensorSpec(name="x", dtype="float32", shape=(4, 2)),), None, frozenset({"x"}))
STREAM: Any = SimpleNamespace(handle=1)


def slot(pointer: int) -> Slot:
    """A slot whose input is at `pointer`."""
    memory: Any = SimpleNamespace(pointer=pointer, size=32, close=lambda: None)
    return Slot({"x": np.zeros((4, 2))}, {"x": memory}, {}, Lanes.single(STREAM))


def test_an_enqueue_that_returns_false_is_a_failed_request() -> None:
    """The return value is checked, and what the library logged is in the error."""
    launch = backend._Launch(LIB, Context(enqueues=False), RESOLVED, 4)
    LIB.words.add("profile 0 is in use by another context")
    with pytest.raises(BackendError, match="profile 0 is in use"):
        launch(0, slot(16), 4, STREAM)


def test_shapes_and_addresses_are_set_when_they_change() -> None:
    """Two slots and two counts: an address for each change of slot, a shape for each change of count."""
    context = Context()
    launch = backend._Launch(LIB, context, RESOLVED, 4)
    slots = [slot(16), slot(32)]
    for index, count in ((0, 4), (0, 4), (1, 4), (1, 2), (0, 2)):
        launch(index, slots[index], count, STREAM)
    assert context.shapes == [(4, 2), (2, 2)]
    assert [pointer for _, pointer in context.addresses] == [16, 32, 16]


def test_a_shape_that_the_engine_does_not_take_is_a_sentence() -> None:
    """A count outside the profile is a BackendError, not a run with the shape of before."""
    with pytest.raises(BackendError, match="does not take"):
        backend._Launch(LIB, Context(takes=False), RESOLVED, 4)


def test_outputs_whose_size_the_data_decide_are_refused() -> None:
    """The error names the output and what to do."""
    launch = backend._Launch(LIB, Context(), RESOLVED, 4)
    with pytest.raises(ModelError, match="depends on the data"):
        launch.outputs(["boxes"], SimpleNamespace(get_tensor_dtype=lambda name: "FLOAT"), "net")


KINDS = SimpleNamespace(HOST="host", DEVICE="device", LINEAR="linear", INPUT="input", JSON="json")


class Engine:
    """An engine that doubles x of (batch, 2); its profile takes `least` to 4 frames."""

    num_io_tensors, num_aux_streams, device_memory_size = 2, 2, 1 << 20

    def __init__(self, device: Any = None, least: int = 1, place: str = "device", layout: str = "linear") -> None:
        self.device, self.least, self.place, self.layout = device, least, place, layout
        self.made: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        answers = {
            "get_tensor_name": lambda index: "xy"[index],
            "get_tensor_mode": lambda name: "input" if name == "x" else "output",
            "get_tensor_dtype": lambda name: "DataType.FLOAT",
            "get_tensor_shape": lambda name: (-1, 2),
            "get_tensor_location": lambda name: self.place,
            "get_tensor_format": lambda name: self.layout,
            "get_tensor_profile_shape": lambda name, index: ((self.least, 2), (4, 2), (4, 2)),
            "create_engine_inspector": lambda: SimpleNamespace(
                get_engine_information=lambda kind: json.dumps({"Layers": ["double"]})
            ),
        }
        if name not in answers:
            raise AttributeError(name)
        return answers[name]

    def create_execution_context(self, *config: Any) -> Any:
        """None when there is no device."""
        if self.device is None:
            return None
        self.made.append(Doubling(self.device))
        return self.made[-1]


class Doubling(Context):
    """Doubles x on the scripted device."""

    profiler: Any = None

    def __init__(self, device: ScriptedDevice) -> None:
        super().__init__()
        self.device = device

    def set_aux_streams(self, handles: list[int]) -> None:
        """Note them."""
        self.aux = handles

    def execute_async_v3(self, stream: int) -> bool:
        """Double what is there, and report a layer."""
        at, memory = dict(self.addresses), self.device.addresses
        memory[at["y"]].view(np.float32)[:] = 2 * memory[at["x"]].view(np.float32)
        if self.profiler is not None:
            self.profiler.report_layer_time("double", 0.25)
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """As the input."""
        return self.shapes[-1]


DOUBLES = library(
    "FP16", TensorLocation=KINDS, TensorFormat=KINDS, TensorIOMode=KINDS, LayerInformationFormat=KINDS,
    IProfiler=type("Profiler", (), {}),
)  # fmt: skip


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Engine:
    """Loading an engine file gives this one, on a scripted device."""
    device = ScriptedDevice(FakeClock())
    found = Engine(device)
    found_as = {"name": "scripted", "pci_bus_id": "0000:01:00.0", "compute_capability": "9.0"}
    monkeypatch.setattr(cuda, "identity", lambda device: found_as)
    monkeypatch.setattr(cuda, "open_device", lambda *args: device)
    monkeypatch.setattr(backend, "find_library", lambda name: DOUBLES)
    monkeypatch.setattr(engine, "load", lambda lib, path: found)
    (tmp_path / "net.engine").write_bytes(b"engine")
    monkeypatch.chdir(tmp_path)
    return found


def loaded(file: str = "net.engine", **fields: Any) -> Any:
    """The session of the scripted engine."""
    model = plan(file, **{"batch": Batching(max=4), **fields})
    return backend.TensorRTBackend().load(model, FakeClock())


def test_an_engine_file_runs_with_what_it_says_of_itself(scripted: Engine) -> None:
    """Name, dtypes and shapes come from the engine; a smaller batch runs as such; the worker closes its context."""
    session = loaded()
    assert (session.spec.name, session.spec.format, session.spec.inputs[0].shape) == ("net", "tensorrt", ("batch", 2))
    assert session.resolved.batched == {"x"}
    worker = session.worker(0)
    worker.staging(0)["x"][:] = np.arange(8).reshape(4, 2)
    worker.enqueue(0, 2)
    assert worker.wait(0)["y"][:2].tolist() == [[0, 2], [4, 6]]
    assert scripted.made[0].shapes == [(4, 2), (2, 2)]
    assert not hasattr(scripted.made[0], "aux")
    worker.close()
    assert scripted.device.closed


def test_the_layers_of_a_session_have_the_median_of_a_context_of_their_own(scripted: Engine) -> None:
    """The workers' contexts have no profiler, which would slow them."""
    session = loaded()
    session.worker(0)
    assert session.layers() == (Layer(name="double", time=0.25e6, place="cuda", nodes=("double",)),)
    assert [context.profiler is not None for context in scripted.made] == [False, True]


def test_a_context_is_used_again_unless_it_has_a_profiler(scripted: Engine) -> None:
    """A worker that closed leaves its context to the next; two at a time have one each."""
    session = loaded()
    first, second = session.worker(0), session.worker(1)
    assert len(scripted.made) == 2
    first.close()
    session.worker(2)
    assert len(scripted.made) == 2
    second.close()
    session.layers()
    session.worker(3)
    assert [context.profiler is not None for context in scripted.made] == [False, True, False]


def test_auxiliary_streams_keep_to_the_workers_share_of_the_sms(scripted: Engine) -> None:
    """With `sms` they are streams of the worker's device; different ones."""
    loaded(sms=16).worker(0)
    assert len(set(scripted.made[0].aux)) == 2


def test_what_contradicts_an_engine_is_refused(scripted: Engine) -> None:
    """Precision, options of the build, folded preparation, a batch or a size that its profile does not hold."""
    for fields in ({"precision": "fp16"}, {"options": {"level": 2}}, {"prepare": Prepare(place="graph")}):
        with pytest.raises(UsageError, match="engine"):
            loaded(**fields)
    with pytest.raises(ModelError, match="other shapes"):
        loaded(batch=Batching(max=8))
    scripted.place = "host"
    with pytest.raises(ModelError, match="on the host"):
        loaded()
    scripted.place, scripted.layout = "device", "TensorFormat.CHW32"
    with pytest.raises(ModelError, match="vectorised"):
        loaded()


def test_an_engine_that_takes_no_single_frame_always_runs_its_whole_batch(scripted: Engine) -> None:
    """Its profile begins at 2 frames: the batch is fixed."""
    scripted.least = 2
    assert loaded().resolved.batched == frozenset()


@pytest.mark.parametrize("damaged", [1, 2])
def test_an_engine_of_the_cache_that_does_not_load_is_built_again(
    damaged: int, scripted: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once; where the new one does not load either, that is the error."""
    builds: list[bool] = []

    def load(lib: Any, path: Path) -> Engine:
        if len(builds) <= damaged:
            raise BackendError("damaged")
        return scripted

    def engine_file(*args: Any, again: bool = False) -> Path:
        builds.append(again)
        return Path("net.engine")

    monkeypatch.setattr(engine, "load", load)
    monkeypatch.setattr(build, "engine_file", engine_file)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "net.onnx")
    if damaged == 1:
        assert loaded("net.onnx").engine is scripted
    else:
        with pytest.raises(BackendError, match="damaged"):
            loaded("net.onnx")
    assert builds == [False, True]


def test_a_context_without_room_says_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of one context and what is free."""
    monkeypatch.setattr(cuda, "free_memory", lambda: (1 << 10, 1 << 30))
    contexts = Contexts(DOUBLES, Engine(), Path("net.engine"), ABSENT)
    monkeypatch.setattr(DOUBLES.words, "take", lambda: "OutOfMemory (no further information)")
    with pytest.raises(DeviceMemoryError, match="MiB"):
        contexts.take()


def test_what_rtx_compiled_is_kept_for_the_next_session() -> None:
    """The bytes that the first session's cache gives are what the second's is made from."""
    read: list[bytes] = []
    compiled = SimpleNamespace(deserialize=read.append, serialize=lambda: b"kernels")
    config = SimpleNamespace(create_runtime_cache=lambda: compiled, set_runtime_cache=lambda cache: True)
    strategies = SimpleNamespace(EAGER="eager")
    lib = library(name="tensorrt-rtx", version="1.7", DynamicShapesKernelSpecializationStrategy=strategies)
    given: list[Any] = []

    def context(chosen: Any) -> object:
        given.append(chosen)
        return object()

    rtx: Any = SimpleNamespace(create_runtime_config=lambda: config, create_execution_context=context)
    for _ in range(2):
        contexts = Contexts(lib, rtx, Path("net.engine"), ABSENT)
        contexts.take()
        contexts.save()
    assert read == [b"kernels"]
    assert given == [config, config]
    assert config.dynamic_shapes_kernel_specialization_strategy == "eager"
