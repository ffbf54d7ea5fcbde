"""Repositories and configurations of Triton as plans; what a plan cannot say is said beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from framepace.errors import UsageError
from framepace.exporting.configuration import ALGORITHMS, CUDA_OPTIONS, LEVELS, NETWORK, PREPARED, SWITCHES
from framepace.exporting.importedshapes import open_shapes, shapes_of
from framepace.exporting.losses import losses
from framepace.exporting.pbtxt import Message, keyed, listed, loads
from framepace.facts.batching import Batching
from framepace.facts.contradiction import contradiction
from framepace.facts.plan import EnginePlan, ModelPlan, Plan, SourcePolicy
from framepace.facts.prepare import Prepare
from framepace.units import NS_PER_MS, NS_PER_US

_US_PER_MS = NS_PER_MS / NS_PER_US
_CONFIG = "config.pbtxt"
_LARGEST = 16 << 20  # bytes of a configuration: a real one has under a thousandth
_FILES = ("model.onnx", "model.plan", "model.pt")
_TORCHSCRIPT = ".pt"
_BACKENDS = {"model.onnx": "onnxruntime", "model.plan": "tensorrt", "model.pt": "torch"}


@dataclass(frozen=True)
class Imported:
    """A plan, and what of the configurations it cannot say, as sentences."""

    plan: Plan
    notes: tuple[str, ...]


@dataclass
class _Reading:
    """Models read so far."""

    models: list[ModelPlan] = field(default_factory=list)
    workers: dict[str, int] = field(default_factory=dict)
    patience_ms: list[float] = field(default_factory=list)
    prepares: dict[str, Prepare] = field(default_factory=dict)
    keeping_sizes: set[str] = field(default_factory=set)  # models whose pictures are not resized
    open_shapes: dict[str, tuple[str, ...]] = field(default_factory=dict)  # sentences on them
    notes: list[str] = field(default_factory=list)

    def add_preparation(self, name: str, prepare: Prepare, keeps_sizes: bool) -> None:
        """Add how pictures are prepared for a model."""
        self.prepares[name] = prepare
        if keeps_sizes:
            self.keeping_sizes.add(name)


def import_triton(path: Path) -> Imported:
    """The plan of a model repository of Triton, of one model's folder, or of a config.pbtxt.

    Raises UsageError for what holds no configuration, or none with a network that framepace runs.
    """
    try:
        return _imported(path)
    except OSError as error:  # names that no file can have, folders that nobody may read
        fix = "name a repository that can be read, with names that files can have"
        raise UsageError("the repository cannot be read", got=f"{error.strerror}: {error.filename}", fix=fix) from error


def _imported(path: Path) -> Imported:
    reading = _Reading()
    for config in _configurations(path):
        try:
            _read(config, reading)
        except (AttributeError, TypeError, ValueError, OverflowError) as error:  # of other types than Triton's
            fix = "correct it: Triton does not load it either"
            raise UsageError("not a configuration of Triton", got=f"{config}: {error}", fix=fix) from error
    if not reading.models:
        expected = f"a network: {', '.join(_FILES)}"
        got = "; ".join([str(path), *reading.notes])
        fix = "name a repository whose models are ONNX files, TensorRT engines or TorchScript"
        raise UsageError("no model there that a plan could run", got=got, expected=expected, fix=fix)
    return Imported(_plan(reading), tuple(dict.fromkeys(reading.notes)))


def _plan(reading: _Reading) -> Plan:
    """All that was read as one plan."""
    counts = reading.workers
    if len(set(counts.values())) > 1:
        words = ", ".join(f"{name} {count}" for name, count in counts.items())
        reading.notes.append(f"instances differ by model ({words}); a plan has as many workers for all: the most")
    source = SourcePolicy()
    if reading.patience_ms:
        source = SourcePolicy(drop="oldest", stale_ms=min(reading.patience_ms))
    models = tuple(_with_preparation(model, reading) for model in reading.models)
    return _possible(Plan(models=models, engine=EnginePlan(workers=max(counts.values())), source=source))


def _possible(plan: Plan) -> Plan:
    """The plan. Raises UsageError for one that could not be read again."""
    try:
        problem = contradiction(msgspec.convert(msgspec.to_builtins(plan), Plan))
    except msgspec.ValidationError as error:
        problem = str(error)
    if problem:
        raise UsageError("the configurations say what no plan can", got=problem, fix="correct them")
    return plan


def _configurations(path: Path) -> list[Path]:
    """The configurations of a repository, a model or a file, by name. Raises UsageError where there are none."""
    places = [path] if path.is_file() else [path / _CONFIG] if (path / _CONFIG).is_file() else []
    if not places and path.is_dir():
        places = sorted(path.glob(f"*/{_CONFIG}"))
    if not places:
        expected = f"a repository (MODEL/{_CONFIG}), a model's folder, or {_CONFIG}"
        raise UsageError("no configuration of Triton there", got=path, expected=expected, fix="name one of these")
    return places


def _read(config: Path, reading: _Reading) -> None:
    """Add what one configuration says."""
    message = loads(_text(config), str(config))
    name = str(message.get("name", config.parent.name))
    preparation = _preparation(message)
    file = _file(config.parent, message)
    if preparation is not None:
        reading.add_preparation(name.removesuffix(PREPARED), *preparation)
    elif "ensemble_scheduling" in message:
        reading.notes.extend(_ensemble(name, message))
    elif file is None:
        reading.notes.append(f"{name}: left out, for it has no network that framepace runs ({', '.join(_FILES)})")
    else:
        reading.models.append(_model(name.removesuffix(NETWORK), file, message, reading))


def _ensemble(name: str, message: Message) -> Iterator[str]:
    """What is lost of an ensemble; nothing of one that framepace has written."""
    steps = listed(message["ensemble_scheduling"], "step")
    if not any(str(step.get("model_name", "")).endswith(PREPARED) for step in steps):
        yield f"{name}: an ensemble; its networks are models of the plan, one beside the other"


def _text(config: Path) -> str:
    try:
        if config.stat().st_size > _LARGEST:
            raise UsageError("not a configuration of Triton", got=f"{config}: {config.stat().st_size} bytes")
        return config.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("the configuration cannot be read", got=f"{config}: {error}", fix="name another") from error


def _preparation(message: Message) -> tuple[Prepare, bool] | None:
    """How pictures are prepared, and whether at their own size, by a python model that framepace has written."""
    text = keyed(message, "parameters").get("prepare")
    if message.get("backend") != "python" or text is None:
        return None
    try:
        how = json.loads(text)
        return _prepare(how), how["size"] is None
    except (KeyError, TypeError, ValueError, ZeroDivisionError, RecursionError):
        return None


def _prepare(how: Mapping[str, Any]) -> Prepare:
    factors = [(float(a), float(b)) for a, b in how["factors"]]
    return Prepare(
        resize=how["resize"],
        colour=how["colour"],
        layout=how["layout"],
        pad_value=how["pad_value"],
        scale=1.0,
        mean=tuple(-b / a for a, b in factors),
        std=tuple(1 / a for a, _ in factors),
    )


def _file(folder: Path, message: Message) -> Path | None:
    """The network's file, of the latest version."""
    names = [str(message.get("default_model_filename", "")), *_FILES]
    chosen = listed(message.get("version_policy", {}).get("specific", {}), "versions")
    versions = [part for part in folder.glob("[0-9]*") if part.name.isdecimal()]
    versions = [part for part in versions if not chosen or int(part.name) in chosen]
    newest_first = sorted(versions, key=lambda part: -int(part.name))
    files = (version / name for version in newest_first for name in names)
    return next((file for file in files if f"model{file.suffix}" in _FILES and file.is_file()), None)


def _model(name: str, file: Path, message: Message, reading: _Reading) -> ModelPlan:
    reading.notes.extend(losses(name, message))
    reading.workers[name] = max(1, sum(int(group.get("count", 1)) for group in listed(message, "instance_group")))
    batching = message.get("dynamic_batching", {})
    reading.patience_ms.extend(_patience_ms(batching.get("default_queue_policy", {})))
    fields: dict[str, Any] = {"name": name, "model": str(file), "backend": _BACKENDS[f"model{file.suffix}"]}
    fields |= {"batch": _batch(message, batching)} | _device(message) | _run(message)
    reading.notes.extend(_without_onnxruntime(name, fields))
    if file.suffix != _TORCHSCRIPT:  # whose inputs have names of their own
        fields["shapes"] = shapes_of(message)
        reading.open_shapes[name] = tuple(open_shapes(name, message))
    try:
        return msgspec.convert(msgspec.to_builtins(ModelPlan(**fields)), ModelPlan)
    except (msgspec.ValidationError, TypeError) as error:
        raise UsageError(f"model {name!r} says what no plan can", got=error, fix="correct its config.pbtxt") from error


def _without_onnxruntime(name: str, fields: dict[str, Any]) -> Iterator[str]:
    """Take options of ONNX Runtime away from a model that another library runs, and say so."""
    options = fields["options"]
    if options and fields["backend"] != "onnxruntime":
        fields["options"] = {}
        yield f"{name}: options of ONNX Runtime are left out, for {fields['backend']} runs it: {', '.join(options)}"


def _patience_ms(policy: Message) -> Iterator[float]:
    """How long requests wait before they are refused, where they are."""
    timeout = policy.get("default_timeout_microseconds")
    if timeout and policy.get("timeout_action", "REJECT") == "REJECT":
        yield timeout / _US_PER_MS


def _batch(message: Message, batching: Message) -> Batching:
    largest = max(1, int(message.get("max_batch_size", 0)))
    sizes = tuple(size for size in listed(batching, "preferred_batch_size") if size <= largest)
    window_ms = batching.get("max_queue_delay_microseconds", 0) / _US_PER_MS
    waits = "dynamic_batching" in message and not window_ms and largest > 1
    return Batching(max=largest, window_ms=window_ms, sizes=sizes, policy="deadline" if waits else "window")


def _device(message: Message) -> dict[str, Any]:
    """Where it runs."""
    groups = listed(message, "instance_group")
    gpus = [gpu for group in groups for gpu in listed(group, "gpus")]
    if any(group.get("kind") == "KIND_GPU" for group in groups) or gpus:
        return {"device": f"cuda:{gpus[0]}" if gpus else "cuda"}
    return {"device": "cpu"} if any(group.get("kind") == "KIND_CPU" for group in groups) else {}


def _run(message: Message) -> dict[str, Any]:
    """Threads, options and what the backend is asked for."""
    parameters = keyed(message, "parameters")
    optimization = message.get("optimization", {})
    threads = parameters.get("intra_op_thread_count", parameters.get("INTRA_OP_THREAD_COUNT", "0"))
    fields: dict[str, Any] = {"threads": _whole(threads), "graph": bool(optimization.get("cuda", {}).get("graphs"))}
    if parameters.get("session.intra_op.allow_spinning") == "0":
        fields["spinning"] = False
    if optimization.get("input_pinned_memory", {}).get("enable") is False:
        fields["transfer"] = "pageable"
    return {**fields, **_accelerated(optimization, _options(parameters, optimization))}


def _options(parameters: Mapping[str, str], optimization: Message) -> dict[str, Any]:
    """Options of ONNX Runtime."""
    options: dict[str, Any] = {key: parameters[name] == "1" for key, name in SWITCHES.items() if name in parameters}
    if "inter_op_thread_count" in parameters:
        options["inter_threads"] = _whole(parameters["inter_op_thread_count"])
    if parameters.get("execution_mode") == "1":
        options["execution"] = "parallel"
    level = optimization.get("graph", {}).get("level")
    named = [key for key, number in LEVELS.items() if number == level and isinstance(key, str)]
    if named:
        options["optimisation"] = named[0]
    entries = {key: value for key, value in parameters.items() if key.startswith("session.")}
    options |= _cuda(parameters)
    return options | {key: value for key, value in entries.items() if not key.endswith("allow_spinning")}


def _accelerated(optimization: Message, options: dict[str, Any]) -> dict[str, Any]:
    """What execution accelerators make of a model."""
    fields: dict[str, Any] = {"options": options}
    for accelerator in listed(optimization.get("execution_accelerators", {}), "gpu_execution_accelerator"):
        parameters = keyed(accelerator, "parameters")
        if accelerator.get("name") == "tensorrt":
            fields |= _by_tensorrt(parameters)
        elif accelerator.get("name") == "cuda":
            fields["options"] = options | _cuda(parameters)
    return fields


def _by_tensorrt(parameters: Mapping[str, str]) -> dict[str, Any]:
    graph = parameters.get("trt_cuda_graph_enable", "0") in ("1", "true")
    precision = parameters.get("precision_mode", "FP32").lower()
    return {"backend": "tensorrt", "precision": precision, "graph": graph}


def _cuda(parameters: Mapping[str, str]) -> dict[str, Any]:
    """Options of the CUDA provider; written as an accelerator's they are words, as the model's parameters numbers."""
    named = {key: parameters[name] for key, name in CUDA_OPTIONS.items() if name in parameters}
    options: dict[str, Any] = {
        key: ALGORITHMS.get(value, value.lower()) if key == "algorithms" else value == "1"
        for key, value in named.items()
    }
    if "gpu_mem_limit" in parameters:
        options["memory_mb"] = max(1, _whole(parameters["gpu_mem_limit"]) >> 20)
    return options


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _with_preparation(model: ModelPlan, reading: _Reading) -> ModelPlan:
    """The model with the preparation that its ensemble has; what else is open of its shapes is noted."""
    if model.name in reading.keeping_sizes:
        model = msgspec.structs.replace(model, size="native")
    else:
        reading.notes.extend(reading.open_shapes.get(model.name, ()))
    if model.name not in reading.prepares:
        return model
    return msgspec.structs.replace(model, prepare=reading.prepares[model.name])
