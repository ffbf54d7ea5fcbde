"""Engine files: loading them, their inputs and outputs, and what they cannot do of a plan."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from framepace.backends.tensorrt.api import Library
from framepace.backends.tensorrt.build import failed, shape_values
from framepace.devices import cuda
from framepace.errors import BackendError, DeviceLost, DeviceMemoryError, ModelError, UsageError
from framepace.facts.model import ModelSpec, TensorSpec
from framepace.facts.plan import ModelPlan
from framepace.inputfile import InputKind, memory_bytes, read_file
from framepace.models.spec import Resolved
from framepace.units import format_bytes

SUFFIXES = (".engine", ".plan", ".trt")
_FILE = InputKind("the engine", ModelError, expected="an engine file", fix="check the path")


def is_engine(location: str) -> bool:
    """Whether the location names an engine, by its suffix."""
    return location.lower().endswith(SUFFIXES)


def load(lib: Library, path: Path) -> Any:
    """The engine in a file, on the current device; the runtime stays with it.

    Raises ModelError: no such file, or empty; BackendError: built for another device or version, or damaged;
    DeviceMemoryError, DeviceLost.
    """
    data = read(path)
    lib.words.take()
    try:
        engine = lib.trt.Runtime(lib.logger).deserialize_cuda_engine(data)
    except (TypeError, RuntimeError) as error:  # "factory function returned nullptr": no driver that it can use
        raise failed(lib, "starting its runtime") from error
    if engine is None:
        raise _unloadable(lib, path, len(data))
    return engine


def _unloadable(lib: Library, path: Path, size: int) -> BackendError:
    error = failed(lib, f"loading the engine {path.name}")
    if isinstance(error, DeviceMemoryError):
        return no_room(f"the engine {path.name}", f"{format_bytes(size)} or more", error)
    if isinstance(error, DeviceLost):
        return error
    fix = error.fix or "build it again from the ONNX file, on this device and with this version"
    problem = "TensorRT cannot load the engine: built for another device or version, or damaged"
    return BackendError(problem, got=f"{path} with {lib.name} {lib.version}: {error.got}", fix=fix)


def no_room(for_what: str, needed: str, error: DeviceMemoryError) -> DeviceMemoryError:
    """The error for memory that TensorRT could not get, with what it needed and what is free."""
    free, total = cuda.free_memory()
    got = f"{needed} needed, {format_bytes(free)} of {format_bytes(total)} free"
    return DeviceMemoryError(f"the device has too little memory for {for_what}", got=got, fix=error.fix)


def warned(lib: Library) -> tuple[str, ...]:
    """What TensorRT said when it loaded an engine that was built on another model of device; it runs, but slower."""
    return lib.words.warnings("different models of devices")


def read(path: Path) -> bytes:
    """The bytes of an engine file. Raises ModelError when it cannot be read, or is empty."""
    data = read_file(path, _FILE, memory_bytes())
    if not data:
        raise ModelError("the engine file is empty", got=path, fix="build it again from the ONNX file")
    return data


def refuse(model: ModelPlan, builder_options: Sequence[str]) -> None:
    """Raise UsageError for what a plan asks of a built engine: precision, folded preparation, options of the build."""
    if model.prepare.place == "graph":
        fix = "build the engine from the ONNX file, or prepare on the host"
        raise UsageError("preparation cannot be folded into an engine that is built", got=model.model, fix=fix)
    settings = [f"option.{key}" for key in model.options if key in builder_options]
    if model.precision != "fp32":
        settings.insert(0, f"precision={model.precision}")
    if settings:
        fix = "leave it out, or give the ONNX file instead of the engine"
        raise UsageError("an engine that is built cannot be changed", got=", ".join(settings), fix=fix)


def names(lib: Library, engine: Any) -> tuple[list[str], list[str]]:
    """Names of inputs and of outputs."""
    tensors = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    inputs = [name for name in tensors if engine.get_tensor_mode(name) == lib.trt.TensorIOMode.INPUT]
    return inputs, [name for name in tensors if name not in inputs]


def spec(lib: Library, engine: Any, path: Path) -> ModelSpec:
    """Identity and interface of an engine file; a dimension is open where its profile leaves it open."""
    inputs, outputs = names(lib, engine)
    data = read(path)
    return ModelSpec(
        name=path.stem,
        location=str(path),
        sha256=hashlib.sha256(data).hexdigest(),
        inputs=tuple(_tensor(lib, engine, name, _input_shape(engine, name)) for name in inputs),
        outputs=tuple(_tensor(lib, engine, name, tuple(engine.get_tensor_shape(name))) for name in outputs),
        format="tensorrt",
        size_bytes=len(data),
    )


def _profile_range(engine: Any, name: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The smallest and the largest shape of an input in the engine's first profile."""
    smallest, _, largest = (tuple(shape) for shape in engine.get_tensor_profile_shape(name, 0))
    return smallest, largest


def _input_shape(engine: Any, name: str) -> tuple[int, ...]:
    """The shape of an input; -1 only where the profile leaves a choice."""
    shape = tuple(engine.get_tensor_shape(name))
    if -1 not in shape:
        return shape
    smallest, largest = _profile_range(engine, name)
    return tuple(low if d == -1 and low == high else d for d, low, high in zip(shape, smallest, largest, strict=True))


def _tensor(lib: Library, engine: Any, name: str, shape: tuple[int, ...]) -> TensorSpec:
    open_names = ["batch", *["?"] * len(shape)]
    dims = tuple(open_name if d == -1 else int(d) for d, open_name in zip(shape, open_names, strict=False))
    return TensorSpec(name=name, dtype=lib.dtype(engine.get_tensor_dtype(name)), shape=dims)


def check(lib: Library, engine: Any, plan: ModelPlan) -> None:
    """Raise ModelError for inputs and outputs that cannot be given as linear buffers on the device."""
    if getattr(engine, "has_implicit_batch_dimension", False):
        problem = f"the engine of model {plan.name!r} has an implicit batch dimension"
        raise ModelError(problem, got=plan.model, fix="build it again from an ONNX file")
    for name in (n for both in names(lib, engine) for n in both):
        if engine.get_tensor_location(name) == lib.trt.TensorLocation.HOST:
            raise shape_values(plan.name, name)
        if engine.get_tensor_format(name) != lib.trt.TensorFormat.LINEAR:
            got = str(engine.get_tensor_format(name)).rpartition(".")[2]
            problem = f"{name!r} of the engine of model {plan.name!r} has a vectorised format"
            fix = "build it again without formats for inputs and outputs"
            raise ModelError(problem, got=got, expected="LINEAR", fix=fix)


def fitted(engine: Any, plan: ModelPlan, resolved: Resolved) -> Resolved:
    """`resolved` with its batch fixed where the engine's profile does not take a single frame.

    Raises ModelError when the profile does not hold the shapes of the plan.
    """
    fixed_batch = False
    for name, shape in resolved.shapes.items():
        if -1 not in tuple(engine.get_tensor_shape(name)):
            continue
        smallest, largest = _profile_range(engine, name)
        if any(not low <= d <= high for d, low, high in zip(shape, smallest, largest, strict=True)):
            fix = "use a batch and size within it, or build the engine again"
            problem = f"the engine of model {plan.name!r} was built for other shapes of {name!r}"
            raise ModelError(problem, got=list(shape), expected=f"from {list(smallest)} to {list(largest)}", fix=fix)
        fixed_batch |= name in resolved.batched and smallest[resolved.axis(name) or 0] > 1
    if fixed_batch:
        return dataclasses.replace(resolved, batched=frozenset())
    return resolved


def with_dtypes(lib: Library, engine: Any, resolved: Resolved) -> Resolved:
    """The inputs with the dtypes that the engine takes: 8.6 has no int64 and reads int32 instead."""
    kinds: Mapping[str, str] = {t.name: lib.dtype(engine.get_tensor_dtype(t.name)) for t in resolved.inputs}
    inputs = tuple(replace(tensor, dtype=kinds[tensor.name]) for tensor in resolved.inputs)
    image = resolved.image and dataclasses.replace(resolved.image, dtype=kinds[resolved.image.name])
    return dataclasses.replace(resolved, inputs=inputs, image=image)


def device_memory(engine: Any) -> int:
    """Bytes that a context of this engine takes on the device, beside its weights."""
    size = getattr(engine, "device_memory_size_v2", None)
    if size is None:
        size = engine.device_memory_size
    return int(size)
