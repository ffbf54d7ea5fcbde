"""TensorRT: ONNX files built into engines, and engine files; 8.6, 10, 11 and TensorRT-RTX."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta
from msgspec.structs import replace

from framepace.backends.base import Backend, Session, Worker
from framepace.backends.deviceworker import DeviceWorker, Launch, Produced, Slot
from framepace.backends.options import checked
from framepace.backends.tensorrt import build, engine
from framepace.backends.tensorrt.api import Library, find_library
from framepace.backends.tensorrt.contexts import Contexts, bind_streams
from framepace.backends.tensorrt.layers import inspected, profiler
from framepace.clock.system import Clock
from framepace.devices import cuda
from framepace.devices.protocol import Stream
from framepace.errors import BackendError, DeviceLost, DeviceMemoryError, ModelError, UsageError
from framepace.facts.base import Fact
from framepace.facts.model import Layer, TensorSpec
from framepace.facts.plan import ModelPlan
from framepace.models.convert.variant import variant
from framepace.models.spec import Resolved, inspect, resolve
from framepace.progress import Tell

find_library()  # no TensorRT: an ImportError, which the registry turns into the name of the extra
OPTIONS: Mapping[str, str] = {
    "module": "tensorrt or tensorrt-rtx, where both are installed",
    "level": "builder optimisation level, 0 (quick) to 5 (thorough)",
    "workspace_mb": "device memory a layer may take while it runs",
    "aux_streams": "streams beside its own on which one inference may run",
    "verbosity": "what the engine says of its layers: detailed, names or none",
    "tf32": "let float32 products run in TF32, as the library does by itself (true or false)",
    "tactics": "tactic sources, e.g. 'edge_mask_convolutions,jit_convolutions'; the library's own by default",
}
_OF_BUILD = tuple(key for key in OPTIONS if key != "module")
_PROFILED = 20  # inferences for the times of layers


class _Options(Fact, frozen=True, kw_only=True):
    module: Literal["tensorrt", "tensorrt-rtx"] = "tensorrt"
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
    side_by_side = True

    def __init__(self) -> None:
        self._lib: Library | None = None

    def _load(self, model: ModelPlan, clock: Clock, tell: Tell) -> Session:
        chosen = replace(model, options=checked(self.name, _Options, model.options))
        self._lib = chosen_library(chosen)
        return _TrtSession(self._lib, chosen, tell)

    def is_built(self, location: str) -> bool:
        """Whether it names an engine."""
        return engine.is_engine(location)

    def batch_sizes(self, model: ModelPlan) -> tuple[int, ...]:
        """See Backend: graphs are captured."""
        return model.batch.prepared_sizes if model.graph else ()

    def versions(self) -> dict[str, str]:
        """Version of the library that loaded a model, or that is found first."""
        lib = self._lib or find_library()
        return {lib.name: lib.version}


def chosen_library(model: ModelPlan) -> Library:
    """The library of option.module, else the one that is found first. Raises UsageError where it is not installed."""
    name = model.options.get("module")
    try:
        return find_library(None if name is None else str(name))
    except ImportError as error:
        fix = f"install it: pip install 'framepace[{name}]', or leave option.module out"
        raise UsageError(f"the library {name!r} cannot be used", got=error, fix=fix) from error


class _TrtSession(Session):
    """One engine; each worker has its own execution context on it."""

    def __init__(self, lib: Library, model: ModelPlan, tell: Tell) -> None:
        build.refuse(lib, model.precision)
        identity = cuda.identity(model.device)
        cuda.open_device(model.device).close()  # the context is current in this thread from here on
        self._lib = lib
        self._plan = model
        self.gpu = identity["pci_bus_id"]
        target = build.Target(identity["name"], identity["compute_capability"])
        if engine.is_engine(model.model):
            path, resolved = self._load_file()
        else:
            path, resolved = self._load_built(target, tell)
        engine.check(lib, self.engine, model)
        self.resolved = engine.with_dtypes(lib, self.engine, engine.fitted(self.engine, model, resolved))
        self._contexts = Contexts(lib, self.engine, path, target)

    def layers(self) -> tuple[Layer, ...]:
        """See Session: the inspector's description and the profiler's times; no times where memory does not suffice."""
        if self.closed:
            return ()
        profile = profiler(self._lib)
        context = None
        with contextlib.suppress(DeviceMemoryError):
            worker, (context,) = self._make_worker(0, replace(self._plan, slots=1, graph=False))
            context.profiler = profile
            with contextlib.closing(worker):
                for _ in range(_PROFILED):
                    worker.enqueue(0, self._plan.batch.max)
                    worker.wait(0)
        return inspected(self._lib, self.engine, context, profile.times)

    def _load_file(self) -> tuple[Path, Resolved]:
        """Load the plan's engine file."""
        engine.refuse(self._plan, _OF_BUILD)
        path = Path(self._plan.model)
        self.engine = engine.load(self._lib, path)
        self.notes = tuple(f"{self._plan.name}: TensorRT warns: {text}" for text in engine.warned(self._lib))
        self.spec = engine.spec(self._lib, self.engine, path)
        return path, resolve(self.spec, self._plan)

    def _load_built(self, target: build.Target, tell: Tell) -> tuple[Path, Resolved]:
        """Load the engine of the plan's ONNX file, built when it is not in the cache or what is there does not load."""
        plan = self._plan
        file = variant(plan, _file_precision(self._lib, plan), tell)
        original = inspect(plan.model)
        resolved = resolve(inspect(file), plan)
        self.spec = replace(original, inputs=resolve(original, plan).inputs)
        engine_file = partial(build.engine_file, self._lib, plan, file, resolved, target, tell)
        return self._load_cached(engine_file), resolved

    def _load_cached(self, engine_file: Callable[..., Path]) -> Path:
        """Load the engine of the cache; one that does not load is built again."""
        path = engine_file()
        try:
            self.engine = engine.load(self._lib, path)
        except (DeviceMemoryError, DeviceLost):
            raise
        except BackendError:  # damaged, or from before a change that the key does not see
            path = engine_file(again=True)
            self.engine = engine.load(self._lib, path)
        return path

    def _worker(self, index: int) -> Worker:
        return self._make_worker(index, self._plan)[0]

    def _make_worker(self, index: int, plan: ModelPlan) -> tuple[Worker, Sequence[Any]]:
        """A worker, and the contexts that it runs on until it closes: one, or one for each slot."""
        device = cuda.open_device(plan.device, plan.sms, index)
        with contextlib.ExitStack() as on_error:
            on_error.callback(device.close)
            side_by_side = plan.stream == "slot"
            contexts = [self._take_context(plan, device) for _ in range(plan.slots if side_by_side else 1)]
            launches = [_Launch(self._lib, context, self.resolved, plan.batch.max) for context in contexts]
            outputs = launches[0].outputs(engine.names(self._lib, self.engine)[1], self.engine, plan.name)
            on_error.pop_all()
        worker = DeviceWorker(
            device,
            plan,
            self.resolved,
            outputs,
            _in_turn(launches),
            capture=device.capture if plan.graph else None,
            side_by_side=side_by_side,
            close=partial(self._give_back, contexts, plan is self._plan),
            sizes=self.batch_sizes,
            tell=self.note,
        )
        return worker, contexts

    def _give_back(self, contexts: Sequence[Any], again: bool) -> None:
        for context in contexts:
            self._contexts.give_back(context, again=again)

    def _take_context(self, plan: ModelPlan, device: cuda.CudaDevice) -> Any:
        with cuda.lock_setup():
            context = self._contexts.take()
        if plan.sms is not None and plan.stream != "shared":
            bind_streams(self.engine, context, device)
        return context

    def _close(self) -> None:
        self._contexts.save()
        self._contexts.close()
        self.engine = None


def _file_precision(lib: Library, plan: ModelPlan) -> str | None:
    """The same for a plan: with nodes to keep in FP32, the builder's flags need a file whose nodes have these names."""
    precision = file_precision(lib, plan.precision)
    if precision is None and plan.precision == "fp16" and plan.fp32_nodes:
        return "named"
    return precision


def file_precision(lib: Library, precision: str) -> str | None:
    """The precision that the ONNX file must have itself: INT8 always (Q/DQ), the others where there are no flags."""
    if precision == "int8":
        return "int8"
    if precision == "fp32" or lib.flagged:
        return None
    return precision


def _in_turn(launches: Sequence[_Launch]) -> Launch:
    """The launch of a worker, whose slots share one, or have one each."""
    if len(launches) == 1:
        return launches[0]
    return lambda index, slot, count, stream: launches[index](index, slot, count, stream)


class _Launch:
    """Enqueues inferences on one context; shapes are set when the count changes, addresses when the slot does."""

    def __init__(self, lib: Library, context: Any, resolved: Resolved, full: int) -> None:
        self._lib = lib
        self._context = context
        self._resolved = resolved
        self._slot = -1
        self._count = -1
        self._set_shapes(full)

    def __call__(self, index: int, slot: Slot, count: int, stream: Stream) -> Mapping[str, Produced] | None:
        if count != self._count:
            self._set_shapes(count)
        if index != self._slot:
            for name, pointer in slot.pointers.items():
                self._context.set_tensor_address(name, pointer)
            self._slot = index
        if not self._context.execute_async_v3(stream.handle):
            raise BackendError("TensorRT did not enqueue the inference", got=self._lib.words.take())
        return None

    def outputs(self, names: list[str], built: Any, model: str) -> tuple[TensorSpec, ...]:
        """Shapes of the outputs for the largest batch. Raises ModelError where the data decide them."""
        outputs = []
        for name in names:
            shape = tuple(int(d) for d in self._context.get_tensor_shape(name))
            if -1 in shape:
                fix = "use the backend onnxruntime, or export with a fixed number of results (top-k, padded NMS)"
                raise ModelError(f"the shape of output {name!r} of {model} depends on the data", got=shape, fix=fix)
            outputs.append(TensorSpec(name=name, dtype=self._lib.dtype(built.get_tensor_dtype(name)), shape=shape))
        return tuple(outputs)

    def _set_shapes(self, count: int) -> None:
        for name in self._resolved.shapes:
            shape = self._resolved.shape_of(name, count)
            if not self._context.set_input_shape(name, shape):
                message = self._lib.words.take()
                fix = None
                if "profile" in message.lower():  # 8.6 gives a profile to one context only, unless built to share
                    fix = "use one worker, or give the ONNX file instead of the engine"
                raise BackendError(f"the engine does not take {name} as {list(shape)}", got=message, fix=fix)
        self._count = count
