"""From an ONNX file to an engine: parse, profile, flags, timing cache, build. RTX needs no GPU for that."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framepace.backends.tensorrt.api import Library
from framepace.backends.tensorrt.keeping import keep_in_fp32
from framepace.backends.tensorrt.progress import watch
from framepace.devices import cuda
from framepace.errors import BackendError, DeviceLost, DeviceMemoryError, ModelError, UsageError
from framepace.facts.plan import ModelPlan
from framepace.models import builtin
from framepace.models.convert.kept import with_movers
from framepace.models.convert.variant import weight_files
from framepace.models.spec import Resolved, inspect, stem
from framepace.progress import Tell, silent
from framepace.store import cache

_VERBOSITIES = {"none": "NONE", "names": "LAYER_NAMES_ONLY", "detailed": "DETAILED"}
_BLOCK_BYTES = 1 << 24
_ERRORS_SHOWN = 3
_OTHERWISE = "use the backend onnxruntime, export with another opset, or simplify the model (onnxslim)"


@dataclass(frozen=True)
class Target:
    """The device an engine is for: its name and compute capability ('9.0'); `absent` when it is not in this machine."""

    name: str
    compute_capability: str
    absent: bool = False


def engine_file(
    lib: Library,
    model: ModelPlan,
    location: str,
    resolved: Resolved,
    target: Target,
    tell: Tell = silent,
    again: bool = False,
) -> Path:
    """The engine of `location` for `target` from the cache, built when it is not there, or `again`.

    Raises:
        ModelError: the file holds what TensorRT cannot parse. BackendError, DeviceMemoryError: building failed.
    """
    name = f"engines/{cache.plain(stem(model.model))}-{engine_key(lib, model, location, resolved, target)}.engine"
    path = cache.folder() / name
    if path.is_file() and not again:
        return path
    tell(f"building {model.name} with {lib.name} {lib.version}", None)
    return cache.put(name, build(lib, model, location, resolved, target, tell))


def engine_key(lib: Library, model: ModelPlan, location: str, resolved: Resolved, target: Target) -> str:
    """A hash of all that an engine depends on: file and weights, shapes, build settings, library version, device."""
    shapes = (sorted(resolved.shapes.items()), sorted(resolved.batched))
    options = sorted((key, value) for key, value in model.options.items() if key != "module")
    weights = [_hash(path) for path in weight_files(location) if path.is_file()]  # the parser says what is missing
    file = (inspect(location).sha256, *weights)
    kept = sorted(model.fp32_nodes) if lib.flagged else ()  # elsewhere the file has them
    return cache.key(file, shapes, model.precision, options, lib.name, lib.version, target, *kept)


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _proto(location: str) -> Any:
    import onnx

    if location.startswith("builtin:"):
        return onnx.load_model_from_string(builtin.model_bytes(location.removeprefix("builtin:")))
    return onnx.load(location, load_external_data=False)


def build(
    lib: Library, model: ModelPlan, location: str, resolved: Resolved, target: Target, tell: Tell = silent
) -> bytes:
    """A serialised engine for batches from 1 to the plan's largest. Raises as `engine_file` does."""
    lib.words.take()
    builder = builder_of(lib)
    network = builder.create_network(lib.network_flags)
    parser = lib.trt.OnnxParser(network, lib.logger)
    _parse(lib, parser, location, model.name)
    config = builder.create_builder_config()
    configure(lib, config, model, target)
    if lib.flagged and model.fp32_nodes:
        keep_in_fp32(lib.trt, network, config, with_movers(model.fp32_nodes, _proto(location).graph))
    profile(builder, config, network, resolved, model.name)
    timing = _timing(lib, config, target)
    with watch(lib, config, model.name, tell):
        memory = builder.build_serialized_network(network, config)
    if memory is None:
        raise failed(lib, f"building {model.name}", "try another precision or option.level, or the backend onnxruntime")
    if timing is not None:
        cache.put(timing, bytes(config.get_timing_cache().serialize()))
    lib.words.take()  # what did not keep it from building is no reason for a later failure
    return bytes(memory)


def builder_of(lib: Library) -> Any:
    """A builder. Raises BackendError where the library finds no device or driver that it can use."""
    try:
        return lib.trt.Builder(lib.logger)
    except (TypeError, RuntimeError) as error:  # "factory function returned nullptr"
        raise failed(lib, "making a builder") from error


def _parse(lib: Library, parser: Any, location: str, name: str) -> None:
    if location.startswith("builtin:"):
        parsed = parser.parse(builtin.model_bytes(location.removeprefix("builtin:")))
    else:
        parsed = parser.parse_from_file(str(Path(location).resolve()))  # finds weights in files beside it
    if parsed and parser.num_errors == 0:
        return
    errors = _parser_errors(parser, location) or [lib.words.take()]
    text = "; ".join(errors[:_ERRORS_SHOWN])
    if len(errors) > _ERRORS_SHOWN:
        text += f" (and {len(errors) - _ERRORS_SHOWN} more)"
    raise ModelError(f"{lib.name} {lib.version} cannot parse {name}", got=text, fix=_OTHERWISE)


def _parser_errors(parser: Any, location: str) -> list[str]:
    nodes = _proto(location).graph.node
    return [described(parser.get_error(i), nodes) for i in range(parser.num_errors)]


def described(error: Any, nodes: Sequence[Any]) -> str:
    """'node Name (Operator): what is wrong'; 8.6 gives the node's number alone, so `nodes` of the graph name it."""
    name, operator = _node(error, nodes)
    place = f"node {name}"
    if operator:
        place += f" ({operator})"
    return f"{place}: {' '.join(str(error.desc()).split())}"


def _node(error: Any, nodes: Sequence[Any]) -> tuple[str, str]:
    """Name of the node, or its number, and its operator, or ''."""
    number = int(error.node())
    if hasattr(error, "node_name"):
        return str(error.node_name()) or str(number), str(error.node_operator())
    if 0 <= number < len(nodes):
        return nodes[number].name or str(number), nodes[number].op_type
    return str(number), ""


def configure(lib: Library, config: Any, model: ModelPlan, target: Target) -> None:
    """Set what the plan's precision and options ask for on a builder's configuration."""
    set_precision(lib, config, model.precision)
    _set_options(lib.trt, config, model)
    if lib.profile_sharing is not None:
        config.set_preview_feature(lib.profile_sharing, True)
    if target.absent:
        config.num_compute_capabilities = 1
        config.set_compute_capability(_capability(lib.trt, target), 0)


def _set_options(trt: Any, config: Any, model: ModelPlan) -> None:
    options = model.options
    if not options.get("tf32", True):
        config.clear_flag(trt.BuilderFlag.TF32)
    if "level" in options:
        config.builder_optimization_level = int(options["level"])
    if "aux_streams" in options:
        config.max_aux_streams = int(options["aux_streams"])
    if "workspace_mb" in options:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(options["workspace_mb"]) << 20)
    if "tactics" in options:
        config.set_tactic_sources(tactics(trt, str(options["tactics"])))
    config.profiling_verbosity = _verbosity(trt, str(options.get("verbosity", "detailed")))


def _verbosity(trt: Any, name: str) -> Any:
    return getattr(trt.ProfilingVerbosity, _VERBOSITIES[name])


def set_precision(lib: Library, config: Any, precision: str) -> None:
    """Flags of the versions that have them. INT8 engines may run in FP16 what is not quantised."""
    if not lib.flagged:
        return
    flags = {"fp16": ("FP16",), "bf16": ("BF16",), "int8": ("INT8", "FP16")}.get(precision, ())
    for name in flags:
        config.set_flag(getattr(lib.trt.BuilderFlag, name))


def tactics(trt: Any, text: str) -> int:
    """The bits of tactic sources separated by commas. Raises UsageError for one that this version does not have."""
    sources = {name.lower(): int(value) for name, value in trt.TacticSource.__members__.items()}
    names = {name.strip().lower() for name in text.split(",")}
    unknown_names = sorted(names - set(sources))
    if unknown_names:
        raise UsageError("unknown tactic source", got=unknown_names[0], expected=", ".join(sources))
    return sum(1 << sources[name] for name in names)


def _capability(trt: Any, target: Target) -> Any:
    name = "SM" + target.compute_capability.replace(".", "")
    members = getattr(getattr(trt, "ComputeCapability", None), "__members__", {})
    if name not in members:
        raise UsageError("TensorRT cannot build for that device", got=target.compute_capability, expected=list(members))
    return members[name]


def profile(builder: Any, config: Any, network: Any, resolved: Resolved, name: str) -> Any:
    """One optimisation profile: batches from 1 to the largest, for which it is optimised; all else as the plan says.

    None where every shape is fixed. Raises ModelError for an input whose values are shapes, which must be on the host.
    """
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    if shapes := [tensor.name for tensor in inputs if tensor.is_shape_tensor]:
        raise shape_values(name, shapes[0])
    if not any(-1 in tuple(tensor.shape) for tensor in inputs):
        return None
    shape_profile = builder.create_optimization_profile()
    _set_shapes(shape_profile, resolved)
    number = config.add_optimization_profile(shape_profile)
    if number < 0:
        raise ModelError(f"TensorRT does not take the shapes of {name}", got=resolved.shapes, fix=_OTHERWISE)
    return shape_profile


def _set_shapes(shape_profile: Any, resolved: Resolved) -> None:
    """The smallest, best and largest shape of each input."""
    for tensor, shape in resolved.shapes.items():
        smallest = resolved.shape_of(tensor, 1)
        shape_profile.set_shape(tensor, smallest, shape, shape)


def shape_values(model: str, tensor: str) -> ModelError:
    """The error for a tensor that TensorRT wants in host memory, since its values are shapes."""
    fix = "make it a constant of the model, or use the backend onnxruntime"
    return ModelError(f"{tensor!r} of {model} holds shapes: TensorRT wants it on the host", got=tensor, fix=fix)


def _timing(lib: Library, config: Any, target: Target) -> str | None:
    """Load the timing cache of this version and device; the name to save it under, or None where there is none.

    Timings make the second build of any model faster, and builds alike.
    """
    if lib.compiles_late:
        return None
    name = f"timing/{cache.key(lib.version, target)}.cache"
    path = cache.folder() / name
    saved = path.read_bytes() if path.is_file() else b""
    timings = config.create_timing_cache(saved)
    if timings is None or not config.set_timing_cache(timings, ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
    return name


def refuse(lib: Library, precision: str) -> None:
    """Raise UsageError for a precision that this version cannot run."""
    able = lib.precisions()
    if precision not in able:
        problem = f"{lib.name} {lib.version} cannot build in {precision}"
        fix = "bf16: TensorRT 10, or the backend torch"
        raise UsageError(problem, got=precision, expected=", ".join(able), fix=fix)


def failed(lib: Library, doing: str, fix: str | None = None) -> BackendError:
    """The error for a call of TensorRT that returned nothing, with what it logged."""
    message = lib.words.take()
    device_error = cuda.translate(RuntimeError(message), doing)
    if isinstance(device_error, DeviceMemoryError | DeviceLost):
        return device_error
    if "volume exceeds" in message:  # a tensor of more than 2^31 - 1 values
        fix = "use a smaller batch or input"
    return BackendError(f"TensorRT failed while {doing}", got=message, fix=cuda.advice(message) or fix)
