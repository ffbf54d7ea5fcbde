"""From an ONNX file to an engine: parse, profile, flags, timing cache, build. RTX needs no GPU for that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framepace.errors import BackendError, DeviceLost, DeviceMemoryError, ModelError, UsageError
from framepace.exec import builtin, cache, cuda
from framepace.exec.backend import Tell, silent
from framepace.exec.models import Resolved, inspect
from framepace.exec.trt.api import Library
from framepace.facts.plan import ModelPlan
from framepace.units import format_bytes


@dataclass(frozen=True)
class Target:
    """The device an engine is for: its name and compute capability ('9.0'); `absent` when it is not in this machine."""

    name: str
    compute_capability: str
    absent: bool = False


def engine_file(lib: Library, model: ModelPlan, location: str, resolved: Resolved, target: Target, tell: Tell) -> Path:
    """The engine of `location` for `target` from the cache, built when it is not there.

    Raises:
        ModelError: the file holds what TensorRT cannot parse. BackendError, DeviceMemoryError: building failed.
    """
    name = f"engines/{model.name}-{engine_key(lib, model, location, target)}.engine"
    path = cache.folder() / name
    if path.is_file():
        return path
    tell(f"building {model.name} with {lib.name} {lib.version}", None)
    return cache.put(name, build(lib, model, location, resolved, target, tell))


def engine_key(lib: Library, model: ModelPlan, location: str, target: Target) -> str:
    """What an engine depends on, hashed: file, settings of the build, library version, device."""
    settings = (model.precision, model.batch.max, model.size, sorted(model.shapes.items()))
    options = sorted(model.options.items())
    return cache.key(inspect(location).sha256, settings, options, lib.name, lib.version, target)


def build(
    lib: Library, model: ModelPlan, location: str, resolved: Resolved, target: Target, tell: Tell = silent
) -> bytes:
    """A serialised engine for batches from 1 to the plan's largest."""
    trt = lib.trt
    lib.words.take()
    builder = trt.Builder(lib.logger)
    network = builder.create_network(_network_flags(trt))
    parser = trt.OnnxParser(network, lib.logger)
    _parse(lib, parser, location, model.name)
    config = builder.create_builder_config()
    _configure(lib, config, model, target)
    _profile(builder, config, network, resolved, model.batch.max)
    timing = _timing(lib, config, target)
    monitor = _watch(lib, config, model.name, tell)
    memory = builder.build_serialized_network(network, config)
    del monitor
    if memory is None:
        raise failed(lib, f"building {model.name}", "try another precision or option.level, or the backend onnxruntime")
    if timing is not None:
        cache.put(timing, bytes(config.get_timing_cache().serialize()))
    return bytes(memory)


def _network_flags(trt: Any) -> int:
    flags = trt.NetworkDefinitionCreationFlag
    return 1 << int(flags.EXPLICIT_BATCH) if hasattr(flags, "EXPLICIT_BATCH") else 0


def _parse(lib: Library, parser: Any, location: str, name: str) -> None:
    if location.startswith("builtin:"):
        good = parser.parse(builtin.model_bytes(location.removeprefix("builtin:")))
    else:
        good = parser.parse_from_file(str(Path(location).resolve()))  # finds weights in files beside it
    if good and parser.num_errors == 0:
        return
    found = [_described(parser.get_error(i)) for i in range(parser.num_errors)] or [lib.words.take()]
    more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
    fix = "use the backend onnxruntime, export with another opset, or simplify the model (onnxslim)"
    raise ModelError(f"TensorRT {lib.version} cannot parse {name}", got="; ".join(found[:3]) + more, fix=fix)


def _described(error: Any) -> str:
    """'node Name (Operator): what is wrong'; older versions do not name the node in the error, but in its text."""
    ask = (getattr(error, name, None) for name in ("node_name", "node_operator"))
    node, operator = (str(a()) if callable(a) else "" for a in ask)
    words = " ".join(str(error.desc()).split())
    where = f"node {node or error.node()}" + (f" ({operator})" if operator else "")
    return f"{where}: {words}"


def _configure(lib: Library, config: Any, model: ModelPlan, target: Target) -> None:
    trt, chosen = lib.trt, model.options
    _precision(lib, config, model.precision)
    if not chosen.get("tf32", True):
        config.clear_flag(trt.BuilderFlag.TF32)
    if "level" in chosen:
        config.builder_optimization_level = int(chosen["level"])
    if "aux_streams" in chosen:
        config.max_aux_streams = int(chosen["aux_streams"])
    if "workspace_mb" in chosen:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(chosen["workspace_mb"]) << 20)
    if "tactics" in chosen:
        config.set_tactic_sources(_tactics(trt, str(chosen["tactics"])))
    verbosity = str(chosen.get("verbosity", "detailed"))
    config.profiling_verbosity = getattr(trt.ProfilingVerbosity, _VERBOSITIES[verbosity])
    sharing = getattr(getattr(trt, "PreviewFeature", None), "PROFILE_SHARING_0806", None)
    if sharing is not None and lib.version < "9":
        config.set_preview_feature(sharing, True)
    if target.absent:
        config.num_compute_capabilities = 1
        config.set_compute_capability(_capability(trt, target), 0)


_VERBOSITIES = {"none": "NONE", "names": "LAYER_NAMES_ONLY", "detailed": "DETAILED"}
VERBOSITIES = tuple(_VERBOSITIES)


def _precision(lib: Library, config: Any, precision: str) -> None:
    """Flags of the versions that have them. INT8 engines may run in FP16 what is not quantised."""
    wanted = {"fp16": ("FP16",), "bf16": ("BF16",), "int8": ("INT8", "FP16")}.get(precision, ())
    for name in wanted if lib.flagged else ():
        config.set_flag(getattr(lib.trt.BuilderFlag, name))


def _tactics(trt: Any, text: str) -> int:
    known = {name.lower(): int(value) for name, value in trt.TacticSource.__members__.items()}
    names = [name.strip().lower() for name in text.split(",")]
    wrong = [name for name in names if name not in known]
    if wrong:
        raise UsageError("unknown tactic source", got=wrong[0], expected=", ".join(known))
    return sum(1 << known[name] for name in names)


def _capability(trt: Any, target: Target) -> Any:
    name = "SM" + target.compute_capability.replace(".", "")
    known = getattr(trt.ComputeCapability, "__members__", {})
    if name not in known:
        raise UsageError("TensorRT cannot build for that device", got=target.compute_capability, expected=list(known))
    return known[name]


def _profile(builder: Any, config: Any, network: Any, resolved: Resolved, batch: int) -> None:
    """One optimisation profile: batches from 1 to the largest, for which it is optimised; all else as the plan says."""
    if not any(-1 in tuple(network.get_input(i).shape) for i in range(network.num_inputs)):
        return
    profile = builder.create_optimization_profile()
    for name, shape in resolved.shapes.items():
        least = (1, *shape[1:]) if name in resolved.batched else shape
        profile.set_shape(name, least, shape, shape)
    config.add_optimization_profile(profile)


def _timing(lib: Library, config: Any, target: Target) -> str | None:
    """Load the timing cache of this version and device, and say under which name to keep it; None where there is none.

    Timings make the second build of any model faster, and builds alike.
    """
    if lib.name != "tensorrt":  # RTX compiles when the engine is loaded
        return None
    name = f"timing/{cache.key(lib.version, target)}.cache"
    path = cache.folder() / name
    timings = config.create_timing_cache(path.read_bytes() if path.is_file() else b"")
    if timings is None or not config.set_timing_cache(timings, ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
    return name


def _watch(lib: Library, config: Any, name: str, tell: Tell) -> Any:
    """A progress monitor that tells the share of the outermost phase; versions before 10 have none."""
    base: Any = getattr(lib.trt, "IProgressMonitor", None)
    if base is None or not hasattr(config, "progress_monitor"):
        return None

    class Monitor(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._outer: dict[str, int] = {}

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            if not parent:
                self._outer[phase] = max(1, steps)

        def step_complete(self, phase: str, step: int) -> bool:
            if phase in self._outer:
                tell(f"building {name}: {phase}", min(1.0, (step + 1) / self._outer[phase]))
            return True

        def phase_finish(self, phase: str) -> None:
            self._outer.pop(phase, None)

    config.progress_monitor = Monitor()
    return config.progress_monitor


def needed(engine: Any) -> str:
    """What a context of this engine takes on the device, in words."""
    size: Any = getattr(engine, "device_memory_size_v2", None) or getattr(engine, "device_memory_size", 0)
    return f"{format_bytes(int(size))} for each worker"


def refuse(lib: Library, precision: str) -> None:
    """Raise UsageError for a precision that this version cannot run."""
    able = lib.precisions()
    if precision not in able:
        what = f"{lib.name} {lib.version} cannot build in {precision}"
        raise UsageError(what, got=precision, expected=", ".join(able), fix="the backend torch runs bf16 and fp16")


def failed(lib: Library, doing: str, fix: str | None = None) -> BackendError:
    """The error for a call of TensorRT that returned nothing, with what it logged."""
    said = lib.words.take()
    trouble = cuda.translate(RuntimeError(said), doing)
    if isinstance(trouble, DeviceMemoryError | DeviceLost):
        return trouble
    return BackendError(f"TensorRT failed while {doing}", got=said, fix=fix)
