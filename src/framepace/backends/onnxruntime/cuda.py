"""ONNX Runtime on a GPU: the CUDA execution provider with I/O binding on a worker's own stream.

Each worker has its own session, because a session's kernels go to one stream. Sessions are kept for the next run.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from framepace.backends.base import Worker
from framepace.backends.deviceworker import DeviceWorker, Produced, Slot, compute_stream
from framepace.backends.onnxruntime import cudagraph
from framepace.backends.onnxruntime.entries import provider_entries
from framepace.backends.onnxruntime.failures import NO_LOG, advice, inference_error, of_device
from framepace.devices import cuda
from framepace.devices.protocol import Stream
from framepace.errors import BackendError, DeviceLost, DeviceMemoryError, FramepaceError, UsageError
from framepace.facts.model import Layer, TensorSpec
from framepace.facts.plan import ModelPlan
from framepace.models.inputs import example
from framepace.models.spec import Resolved

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROVIDER = "CUDAExecutionProvider"
OPTIONS: Mapping[str, str] = {
    "algorithms": "search of cuDNN convolution algorithms: exhaustive, heuristic or default",
    "memory_mb": "limit of the device memory that the session takes",
    "tf32": "let float32 products run in TF32 (true or false)",
    "nhwc": "prefer the NHWC layout (true or false)",
    "cpu_nodes": "allow (and say which) or forbid: nodes that only the CPU can run",
}
_CUDNN_SEARCH = {"exhaustive": "EXHAUSTIVE", "heuristic": "HEURISTIC", "default": "DEFAULT"}
_DTYPES = {"float": "float32", "double": "float64"}
_RUN_ASYNC = ("disable_synchronize_execution_providers", "1")
_AWAITED_EACH = 1000  # runs: so often one gives back the pinned memory that the others leave (kilobytes each)


@dataclass
class WorkerSession:
    """A device, its compute stream and the session on it, for one worker at a time."""

    device: cuda.CudaDevice
    stream: Stream
    session: Any


@dataclass
class WorkerSessions:
    """The sessions of one model, one per worker; `make` makes an InferenceSession from provider options."""

    plan: ModelPlan
    resolved: Resolved
    make: Callable[[dict[str, Any]], Any]
    free: dict[int, WorkerSession] = field(default_factory=dict)
    layers: tuple[Layer, ...] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, index: int) -> WorkerSession:
        """The session of worker `index`, made on its first use."""
        with self._lock, cuda.lock_setup():
            return self.free.pop(index, None) or self._new(index)

    def give_back(self, index: int, session: WorkerSession) -> None:
        """Keep the session for the next run, unless there is one of that number already."""
        if self.free.setdefault(index, session) is not session:
            self._free(session)

    def output_shapes(self, count: int) -> dict[str, Sequence[int]]:
        """The shapes of the outputs for `count` items, by running them. Raises what the library does, as ours."""
        worker_session = self.take(0)
        try:
            outputs = _run_once(worker_session.session, self.plan, self.resolved, count)
        finally:
            self.give_back(0, worker_session)
        return {name: array.shape for name, array in outputs.items()}

    def close(self) -> None:
        """Free all."""
        while self.free:
            self._free(self.free.popitem()[1])

    def worker(self, index: int, sizes: Sequence[int], tell: Callable[[str], None]) -> Worker:
        """A worker on its session, with buffers of its own; `sizes` and `tell` as DeviceWorker takes them."""
        device = cuda.open_device(self.plan.device, self.plan.sms, index)
        session = self.take(index)
        launch = _Launch(session, self.plan, self.resolved)
        if self.plan.stream == "slot":
            tell("ONNX Runtime's requests of one worker share its memory: stream=slot is as stream=own")

        def release() -> None:
            launch.close()
            self.give_back(index, session)

        return DeviceWorker(
            device,
            self.plan,
            self.resolved,
            launch.outputs,
            launch,
            capture=device.capture if self.plan.graph else None,
            own_graph=True,
            compute=session.stream,
            close=release,
            sizes=sizes,
            tell=tell,
        )

    def _new(self, index: int) -> WorkerSession:
        device = cuda.open_device(self.plan.device, self.plan.sms, index)
        with contextlib.ExitStack() as on_error:
            on_error.callback(device.close)
            stream = compute_stream(device, self.plan)
            session = self.make(provider_options(self.plan, stream.handle))
            on_error.pop_all()
        self.layers = self.layers or placement(session)
        return WorkerSession(device, stream, session)

    def _free(self, worker_session: WorkerSession) -> None:
        if not self.plan.graph:
            _settle(worker_session, self.plan, self.resolved)
        worker_session.session = None
        worker_session.device.close()


def _settle(worker_session: WorkerSession, plan: ModelPlan, resolved: Resolved) -> None:
    """Let a session give back the pinned memory that its runs left to it, before it is freed.

    A run that is not awaited leaves it until the session is freed, which then has a callback on the stream free it.
    That may be the last to hold the allocator, and frees it where CUDA allows no calls (error 800): the process ends.
    """
    device, stream = worker_session.device, worker_session.stream
    with contextlib.suppress(Exception):  # of a device that is lost
        _run_once(worker_session.session, plan, resolved)
        last = device.event(blocking=True)
        stream.record(last)
        last.sync()


def provider_options(plan: ModelPlan, stream: int) -> dict[str, Any]:
    """Options of the CUDA execution provider for a worker's stream."""
    chosen = plan.options
    options = {
        "device_id": str(cuda.ordinal(plan.device)),
        "user_compute_stream": str(stream),
        "cudnn_conv_algo_search": _cudnn_search(str(chosen.get("algorithms", "exhaustive"))),
        "use_tf32": _flag(chosen.get("tf32", True)),
        "prefer_nhwc": _flag(chosen.get("nhwc", False)),
        "enable_cuda_graph": _flag(plan.graph),
        "arena_extend_strategy": "kSameAsRequested",
    }
    if "memory_mb" in chosen:
        options["gpu_mem_limit"] = str(int(chosen["memory_mb"]) << 20)
    return {**options, **provider_entries(chosen)}


def _cudnn_search(name: str) -> str:
    if name not in _CUDNN_SEARCH:
        raise UsageError("option algorithms cannot have that value", got=name, expected=", ".join(_CUDNN_SEARCH))
    return _CUDNN_SEARCH[name]


def _flag(value: object) -> str:
    return str(int(bool(value)))


def preload(ort: Any) -> None:
    """Load the CUDA and cuDNN libraries that other packages brought. Raises UsageError where the provider is missing.

    The packages onnxruntime and onnxruntime-gpu install the same module: of two, the last one installed stays.
    """
    if PROVIDER not in ort.get_available_providers():
        fix = (
            "pip uninstall onnxruntime onnxruntime-gpu && pip install 'framepace[cuda]' && "
            "pip install --force-reinstall --no-deps onnxruntime-gpu"
        )
        raise UsageError("this onnxruntime has no CUDA provider", got=f"onnxruntime {ort.__version__}", fix=fix)
    ort.set_default_logger_severity(NO_LOG)
    with contextlib.suppress(Exception), contextlib.redirect_stdout(None):
        ort.preload_dlls()


def check_provider(session: Any, version: str) -> None:
    """Raise BackendError when the session silently went without the GPU: its libraries could not be loaded."""
    if PROVIDER in session.get_providers():
        return
    fix = "`framepace doctor` says which; ONNX Runtime needs the CUDA and cuDNN it was built with"
    got = f"onnxruntime {version} with {', '.join(session.get_providers())}"
    raise BackendError("ONNX Runtime could not load its CUDA provider and fell back to the CPU", got=got, fix=fix)


def placement(session: Any) -> tuple[Layer, ...]:
    """Where each node runs, as ONNX Runtime assigned it; empty where this version cannot say."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return ()
    places = {"CUDAExecutionProvider": "cuda", "CPUExecutionProvider": "cpu"}
    return tuple(
        Layer(name=node.name, kind=node.op_type, place=places.get(part.ep_name, part.ep_name), nodes=(node.name,))
        for part in session.get_provider_graph_assignment_info()
        for node in part.get_nodes()
    )


def fallen_back(layers: tuple[Layer, ...]) -> str | None:
    """A sentence on the nodes that run on the CPU, or None when all run on the GPU."""
    kinds = Counter(layer.kind for layer in layers if layer.place == "cpu")
    if not kinds:
        return None
    named = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(6))
    words = f"{sum(kinds.values())} of {len(layers)} nodes run on the CPU: {named}"
    if "Shape" in kinds or "Gather" in kinds:
        words = f"{words}; --set shapes=fixed folds those that compute shapes"
    return words


class _Launch:
    """The launch of a worker: one I/O binding for each (slot, count), on the slot's buffers."""

    def __init__(self, worker_session: WorkerSession, plan: ModelPlan, resolved: Resolved) -> None:
        import onnxruntime as ort

        self._ort = ort
        self._on = worker_session  # which lets go of its session before its device is closed
        self._plan = plan
        self._resolved = resolved
        self._bindings: dict[tuple[int, int], tuple[Any, Any, int | None]] = {}
        self._runs = 0
        file_outputs = worker_session.session.get_outputs()
        self._names = [out.name for out in file_outputs]
        # Outputs of known shape go to buffers bound once; the others wherever ONNX Runtime puts them, each time.
        symbols = {dim for value in worker_session.session.get_inputs() for dim in value.shape}
        self._bound = plan.graph or all(_fixed(out.shape, symbols) for out in file_outputs)
        self.outputs: tuple[TensorSpec, ...] = ()
        if self._bound:
            self.outputs = _largest_outputs(worker_session.session, plan, resolved)

    def __call__(self, index: int, slot: Slot, count: int, stream: Stream) -> Mapping[str, Produced] | None:
        try:
            binding = self._run(index, slot, count)
        except Exception as error:  # ONNX Runtime raises many of its own classes, none of them public
            raise _failed(error, count, self._plan, self._resolved) from error
        if self._bound:
            return None
        return {name: _produced(value) for name, value in zip(self._names, binding.get_outputs(), strict=True)}

    def _run(self, index: int, slot: Slot, count: int) -> Any:
        """Enqueue an inference, and return its binding."""
        if (index, count) not in self._bindings:
            self._bindings[index, count] = self._bind(slot, count)
        binding, options, _ = self._bindings[index, count]
        self._runs += 1
        if self._runs % _AWAITED_EACH == 0 and not self._plan.graph:
            options = self._ort.RunOptions()
        self._on.session.run_with_iobinding(binding, options)
        return binding

    def close(self) -> None:
        """Forget bindings and captured graphs."""
        for _, _, graph in self._bindings.values():
            if graph is not None:
                cudagraph.release(self._on.session, graph)
        self._bindings.clear()

    def _bind(self, slot: Slot, count: int) -> tuple[Any, Any, int | None]:
        binding = self._on.session.io_binding()
        self._bind_inputs(binding, slot, count)
        self._bind_outputs(binding, slot, count)
        options = self._ort.RunOptions()
        options.add_run_config_entry(*_RUN_ASYNC)
        graph = None
        if self._plan.graph:
            graph = cudagraph.capture(self._on.session, binding, options)
        return binding, options, graph

    def _bind_inputs(self, binding: Any, slot: Slot, count: int) -> None:
        device = self._on.device.index
        for tensor in self._resolved.inputs:
            shape = self._resolved.shape_of(tensor.name, count)
            binding.bind_input(tensor.name, "cuda", device, tensor.dtype, shape, slot.pointers[tensor.name])

    def _bind_outputs(self, binding: Any, slot: Slot, count: int) -> None:
        device = self._on.device.index
        if not self._bound:
            for name in self._names:
                binding.bind_output(name, "cuda", device)
            return
        full = self._plan.batch.max
        for out in self.outputs:
            shape = _shape(out, count, batched=bool(self._resolved.batched) and out.shape[:1] == (full,))
            binding.bind_output(out.name, "cuda", device, out.dtype, shape, slot.pointers[out.name])


def _shape(tensor: TensorSpec, count: int, batched: bool) -> list[int]:
    """The shape for `count` items of the batch."""
    shape = [int(d) for d in tensor.shape]
    if batched:
        shape[0] = count
    return shape


def _fixed(shape: Sequence[Any], symbols: set[Any]) -> bool:
    """Whether all but the batch is known from the file; a first axis that no input has is no batch."""
    if not shape or not all(isinstance(size, int) for size in shape[1:]):
        return False
    return isinstance(shape[0], int) or (shape[0] is not None and shape[0] in symbols)


def _run_once(session: Any, plan: ModelPlan, resolved: Resolved, count: int | None = None) -> dict[str, NDArray[Any]]:
    """Outputs of `count` items (all by default) by name, from one run outside of any graph."""
    import onnxruntime as ort

    inputs = example(resolved, count)
    options = ort.RunOptions()
    cudagraph.exclude(options)
    try:
        results = session.run(None, inputs, options)
    except Exception as error:  # ONNX Runtime raises many of its own classes, none of them public
        raise _failed(error, count or max(1, len(resolved.batched)), plan, resolved) from error
    return {out.name: array for out, array in zip(session.get_outputs(), results, strict=True)}


def _largest_outputs(session: Any, plan: ModelPlan, resolved: Resolved) -> tuple[TensorSpec, ...]:
    """Outputs of the largest batch."""
    outputs = _run_once(session, plan, resolved).items()
    return tuple(TensorSpec(name=name, dtype=array.dtype.name, shape=array.shape) for name, array in outputs)


def _failed(error: Exception, count: int, plan: ModelPlan, resolved: Resolved) -> FramepaceError:
    """The error for an inference of `count` items: the device's where it is to blame, else the library's."""
    translated = cuda.translate(error, "ONNX Runtime ran an inference")
    if isinstance(translated, DeviceMemoryError):
        return translated
    if not isinstance(translated, DeviceLost) and not of_device(str(error)):
        return inference_error(str(error), advice(count, lambda: True, resolved.made_up))
    return translated


def _produced(value: Any) -> Produced:
    kind = value.data_type().removeprefix("tensor(").removesuffix(")")
    return Produced(value.data_ptr(), tuple(value.shape()), _DTYPES.get(kind, kind), value)
