"""ONNX Runtime: on the CPU here, on a GPU by cuda.py."""

from __future__ import annotations

import copy
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.backends.base import Backend, Session, Tensors, Worker
from framepace.backends.onnxruntime import cuda as ort_cuda
from framepace.backends.onnxruntime import entries
from framepace.backends.onnxruntime.failures import NO_LOG, advice, inference_error
from framepace.backends.onnxruntime.layers import RUN_GRAPH, profile, with_graph
from framepace.backends.onnxruntime.raredtypes import runner
from framepace.backends.onnxruntime.sizes import runs_one_size, unused_sizes
from framepace.backends.options import checked
from framepace.clock.system import Clock
from framepace.devices import cuda
from framepace.errors import (
    DeviceLost,
    DeviceMemoryError,
    FramepaceError,
    ModelError,
    UsageError,
    unknown,
)
from framepace.facts.base import Fact
from framepace.facts.model import Layer, ModelSpec
from framepace.facts.plan import ModelPlan
from framepace.interrupts import LOADING_S, ended_after
from framepace.models import builtin
from framepace.models.convert.variant import variant
from framepace.models.inputs import staged
from framepace.models.resolving import running_options
from framepace.models.spec import Resolved, inspect, resolve
from framepace.progress import Tell

_LEVELS = {
    "off": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
_EXECUTION = {"sequential": "ORT_SEQUENTIAL", "parallel": "ORT_PARALLEL"}
OPTIONS: Mapping[str, str] = {
    "inter_threads": "threads that run independent nodes (with execution: parallel)",
    "execution": "sequential or parallel",
    "optimisation": "off, basic, extended or all",
    "mem_pattern": "plan memory ahead (true or false)",
    "arena": "keep freed memory for the next run (true or false)",
    "activations": "int8 or uint8: of precision int8; uint8 is what CPUs multiply fastest",
}
_PRECISIONS = {"cpu": ("fp32", "int8"), "cuda": ("fp32", "fp16", "int8")}
_DEVICES = {"cpu": "CPU", "cuda": "GPU"}
_CPU_PROVIDER = "CPUExecutionProvider"


class _Options(Fact, frozen=True, kw_only=True):
    inter_threads: Annotated[int, Meta(ge=0)] = 0
    execution: str = "sequential"
    optimisation: str | bool = "all"  # "off" is read as false
    mem_pattern: bool = True
    arena: bool = True
    activations: Literal["int8", "uint8"] = "int8"
    algorithms: str = "exhaustive"
    memory_mb: Annotated[int, Meta(ge=1)] = 1 << 20
    tf32: bool = True
    nhwc: bool = False
    cpu_nodes: Literal["allow", "forbid"] = "allow"


class OnnxRuntimeBackend(Backend):
    """ONNX Runtime with the CPU or the CUDA execution provider."""

    name = "onnxruntime"
    options = {**OPTIONS, **ort_cuda.OPTIONS, **entries.KNOWN}
    open_options = (entries.SESSION, entries.PROVIDER)
    devices = ("cpu", "cuda")

    def _load(self, model: ModelPlan, clock: Clock, tell: Tell) -> Session:
        kind = (model.device or "cpu").partition(":")[0]
        if model.precision not in _PRECISIONS[kind]:
            fix = "use --set device=cuda, or the backend tensorrt or torch"
            problem = f"ONNX Runtime gains nothing from that precision on a {_DEVICES[kind]}"
            raise UsageError(problem, got=model.precision, expected=" or ".join(_PRECISIONS[kind]), fix=fix)
        named = {key: value for key, value in model.options.items() if not self.is_open(key)}
        handed_on = {key: value for key, value in model.options.items() if self.is_open(key)}
        checked_plan = replace(model, options={**checked(self.name, _Options, named), **handed_on})
        session = _SESSIONS[kind](checked_plan, tell)
        session.notes = (*session.notes, *entries.unknown_entries(handed_on), *unused_sizes(model, kind))
        return session

    def batch_sizes(self, model: ModelPlan) -> tuple[int, ...]:
        """See Backend: on a GPU a convolution remembers cuDNN's plan of one size only.

        It is made anew at every change of the size (onnxruntime/core/providers/cuda/nn/conv.cc, Conv::UpdateState), and
        with the one before goes the code of its kernels, which a graph of that size would still run.
        """
        if (model.device or "cpu") == "cpu":
            return ()
        if runs_one_size(model):
            return (model.batch.max,)
        return model.batch.prepared_sizes

    def versions(self) -> dict[str, str]:
        """Version of ONNX Runtime."""
        import onnxruntime

        return {"onnxruntime": onnxruntime.__version__}


def _set_spinning(options: Any, spinning: bool) -> None:
    """Whether the threads of both pools spin while they wait for work."""
    for pool in ("intra_op", "inter_op"):
        options.add_session_config_entry(f"session.{pool}.allow_spinning", str(int(spinning)))


def _session_options(model: ModelPlan) -> Any:
    import onnxruntime as ort

    chosen = model.options
    options = ort.SessionOptions()
    options.log_severity_level = NO_LOG
    options.intra_op_num_threads = model.threads
    _set_spinning(options, model.spinning)
    options.inter_op_num_threads = int(chosen.get("inter_threads", 0))
    options.enable_mem_pattern = bool(chosen.get("mem_pattern", True))
    options.enable_cpu_mem_arena = bool(chosen.get("arena", True))
    execution = _one_of("execution", chosen, _EXECUTION, "sequential")
    options.execution_mode = getattr(ort.ExecutionMode, execution)
    level = _one_of("optimisation", chosen, _LEVELS, "all")
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    for key, value in entries.session_entries(chosen).items():
        options.add_session_config_entry(key, value)
    return options


def _one_of(key: str, options: Mapping[str, Any], values: Mapping[str, str], default: str) -> str:
    chosen = options.get(key, default)
    if chosen is False:  # as 'off' is read in a plan and in --set
        chosen = "off"
    chosen = str(chosen)
    if chosen not in values:
        raise unknown(key, chosen, values)
    return values[chosen]


class _FileSession(Session):
    """What both kinds of session have: the model's identity, and the file in the precision that is run."""

    def __init__(self, model: ModelPlan, tell: Tell) -> None:
        self._plan = model
        original = inspect(model.model)
        self._file = variant(model, _file_precision(model), tell)
        self.resolved = resolve(inspect(self._file), model)
        self.spec = replace(original, inputs=resolve(original, model).inputs)


def _file_precision(model: ModelPlan) -> str | None:
    """What is put into the file, as `variant` calls it."""
    if model.precision == "fp32":
        return None
    if model.precision == "int8" and model.options.get("activations") == "uint8":
        return "int8+uint8"
    return model.precision


class _CpuSession(_FileSession):
    def __init__(self, model: ModelPlan, tell: Tell) -> None:
        super().__init__(model, tell)
        self._session = load_session(self._file, model, self.spec, _cpu_provider(model))

    def resized(self, model: ModelPlan) -> Session:
        """See Session: the library takes any size that the file allows."""
        other = copy.copy(self)
        other._plan = model
        other.resolved = resolve(inspect(self._file), model)
        other.spec = replace(self.spec, inputs=resolve(inspect(model.model), model).inputs)
        return other

    def layers(self) -> tuple[Layer, ...]:
        """The nodes as ONNX Runtime runs them, with their times in a session of their own: profiling slows it."""
        with tempfile.TemporaryDirectory(prefix="framepace-") as folder:
            session = load_session(self._file, self._plan, self.spec, _cpu_provider(self._plan), profiles=folder)
            worker = _CpuWorker(session, self.resolved, self.spec)
            timed = profile(session, lambda: worker.enqueue(0, max(1, self._plan.batch.max)))
            return with_graph(timed, self._plan.model, Path(folder) / RUN_GRAPH)

    def output_shapes(self, count: int) -> Mapping[str, Sequence[int]]:
        """See Session."""
        worker = self._worker(0)
        worker.enqueue(0, count)
        return {name: np.shape(output) for name, output in worker.wait(0).items()}

    def _worker(self, index: int) -> Worker:
        plan = self._plan
        return _CpuWorker(self._session, self.resolved, self.spec, lambda: running_options(inspect(plan.model), plan))

    def _close(self) -> None:
        self._session = None


class _CudaSession(_FileSession):
    """The first session is made when the model is loaded: whatever is wrong with it is an error then."""

    def __init__(self, model: ModelPlan, tell: Tell) -> None:
        import onnxruntime as ort

        ort_cuda.preload(ort)
        super().__init__(model, tell)
        self.worker_sessions = ort_cuda.WorkerSessions(model, self.resolved, self._make)
        self.worker_sessions.give_back(0, self.worker_sessions.take(0))
        note = ort_cuda.fallen_back(self.worker_sessions.layers)
        if note is not None:
            self.notes = (f"{model.name}: {note}",)
        self.placement = Counter(layer.place for layer in self.worker_sessions.layers)
        self.gpu = cuda.identity(model.device)["pci_bus_id"]

    def layers(self) -> tuple[Layer, ...]:
        """The nodes with the times of their kernels, in a session of their own; no times where memory does not suffice.

        Nor are there any of a library that was built without CUDA's profiling interface.
        """
        plan = replace(self._plan, graph=False, sms=None)
        with tempfile.TemporaryDirectory(prefix="framepace-") as folder:
            sessions = ort_cuda.WorkerSessions(plan, self.resolved, lambda provider: self._make(provider, folder))
            try:
                only = sessions.take(0)
                sessions.give_back(0, only)
                count = max(1, self._plan.batch.max)
                timed = profile(only.session, lambda: sessions.output_shapes(count))
            except FramepaceError:
                return self.worker_sessions.layers
            finally:
                sessions.close()
            return with_graph(timed, self._plan.model, Path(folder) / RUN_GRAPH)

    def output_shapes(self, count: int) -> Mapping[str, Sequence[int]]:
        """See Session."""
        return self.worker_sessions.output_shapes(count)

    def _make(self, provider: dict[str, Any], profiles: str | None = None) -> Any:
        import onnxruntime as ort

        session = load_session(self._file, self._plan, self.spec, [(ort_cuda.PROVIDER, provider)], profiles)
        session.disable_fallback()
        ort_cuda.check_provider(session, ort.__version__)
        return session

    def _worker(self, index: int) -> Worker:
        with cuda.lock_setup():
            return self.worker_sessions.worker(index, self.batch_sizes, self.note)

    def _close(self) -> None:
        self.worker_sessions.close()


_SESSIONS: Mapping[str, type[_FileSession]] = {"cpu": _CpuSession, "cuda": _CudaSession}


def _cpu_provider(model: ModelPlan) -> list[Any]:
    return [(_CPU_PROVIDER, entries.provider_entries(model.options))]


def load_session(
    location: str,
    model: ModelPlan,
    spec: ModelSpec,
    providers: Sequence[tuple[str, Mapping[str, Any]]],
    profiles: str | None = None,
) -> Any:
    """An InferenceSession; it writes its profile and its graph to the folder `profiles`, if one is named.

    Raises ModelError, DeviceMemoryError or DeviceLost.
    """
    import onnxruntime as ort

    source: str | bytes = location
    if location.startswith("builtin:"):
        source = builtin.model_bytes(location.removeprefix("builtin:"))
    options = _session_options(model)
    if profiles is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(profiles) / "profile")
        options.optimized_model_filepath = str(Path(profiles) / RUN_GRAPH)
        key = "session.optimized_model_external_initializers_file_name"  # or weights above 2 GiB fail to be written
        options.add_session_config_entry(key, f"{RUN_GRAPH}.data")
    if all(name != _CPU_PROVIDER for name, _ in providers):
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        if model.options.get("cpu_nodes") == "forbid":
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        with ended_after(LOADING_S, f"loading {model.name}"):
            return ort.InferenceSession(source, options, providers=providers)
    except (UsageError, ModelError):
        raise
    except Exception as error:  # ONNX Runtime raises many of its own classes, none of them public
        raise _loading_error(error, model, spec, ort.__version__) from error


def _loading_error(error: Exception, model: ModelPlan, spec: ModelSpec, version: str) -> FramepaceError:
    device_error = cuda.translate(error, f"loading {model.name}")
    if isinstance(device_error, DeviceMemoryError | DeviceLost):
        return device_error
    message = _message(error)
    fix = _advice(message, spec, version)
    return ModelError(f"ONNX Runtime cannot load {model.model}", got=message, fix=fix)


def _message(error: Exception) -> str:
    """All of the library's message on one line; what matters is often not in its first."""
    return " ".join(str(error).split()) or type(error).__name__


def _advice(message: str, spec: ModelSpec, version: str) -> str:
    if "fallback to CPU EP has been explicitly disabled" in message:
        return "--set option.cpu_nodes=allow runs it and says which nodes run on the CPU"
    if "have not been partitioned" in message:
        return "--set shapes=fixed folds the nodes that compute shapes; --set graph=off runs without a graph"
    if "In Node" in message:
        return f"export with another opset than {spec.opset}, or install an onnxruntime that has it ({version} here)"
    if "xternal" in message:
        return "put the complete weights file that the model names beside it"
    if "pset" in message or "IR version" in message:
        return f"opset {spec.opset}: export with a lower opset, or install a newer onnxruntime ({version} here)"
    return "export it again; onnx.checker.check_model says more about the file"


class _CpuWorker(Worker):
    """Inputs are bound once; a run of a smaller batch uses a slice where the model allows it."""

    def __init__(
        self, session: Any, resolved: Resolved, spec: ModelSpec, running: Callable[[], str] = lambda: ""
    ) -> None:
        self._resolved = resolved
        self._running = running
        self._inputs = {tensor.name: staged(resolved, tensor) for tensor in resolved.inputs}
        self._full = full_batch(resolved)
        self._run = runner(session, spec)
        self._names = [tensor.name for tensor in spec.outputs]
        self._advice: str | None = None
        self._outputs: dict[str, NDArray[Any]] = {}

    def staging(self, slot: int) -> Tensors:
        return self._inputs

    def enqueue(self, slot: int, count: int) -> None:
        try:
            results = self._run(self._names, self._feed(count))
        except Exception as error:  # as above
            raise inference_error(str(error), self._advise(count)) from error
        self._outputs = dict(zip(self._names, results, strict=True))

    def wait(self, slot: int) -> Tensors:
        return self._outputs

    def _feed(self, count: int) -> Tensors:
        if count >= self._full:
            return self._inputs
        return {name: self._resolved.first(name, array, count) for name, array in self._inputs.items()}

    def _advise(self, count: int) -> str:
        """What to do about a failure, found out once."""
        if self._advice is None:
            self._advice = advice(count, self._runs_alone, self._resolved.made_up, self._running)
        return self._advice

    def _runs_alone(self) -> bool:
        try:
            self._run(self._names, self._feed(1))
        except Exception:  # as above
            return False
        return True


def full_batch(resolved: Resolved) -> int:
    """The largest batch of the staging; 0 where inputs have no batch of any size."""
    axes = {name: resolved.axis(name) or 0 for name in resolved.batched}
    return max((resolved.shapes[name][axis] for name, axis in axes.items()), default=0)
