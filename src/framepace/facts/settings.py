"""Settings by name: the one way a word such as 'batch' or 'delay-ms' changes a plan or a workload.

`sweep --vary`, `--set`, interventions and remedies all go through `apply`, so whatever one of them can change the
others can too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args, get_origin

import msgspec
from msgspec.structs import replace

from framepace.errors import UsageError, unknown
from framepace.facts.base import Fact
from framepace.facts.plan import Batching, EnginePlan, ModelPlan, Plan, Prepare, SourcePolicy
from framepace.facts.workload import Closed, Delay, Paced, Workload


class Case(Fact, frozen=True, kw_only=True):
    """What is measured: a plan under a workload."""

    plan: Plan
    workload: Workload


class Setting(Fact, frozen=True, kw_only=True):
    """One setting: where it lives ('models', 'engine', 'source' or 'workload'), its field, its type and a sentence."""

    name: str
    part: str
    field: str
    type: Any
    help: str


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) from 'WIDTHxHEIGHT', the way people write resolutions."""
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise UsageError("not a size", got=text, expected="WIDTHxHEIGHT, e.g. 1024x576")
    return int(height), int(width)


_MODEL, _BATCH, _PREPARE, _ENGINE, _SOURCE = (
    {f.name: f.type for f in msgspec.structs.fields(t)}
    for t in (ModelPlan, Batching, Prepare, EnginePlan, SourcePolicy)
)
_ROWS: tuple[tuple[str, str, str, Any, str], ...] = (
    ("model", "models", "model", str, "path, or builtin:NAME, or builtin:NAME@WIDTHxHEIGHT"),
    ("batch", "models", "batch.max", int, "frames in one inference"),
    ("window-ms", "models", "batch.window_ms", float, "how long the oldest frame of a batch may wait"),
    ("batch-policy", "models", "batch.policy", _BATCH["policy"], "window, or deadline: as the target's budget allows"),
    (
        "batch-sizes",
        "models",
        "batch.sizes",
        tuple[int, ...],
        "sizes preferred by policy deadline, and set up on a GPU, e.g. 4+8",
    ),
    ("threads", "models", "threads", int, "threads of the backend; 0 leaves it to the backend"),
    ("spinning", "models", "spinning", bool, "idle threads of the backend spin"),
    ("precision", "models", "precision", _MODEL["precision"], "number format of the model"),
    ("backend", "models", "backend", str, "library that runs the model"),
    ("size", "models", "size", tuple[int, int], "WIDTHxHEIGHT of the image input"),
    ("resize", "models", "prepare.resize", str, "stretch or letterbox"),
    ("layout", "models", "prepare.layout", str, "nchw or nhwc"),
    ("colour", "models", "prepare.colour", _PREPARE["colour"], "order of the channels: rgb, bgr or gray"),
    ("scale", "models", "prepare.scale", float, "factor on pixels (0-255)"),
    ("mean", "models", "prepare.mean", tuple[float, ...], "taken off each channel, e.g. 0.485+0.456+0.406"),
    ("std", "models", "prepare.std", tuple[float, ...], "each channel is divided by it, e.g. 0.229+0.224+0.225"),
    ("pad-value", "models", "prepare.pad_value", int, "grey level (0-255) around a letterboxed picture"),
    ("prepare-constant", "models", "prepare.constant", bool, "replace preparation by a constant tensor"),
    ("prepare-place", "models", "prepare.place", str, "host, or graph: folded into the model (uint8 input)"),
    ("prepare-hook", "models", "prepare.hook", str | None, "module:function called on each frame before preparation"),
    ("device", "models", "device", str | None, "cpu, cuda or cuda:N"),
    ("slots", "models", "slots", int, "requests a worker keeps in flight on a GPU"),
    ("transfer", "models", "transfer", _MODEL["transfer"], "pinned, pageable, or device: no copies"),
    ("graph", "models", "graph", bool, "replay each inference as one CUDA graph"),
    ("stream", "models", "stream", _MODEL["stream"], "own: a CUDA stream for each worker; shared: one for all"),
    ("sms", "models", "sms", int | None, "SMs each worker may use (green context)"),
    ("calibration", "models", "calibration", str | None, "video or folder of pictures for precision int8"),
    ("workers", "engine", "workers", int, "workers that run inferences"),
    ("strategy", "engine", "strategy", _ENGINE["strategy"], "how a worker runs the models of a frame"),
    ("decode", "engine", "decode", _ENGINE["decode"], "decode in a thread a source, or inline in the worker"),
    ("wait", "engine", "wait", _ENGINE["wait"], "how a worker waits: sleep, hybrid or spin"),
    ("spin-us", "engine", "spin_us", int, "length of the spin that ends a hybrid wait"),
    ("keeper", "engine", "keeper", bool, "keep the worker's core awake with an idle-priority process"),
    ("heartbeat-ms", "engine", "heartbeat_ms", float | None, "run the model this often while waiting"),
    ("gc", "engine", "gc", _ENGINE["gc"], "Python garbage collection while running"),
    ("lock-memory", "engine", "lock_memory", bool, "lock pages in memory"),
    ("nice", "engine", "nice", int | None, "priority of the process: -20 first, 19 last"),
    ("finish", "engine", "finish", str | None, "module:function that receives the outputs"),
    ("buffer", "source", "buffer", int, "frames buffered for each source"),
    ("drop", "source", "drop", _SOURCE["drop"], "never or oldest"),
    ("stale-ms", "source", "stale_ms", float | None, "discard frames older than this"),
    ("scope", "workload", "scope", str, "model, pipeline or stream"),
    ("seed", "workload", "seed", int, "seed of the load and of random inputs"),
    ("frames", "workload", "input.frames", int, "decoded frames held in memory"),
    ("cameras", "workload", "input.cameras", int | None, "number of sources, which take the videos in turn"),
    ("fps", "load", "fps", float, "paced load at this rate"),
    ("delay-ms", "load", "delay_ms", float, "fixed delay after each request"),
    ("concurrency", "load", "concurrency", int, "closed loop with this many requests in flight"),
)
SETTINGS: Mapping[str, Setting] = {r[0]: Setting(name=r[0], part=r[1], field=r[2], type=r[3], help=r[4]) for r in _ROWS}
_LOADS: Mapping[str, Callable[[Any], Any]] = {
    "fps": lambda v: Paced(fps=v),
    "delay_ms": lambda v: Delay(delay_ms=v),
    "concurrency": lambda v: Closed(concurrency=v),
}
_WORDS = {"on": True, "off": False, "true": True, "false": False, "yes": True, "no": False, "none": None}


def apply(case: Case, changes: Mapping[str, Any]) -> Case:
    """The case with `changes` (setting name -> value or its text) made.

    'MODEL.NAME' changes one model only; 'option.KEY' sets an option of the backend (None: the backend's default).
    Raises UsageError for an unknown setting (listing the known ones) or a value of the wrong type.
    """
    for name, value in changes.items():
        case = _apply_one(case, name, value)
    return case


def text(changes: Mapping[str, Any]) -> str:
    """Settings the way they are typed after `--set`: 'spinning=off threads=1'; the inverse of `apply`."""
    return " ".join(f"{name}={_value_text(value)}" for name, value in changes.items())


def _value_text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _apply_one(case: Case, name: str, value: Any) -> Case:
    only, setting = _resolve(case.plan, name)
    value = _convert(setting, value)
    if setting.part == "models":
        chosen = [m.name for m in case.plan.models] if only is None else [only]
        models = tuple(_set(m, setting.field, value) if m.name in chosen else m for m in case.plan.models)
        return replace(case, plan=replace(case.plan, models=models))
    if setting.part == "workload":
        return replace(case, workload=_set(case.workload, setting.field, value))
    if setting.part == "load":
        return replace(case, workload=_valid(replace(case.workload, load=_LOADS[setting.field](value)), setting.name))
    return replace(case, plan=_set(case.plan, f"{setting.part}.{setting.field}", value))


def _resolve(plan: Plan, name: str) -> tuple[str | None, Setting]:
    head, _, rest = name.partition(".")
    if rest and head in {m.name for m in plan.models}:
        return head, _resolve(plan, rest)[1]
    if head == "option" and rest:
        return None, Setting(name=name, part="models", field=f"options.{rest}", type=Any, help="option of the backend")
    if name not in SETTINGS:
        raise unknown("setting", name, SETTINGS)
    return None, SETTINGS[name]


def _convert(setting: Setting, value: Any) -> Any:
    if setting.field == "size" and isinstance(value, str):
        return parse_size(value)
    if get_origin(setting.type) is tuple and isinstance(value, str):
        value = [] if value == "none" else value.replace(",", "+").split("+")
    if isinstance(value, str):
        value = _word(value, setting.type)
    try:
        return msgspec.convert(value, setting.type, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"setting {setting.name!r} cannot be {value!r}", got=value, expected=setting.help) from error


def _word(text: str, kind: Any) -> Any:
    if kind is str or text in get_args(kind):
        return text
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if kind is Any:
        for number in (int, float):
            try:
                return number(text)
            except ValueError:
                continue
    return text


def _set(fact: Any, path: str, value: Any) -> Any:
    """`fact` with the field at the dotted `path` replaced, and validated as if read from a file."""
    head, _, rest = path.partition(".")
    current = getattr(fact, head)
    if rest:
        value = _with(current, rest, value) if isinstance(current, dict) else _set(current, rest, value)
    return _valid(replace(fact, **{head: value}), head)


def _with(options: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """The options with one changed; None leaves it to the backend again."""
    return {name: each for name, each in {**options, key: value}.items() if each is not None}


def _valid(fact: Any, changed: str) -> Any:
    """`fact` itself when its values are in range, as a file's would have to be."""
    try:
        return msgspec.convert(msgspec.to_builtins(fact), type(fact))
    except msgspec.ValidationError as error:
        raise UsageError(f"{changed} cannot have that value", got=fact, expected=str(error)) from error
