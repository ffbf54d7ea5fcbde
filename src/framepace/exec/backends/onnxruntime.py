"""ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from msgspec import Meta
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.errors import BackendError, ModelError, UsageError, unknown
from framepace.exec import builtin
from framepace.exec.backend import Backend, Session, Tensors, Worker
from framepace.exec.backends.options import checked
from framepace.exec.clock import Clock
from framepace.exec.models import Resolved, inspect, resolve
from framepace.facts.base import Fact
from framepace.facts.model import ModelSpec, TensorSpec
from framepace.facts.plan import ModelPlan

_LEVELS = {"off": "DISABLE_ALL", "basic": "ENABLE_BASIC", "extended": "ENABLE_EXTENDED", "all": "ENABLE_ALL"}
_EXECUTION = {"sequential": "ORT_SEQUENTIAL", "parallel": "ORT_PARALLEL"}
OPTIONS: Mapping[str, str] = {
    "inter_threads": "threads that run independent nodes (with execution: parallel)",
    "execution": "sequential or parallel",
    "optimisation": "off, basic, extended or all",
    "mem_pattern": "plan memory ahead (true or false)",
    "arena": "keep freed memory for the next run (true or false)",
}


class _Options(Fact, frozen=True, kw_only=True):
    inter_threads: Annotated[int, Meta(ge=0)] = 0
    execution: str = "sequential"
    optimisation: str = "all"
    mem_pattern: bool = True
    arena: bool = True


class OnnxRuntimeBackend(Backend):
    """ONNX Runtime with the CPU execution provider."""

    name = "onnxruntime"
    options = OPTIONS

    def _load(self, model: ModelPlan, clock: Clock) -> Session:
        if model.precision != "fp32":
            fix = "convert the ONNX file to that precision and run it as it is"
            raise UsageError("the onnxruntime backend runs a file in its own precision", got=model.precision, fix=fix)
        return _OrtSession(replace(model, options=checked(self.name, _Options, model.options)))

    def versions(self) -> dict[str, str]:
        """Version of ONNX Runtime."""
        import onnxruntime

        return {"onnxruntime": onnxruntime.__version__}


def _session_options(model: ModelPlan) -> Any:
    import onnxruntime as ort

    options, chosen = ort.SessionOptions(), model.options
    options.log_severity_level = 3
    options.intra_op_num_threads = model.threads
    for pool in ("intra_op", "inter_op"):
        options.add_session_config_entry(f"session.{pool}.allow_spinning", "1" if model.spinning else "0")
    options.inter_op_num_threads = int(chosen.get("inter_threads", 0))
    options.enable_mem_pattern = bool(chosen.get("mem_pattern", True))
    options.enable_cpu_mem_arena = bool(chosen.get("arena", True))
    options.execution_mode = getattr(ort.ExecutionMode, _one_of("execution", chosen, _EXECUTION, "sequential"))
    level = _one_of("optimisation", chosen, _LEVELS, "all")
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_{level}")
    return options


def _one_of(key: str, options: Mapping[str, Any], values: Mapping[str, str], default: str) -> str:
    chosen = str(options.get(key, default))
    if chosen not in values:
        raise unknown(key, chosen, values)
    return values[chosen]


class _OrtSession(Session):
    def __init__(self, model: ModelPlan) -> None:
        found = inspect(model.model)
        self._resolved = resolve(found, model)
        self._session = _load(model, found)
        self.spec = ModelSpec(
            name=found.name,
            location=found.location,
            sha256=found.sha256,
            inputs=self._resolved.inputs,
            outputs=found.outputs,
            opset=found.opset,
            nodes=found.nodes,
            size_bytes=found.size_bytes,
        )

    def _worker(self) -> Worker:
        return _OrtWorker(self._session, self._resolved, self.spec)

    def _close(self) -> None:
        self._session = None


def _load(model: ModelPlan, found: ModelSpec) -> Any:
    import onnxruntime as ort

    name = model.model.removeprefix("builtin:")
    source = builtin.model_bytes(name) if model.model.startswith("builtin:") else model.model
    try:
        return ort.InferenceSession(source, _session_options(model), providers=["CPUExecutionProvider"])
    except (UsageError, ModelError):
        raise
    except Exception as error:  # ONNX Runtime raises many classes of its own, none of them public
        got = _message(error)
        fix = _advice(got, found, ort.__version__)
        raise ModelError(f"ONNX Runtime cannot load {model.model}", got=got, fix=fix) from error


def _message(error: Exception) -> str:
    """All of the library's message on one line; what matters is often not in its first."""
    return " ".join(str(error).split()) or type(error).__name__


def _advice(message: str, found: ModelSpec, version: str) -> str:
    if "In Node" in message:
        return f"export with another opset than {found.opset}, or install an onnxruntime that has it ({version} here)"
    if "xternal" in message:
        return "put the complete weights file that the model names beside it"
    if "pset" in message or "IR version" in message:
        return f"opset {found.opset}: export with a lower opset, or install a newer onnxruntime ({version} here)"
    return "export it again; onnx.checker.check_model says more about the file"


class _OrtWorker(Worker):
    """Inputs are bound once; a run of a smaller batch uses a slice where the model allows it."""

    def __init__(self, session: Any, resolved: Resolved, spec: ModelSpec) -> None:
        self._session, self._batched = session, resolved.batched
        self._inputs = {t.name: _input(t, resolved) for t in resolved.inputs}
        self._full = max((len(a) for name, a in self._inputs.items() if name in self._batched), default=0)
        self._names = [tensor.name for tensor in spec.outputs]
        self._outputs: dict[str, NDArray[Any]] = {}

    def staging(self, slot: int) -> Tensors:
        return self._inputs

    def enqueue(self, slot: int, count: int) -> None:
        feed = self._inputs
        if count < self._full:
            feed = {name: array[:count] if name in self._batched else array for name, array in feed.items()}
        try:
            results = self._session.run(self._names, feed)
        except Exception as error:  # as above
            raise BackendError("inference failed in ONNX Runtime", got=_message(error)) from error
        self._outputs = dict(zip(self._names, results, strict=True))

    def wait(self, slot: int) -> Tensors:
        return self._outputs


def _input(tensor: TensorSpec, resolved: Resolved) -> NDArray[Any]:
    """A staging array: random within what the dtype and an image allow, the same every time."""
    rng = np.random.default_rng(0)
    shape = resolved.shapes[tensor.name]
    if np.dtype(tensor.dtype).kind == "f":
        return rng.random(shape, dtype=np.float32).astype(tensor.dtype)
    return rng.integers(0, 2, shape).astype(tensor.dtype)
