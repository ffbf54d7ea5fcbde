"""What is in an engine: its inputs and outputs, its layers, and what each takes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from framepace.errors import BackendError, DeviceMemoryError, ModelError
from framepace.exec import cuda
from framepace.exec.trt.api import Library
from framepace.exec.trt.build import failed
from framepace.facts.model import Layer, ModelSpec, TensorSpec
from framepace.facts.plan import ModelPlan

SUFFIXES = (".engine", ".plan", ".trt")


def is_engine(location: str) -> bool:
    """Whether the location names an engine, by its suffix."""
    return location.lower().endswith(SUFFIXES)


def load(lib: Library, path: Path) -> Any:
    """The engine in a file, on the current device; the runtime stays with it.

    Raises BackendError: built for another device or version, or damaged; DeviceMemoryError.
    """
    data = read(path)
    lib.words.take()
    runtime = lib.trt.Runtime(lib.logger)
    engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        error = failed(lib, f"loading the engine {path.name}")
        if isinstance(error, DeviceMemoryError):
            raise error
        fix = cuda.advice(str(error.got)) or "build it again from the ONNX file, on this device and with this version"
        what = "TensorRT cannot load the engine: built for another device or version, or damaged"
        raise BackendError(what, got=f"{path} with {lib.name} {lib.version}: {error.got}", fix=fix)
    return engine


def read(path: Path) -> bytes:
    """The bytes of an engine file. Raises ModelError when it cannot be read, or is empty."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError("the engine cannot be read", got=f"{path}: {error.strerror}", fix="check the path") from error
    if not data:
        raise ModelError("the engine file is empty", got=path, fix="build it again from the ONNX file")
    return data


def names(lib: Library, engine: Any) -> tuple[list[str], list[str]]:
    """Names of inputs and of outputs."""
    every = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    given = [name for name in every if engine.get_tensor_mode(name) == lib.trt.TensorIOMode.INPUT]
    return given, [name for name in every if name not in given]


def spec(lib: Library, engine: Any, path: Path, data: bytes) -> ModelSpec:
    """Identity and interface of an engine file; a dimension is open where its profile leaves it open."""
    given, made = names(lib, engine)
    return ModelSpec(
        name=path.stem,
        location=str(path),
        sha256=hashlib.sha256(data).hexdigest(),
        inputs=tuple(_tensor(lib, engine, name, True) for name in given),
        outputs=tuple(_tensor(lib, engine, name, False) for name in made),
        format="tensorrt",
        size_bytes=len(data),
    )


def _tensor(lib: Library, engine: Any, name: str, given: bool) -> TensorSpec:
    shape = tuple(engine.get_tensor_shape(name))
    if given and -1 in shape:
        least, _, most = (tuple(s) for s in engine.get_tensor_profile_shape(name, 0))
        shape = tuple(a if d == -1 and a == b else d for d, a, b in zip(shape, least, most, strict=True))
    dims = tuple(("batch" if i == 0 else "?") if d == -1 else int(d) for i, d in enumerate(shape))
    return TensorSpec(name=name, dtype=lib.dtype(engine.get_tensor_dtype(name)), shape=dims)


def check_profile(engine: Any, plan: ModelPlan, shapes: Mapping[str, Sequence[int]]) -> None:
    """Raise ModelError when the engine's profile does not hold the shapes of the plan."""
    for name, shape in shapes.items():
        if -1 not in tuple(engine.get_tensor_shape(name)):
            continue
        least, _, most = (tuple(s) for s in engine.get_tensor_profile_shape(name, 0))
        if any(d < a or d > b for d, a, b in zip(shape, least, most, strict=True)):
            fix = "use a batch and size within it, or build the engine again"
            what = f"the engine of model {plan.name!r} was built for other shapes of {name!r}"
            raise ModelError(what, got=list(shape), expected=f"from {list(least)} to {list(most)}", fix=fix)


def layers(lib: Library, engine: Any, times: Mapping[str, Sequence[float]]) -> tuple[Layer, ...]:
    """The engine's layers as its inspector describes them, with median times (ms given, ns kept) by name."""
    inspector = engine.create_engine_inspector()
    text = inspector.get_engine_information(lib.trt.LayerInformationFormat.JSON)
    return with_times(described(text), times)


def described(text: str) -> list[Layer]:
    """Layers from the inspector's JSON: objects where the engine was built with detail, else names alone."""
    try:
        found = json.loads(text).get("Layers", [])
    except (ValueError, AttributeError):
        return []
    return [_layer(entry) for entry in found]


def _layer(entry: Any) -> Layer:
    if isinstance(entry, str):
        return Layer(name=entry, place="cuda", nodes=nodes_of(entry))
    name = str(entry.get("Name", ""))
    outputs = entry.get("Outputs") or [{}]
    format_ = str(outputs[0].get("Format/Datatype", outputs[0].get("Datatype", "")))
    kind = str(entry.get("LayerType", ""))
    return Layer(name=name, kind=kind, precision=format_precision(format_), place="cuda", nodes=nodes_of(name))


def format_precision(text: str) -> str:
    """'fp16' from 'Channel major FP16 format where C % 8 == 0', as inspectors write it."""
    words = text.lower().replace("float", "fp32").replace("half", "fp16")
    return next((name for name in ("int8", "fp8", "fp16", "bf16", "fp32", "int32", "int64") if name in words), "")


def nodes_of(name: str) -> tuple[str, ...]:
    """Names of the operators that a fused layer is named after: 'Conv_0 + Relu_1', 'PWN(Sigmoid_2, Mul_3)'."""
    inner = name.partition("(")[2].rpartition(")")[0] or name
    parts = inner.replace("||", "+").replace(",", "+").split("+")
    return tuple(part.strip() for part in parts if part.strip())


def with_times(found: Iterable[Layer], times: Mapping[str, Sequence[float]]) -> tuple[Layer, ...]:
    """Layers with the medians of their times; layers that only the profiler knows come last."""
    from msgspec.structs import replace

    listed = list(found)
    known = {layer.name for layer in listed}
    medians = {name: median(values) * 1e6 for name, values in times.items() if values}
    timed = [replace(layer, time=medians.get(layer.name)) for layer in listed]
    rest = [Layer(name=n, time=t, place="cuda", nodes=nodes_of(n)) for n, t in medians.items() if n not in known]
    return (*timed, *rest)


def profiler(lib: Library) -> Any:
    """An IProfiler whose `times` collects the ms of each layer by name."""
    base: Any = lib.trt.IProfiler

    class Times(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.times: dict[str, list[float]] = {}

        def report_layer_time(self, name: str, ms: float) -> None:
            self.times.setdefault(name, []).append(ms)

    return Times()
