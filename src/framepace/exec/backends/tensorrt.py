"""TensorRT: ONNX files built into engines, and engine files; 8.6, 10, 11 and TensorRT-RTX."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta
from msgspec.structs import replace

from framepace.errors import BackendError, DeviceMemoryError, ModelError, UsageError
from framepace.exec import cuda
from framepace.exec.backend import Backend, Session, Tell
from framepace.exec.backends.options import checked
from framepace.exec.clock import Clock
from framepace.exec.device import Stream
from framepace.exec.gpu import DeviceWorker, Produced, Slot
from framepace.exec.models import Resolved, inspect, resolve
from framepace.exec.trt import build, engine
from framepace.exec.trt.api import Library, library
from framepace.exec.variant import variant
from framepace.facts.base import Fact
from framepace.facts.model import Layer, TensorSpec
from framepace.facts.plan import ModelPlan

library()  # no TensorRT: an ImportError, which the registry turns into the name of the extra
OPTIONS: Mapping[str, str] = {
    "library": "tensorrt or tensorrt-rtx, where both are installed",
    "level": "builder optimisation level, 0 (quick) to 5 (thorough)",
    "workspace_mb": "device memory a layer may take while it runs",
    "aux_streams": "streams beside its own on which one inference may run",
    "verbosity": "what the engine says of its layers: detailed, names or none",
    "tf32": "let float32 products run in TF32 (true or false)",
    "tactics": "tactic sources, e.g. 'edge_mask_convolutions,jit_convolutions'; the library's own by default",
}
_PROFILED = 20  # inferences for the times of layers


class _Options(Fact, frozen=True, kw_only=True):
    library: Literal["tensorrt", "tensorrt-rtx"] = "tensorrt"
    level: Annotated[int, Meta(ge=0, le=5)] = 3
    workspace_mb: Annotated[int, Meta(ge=1)] = 1024
    aux_streams: Annotated[int, Meta(ge=0)] = 0
    verbosity: Literal["detailed", "names", "none"] = "detailed"
    tf32: bool = True
    tactics: str = ""


class TensorRTBackend(Backend):
    """TensorRT on an NVIDIA GPU."""

    name = "tensorrt"
    options = OPTIONS
    devices = ("cuda",)

    def _load(self, model: ModelPlan, clock: Clock, tell: Tell) -> Session:
        chosen = replace(model, options=checked(self.name, _Options, model.options))
        return _TrtSession(library(_named(chosen)), chosen, tell)

    def versions(self) -> dict[str, str]:
        """Version of the library that is found first."""
        lib = library()
        return {lib.name: lib.version}


def _named(model: ModelPlan) -> str | None:
    chosen = model.options.get("library")
    return None if chosen is None else str(chosen)


class _TrtSession(Session):
    """One engine; each worker has an execution context of its own on it."""

    def __init__(self, lib: Library, model: ModelPlan, tell: Tell) -> None:
        build.refuse(lib, model.precision)
        found = cuda.identity(model.device)
        cuda.open_device(model.device).close()  # the context is current in this thread from here on
        self._lib, self._plan, self.gpu = lib, model, found["pci_bus_id"]
        path = self._path(lib, model, build.Target(found["name"], found["compute_capability"]), tell)
        self.engine = engine.load(lib, path)
        if engine.is_engine(model.model):
            self.spec = engine.spec(lib, self.engine, path, engine.read(path))
            resolved = resolve(self.spec, model)
        else:
            own = inspect(model.model)
            self.spec = replace(own, inputs=resolve(own, model).inputs)
            resolved = resolve(inspect(self._file), model)
        engine.check_profile(self.engine, model, resolved.shapes)
        self.resolved = replace_dtypes(lib, self.engine, resolved)

    def layers(self) -> tuple[Layer, ...]:
        """See Session: the inspector's description and the profiler's times."""
        with contextlib.ExitStack() as stack:
            worker = self._worker(0, profile=True)
            stack.callback(worker.close)
            for _ in range(_PROFILED):
                worker.enqueue(0, self._plan.batch.max)
                worker.wait(0)
            return engine.layers(self._lib, self.engine, worker.profile.times)

    def _path(self, lib: Library, model: ModelPlan, target: build.Target, tell: Tell) -> Path:
        if engine.is_engine(model.model):
            if model.prepare.place == "graph":
                fix = "build the engine from the ONNX file, or prepare on the host"
                raise UsageError("preparation cannot be folded into an engine that is built", got=model.model, fix=fix)
            return Path(model.model)
        self._file = variant(model, file_precision(lib, model.precision), tell)
        resolved = resolve(inspect(self._file), model)
        return build.engine_file(lib, model, self._file, resolved, target, tell)

    def _worker(self, index: int, profile: bool = False) -> Any:
        device = cuda.open_device(self._plan.device, self._plan.sms, index)
        with contextlib.ExitStack() as on_error:
            on_error.callback(device.close)
            with cuda.lock_setup():
                context = self._context()
            launch = _Launch(self._lib, context, self.resolved, self._plan.batch.max)
            outputs = launch.outputs(engine.names(self._lib, self.engine)[1], self.engine, self._plan.name)
            on_error.pop_all()
        plan = replace(self._plan, slots=1) if profile else self._plan
        graph = self._plan.graph and not profile
        worker = DeviceWorker(device, plan, self.resolved, outputs, launch, graph=graph, close=launch.close)
        if profile:
            worker.profile = context.profiler = engine.profiler(self._lib)  # type: ignore[attr-defined]
        return worker

    def _context(self) -> Any:
        self._lib.words.take()
        context = self.engine.create_execution_context()
        if context is None:
            error = build.failed(self._lib, "making an execution context")
            if isinstance(error, DeviceMemoryError):
                free, total = cuda.free_memory()
                got = f"{build.needed(self.engine)} needed, {free:,} of {total:,} bytes free"
                raise DeviceMemoryError(
                    "too little device memory for a worker", got=got, fix="fewer workers or a smaller batch"
                )
            raise error
        return context

    def _close(self) -> None:
        self.engine = None


def file_precision(lib: Library, precision: str) -> str | None:
    """The precision that the ONNX file must have itself: INT8 always (Q/DQ), the others where there are no flags."""
    if precision == "int8":
        return "int8"
    return None if precision == "fp32" or lib.flagged else precision


def replace_dtypes(lib: Library, built: Any, resolved: Resolved) -> Resolved:
    """The inputs with the dtypes that the engine takes: some versions have no int64, and read int32 instead."""
    import dataclasses

    inputs = tuple(replace(t, dtype=lib.dtype(built.get_tensor_dtype(t.name))) for t in resolved.inputs)
    return dataclasses.replace(resolved, inputs=inputs)


class _Launch:
    """Enqueues inferences on one context; shapes are set when the count changes, addresses when the slot does."""

    def __init__(self, lib: Library, context: Any, resolved: Resolved, full: int) -> None:
        self._lib, self._context, self._resolved, self._full = lib, context, resolved, full
        self._slot = self._count = -1
        self._shape(full)

    def __call__(self, index: int, slot: Slot, count: int, stream: Stream) -> Mapping[str, Produced] | None:
        if count != self._count:
            self._shape(count)
        if index != self._slot:
            for name, pointer in slot.pointers.items():
                self._context.set_tensor_address(name, pointer)
            self._slot = index
        if not self._context.execute_async_v3(stream.handle):
            raise BackendError("TensorRT did not enqueue the inference", got=self._lib.words.take())
        return None

    def outputs(self, names: list[str], built: Any, model: str) -> tuple[TensorSpec, ...]:
        """Shapes of the outputs for the largest batch. Raises ModelError where the data decide them."""
        found = []
        for name in names:
            shape = tuple(int(d) for d in self._context.get_tensor_shape(name))
            if -1 in shape:
                fix = "use the backend onnxruntime, or export with a fixed number of results (top-k, padded NMS)"
                raise ModelError(f"the shape of output {name!r} of {model} depends on the data", got=shape, fix=fix)
            found.append(TensorSpec(name=name, dtype=self._lib.dtype(built.get_tensor_dtype(name)), shape=shape))
        return tuple(found)

    def close(self) -> None:
        """Free the context."""
        self._context = None

    def _shape(self, count: int) -> None:
        for name, shape in self._resolved.shapes.items():
            wanted = (count, *shape[1:]) if name in self._resolved.batched else shape
            if not self._context.set_input_shape(name, wanted):
                said = self._lib.words.take()
                raise BackendError(f"the engine does not take {name} as {list(wanted)}", got=said)
        self._count = count
