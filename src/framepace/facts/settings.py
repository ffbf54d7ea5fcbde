"""Settings by name: the one way a word such as 'batch' or 'delay-ms' changes a plan or a workload.

`sweep --vary`, `--set`, interventions and remedies all go through `apply`, so anything that one of them can change the
others can too. A setting is a field of a plan or workload that carries a `facts.base.Setting`; the registry is read
from there.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeGuard, Union, get_args, get_origin

import msgspec
from msgspec.structs import replace

from framepace import values
from framepace.errors import UsageError, unknown
from framepace.facts import base
from framepace.facts.base import Fact
from framepace.facts.bounded import LARGEST_OPTION, NATIVE
from framepace.facts.contradiction import contradiction
from framepace.facts.plan import EnginePlan, ModelPlan, Plan, SourcePolicy
from framepace.facts.workload import Burst, Closed, Delay, Load, Paced, Workload, load_fps

Part = Literal["models", "engine", "source", "workload", "load"]


class Case(Fact, frozen=True, kw_only=True):
    """What is measured: a plan under a workload."""

    plan: Plan
    workload: Workload


class Setting(Fact, frozen=True, kw_only=True):
    """One setting: the part it lives in, its field there (dotted), the type of its values, and what it is.

    `why` is what a plan gains from it and what it pays, `why_value` the same for single values as they are typed.
    """

    name: str
    part: Part
    field: str
    type: Any
    help: str
    why: str = ""
    why_value: dict[str, str] = {}

    def reason(self, value: str) -> str:
        """Why a plan may have `value` (as typed after `--set`); '' where `help` says all."""
        return self.why_value.get(value, self.why)


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) from 'WIDTHxHEIGHT', the way people write resolutions."""
    return values.size(text)


# The order in which people read the settings; a new one that is not named here comes after these.
_READING_ORDER = (
    "model", "batch", "window-ms", "batch-policy", "batch-sizes", "threads", "spinning", "precision", "backend",
    "size", "resize", "layout", "colour", "scale", "mean", "std", "pad-value", "prepare-constant", "prepare-place",
    "prepare-hook", "post", "score", "iou", "names", "track", "after",
    "crop", "crops", "crop-names", "device", "slots", "transfer", "graph", "stream", "sms",
    "nvtx", "calibration", "calibration-method", "fp32-nodes", "workers", "strategy", "decode", "wait", "spin-us",
    "keeper", "heartbeat-ms", "gc", "lock-memory", "nice", "finish", "buffer", "drop", "stale-ms", "scope", "seed",
    "frames", "cameras", "fps", "delay-ms", "concurrency",
)  # fmt: skip
# Loads that a single number describes; setting that number chooses the load.
_LOADS: Mapping[str, type[Load]] = {"fps": Paced, "delay_ms": Delay, "concurrency": Closed}


def _read_settings(part: Part, kind: Any, path: str = "") -> Iterator[Setting]:
    """The settings of a fact and of the facts in it, in the order of the fields."""
    for field in msgspec.structs.fields(kind):
        if _is_fact(field.type):
            yield from _read_settings(part, field.type, f"{path}{field.name}.")
            continue
        for mark in getattr(field.type, "__metadata__", ()):
            if isinstance(mark, base.Setting):
                yield Setting(
                    name=mark.name or field.name.replace("_", "-"),
                    part=part,
                    field=f"{path}{field.name}",
                    type=_without_limits(field.type),
                    help=mark.help,
                    why=mark.why,
                    why_value=dict(mark.why_value),
                )


def _is_fact(kind: Any) -> TypeGuard[type[Fact]]:
    return isinstance(kind, type) and issubclass(kind, Fact)


def _without_limits(kind: Any) -> Any:
    """The type without annotations: ranges are judged where the whole fact is."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _without_limits(get_args(kind)[0])
    if origin in (Union, types.UnionType):
        return Union[tuple(_without_limits(part) for part in get_args(kind))]  # noqa: UP007 - of a computed tuple
    if origin is tuple:
        return tuple[tuple(_without_limits(part) for part in get_args(kind))]  # type: ignore[misc]
    return kind


def _registry() -> dict[str, Setting]:
    parts: tuple[tuple[Part, Any], ...] = (
        ("models", ModelPlan),
        ("engine", EnginePlan),
        ("source", SourcePolicy),
        ("workload", Workload),
        *(("load", load) for load in _LOADS.values()),
    )  # fmt: skip
    settings = {setting.name: setting for part, kind in parts for setting in _read_settings(part, kind)}
    ordered = [name for name in _READING_ORDER if name in settings]
    return {name: settings[name] for name in [*ordered, *(name for name in settings if name not in ordered)]}


SETTINGS: Mapping[str, Setting] = _registry()
_BUILT_IN = "builtin:"
_PATTERN = "matching regex"  # in an error of msgspec, of no use to people
_FROM_PLAN = "the models of the plan"
_CORRECT = "correct the plan, or the options that changed it"
_WORDS = {"on": True, "off": False, "true": True, "false": False, "yes": True, "no": False, "none": None}


def apply(case: Case, changes: Mapping[str, Any]) -> Case:
    """The case with `changes` (setting name -> value or its text) made.

    'MODEL.NAME' changes one model only; 'option.KEY' sets an option of the backend (None: the backend's default).
    Raises UsageError for an unknown setting (listing the known ones) or a value of the wrong type.
    """
    for name, value in changes.items():
        case = _apply_one(case, name, value)
    return case


def checked(case: Case) -> Case:
    """The case itself, when every value in it may be. Raises UsageError."""
    for part in (case.plan, case.workload):
        _valid(part, type(part).__name__.lower())
    problem = contradiction(case.plan)
    if problem:
        raise UsageError(
            f"the plan contradicts itself: {problem}", got=_FROM_PLAN, expected="a plan that can run", fix=_CORRECT
        )
    _check_arrivals(case.workload)
    return case


def _check_arrivals(workload: Workload) -> None:
    """Refuse a run that ends before its first frame."""
    fps = load_fps(workload.load)
    seconds = workload.stop.seconds
    if fps is None or seconds is None:
        return
    if isinstance(workload.load, Burst):
        fps /= workload.load.size
    frames = fps * seconds * len(workload.input.sources)
    if frames < 1:
        raise UsageError(
            "the run ends before the first frame",
            got=f"{fps:g} frames/s for {seconds:g} s",
            expected=f"at least {1 / fps:g} s at that rate",
            fix="measure longer (--seconds), or a number of frames (--count), or at a higher rate",
        )


def text(changes: Mapping[str, Any]) -> str:
    """Settings the way they are typed after `--set`: 'spinning=off threads=1'; the inverse of `apply`."""
    return " ".join(f"{name}={value_text(name, value)}" for name, value in changes.items())


def value_text(name: str, value: Any) -> str:
    """The value of setting `name` the way it is typed: 'off', 'none', '640x384', '0.5+0.5+0.5', '2.5'."""
    match value:
        case None | () | []:
            return "none"
        case bool():
            return "on" if value else "off"
        case float():
            return _number_text(value)
        case (height, width) if name.rpartition(".")[2] == "size":
            return f"{width}x{height}"
        case tuple() | list():
            return "+".join(value_text(name, item) for item in value)
    return str(value)


def _number_text(value: float) -> str:
    """The shortest text that is read as the same number."""
    short = f"{value:g}"
    if float(short) == value:
        return short
    return repr(value)


def _apply_one(case: Case, name: str, value: Any) -> Case:
    model, setting = _resolve(case.plan, name)
    value = _convert(setting, value)
    if setting.part == "models":
        return replace(case, plan=_set_in_models(case.plan, model, setting, value))
    if setting.part == "workload":
        return replace(case, workload=_set(case.workload, setting.field, value, setting.name))
    if setting.part == "load":
        load = _valid(_LOADS[setting.field](**{setting.field: value}), setting.field)
        return replace(case, workload=_valid(replace(case.workload, load=load), setting.name))
    return replace(case, plan=_set(case.plan, f"{setting.part}.{setting.field}", value, setting.name))


def _set_in_models(plan: Plan, name: str | None, setting: Setting, value: Any) -> Plan:
    """The plan with the setting changed in the model called `name`, or in all when it is None."""
    models = []
    for model in plan.models:
        if name in (None, model.name):
            model = _of_one_size(_set(model, setting.field, value, setting.name), setting.field)
        models.append(model)
    return replace(plan, models=tuple(models))


def _of_one_size(model: ModelPlan, changed: str) -> ModelPlan:
    """The model; a built-in one, which is made for the size in its name, with that of the setting if it came last."""
    size = model.one_size
    if changed not in ("size", "model") or size is None or not model.model.startswith(_BUILT_IN):
        return model
    plain, at, _ = model.model.partition("@")
    if changed == "model" and at:
        return replace(model, size=None)
    height, width = size
    return replace(model, model=f"{plain}@{width}x{height}")


def _resolve(plan: Plan, name: str) -> tuple[str | None, Setting]:
    """The model that 'MODEL.NAME' names (None: all of them) and the setting."""
    for model in sorted(plan.names, key=len, reverse=True):  # which may hold dots themselves
        if name.startswith(f"{model}.") and name != f"{model}.":
            return model, _resolve(plan, name.removeprefix(f"{model}."))[1]
    head, _, tail = name.partition(".")
    if head == "option" and tail:
        return None, Setting(name=name, part="models", field=f"options.{tail}", type=Any, help="option of the backend")
    if name not in SETTINGS:
        raise unknown("setting", name, SETTINGS)
    return None, SETTINGS[name]


def _convert(setting: Setting, value: Any) -> Any:
    if isinstance(value, str):
        value = _parse(setting, value)
    try:
        converted = msgspec.convert(value, setting.type, strict=False)
        msgspec.json.encode(converted)  # a text that is no Unicode could be neither stored nor shown
    except (ValueError, OverflowError, RecursionError) as error:
        raise _wrong(setting.name, value, setting.help) from error
    if values.nonfinite(converted):
        raise _wrong(setting.name, value, f"{setting.help}: a finite number")
    return converted


def _wrong(name: str, value: Any, expected: str) -> UsageError:
    """The error for the value of one setting, which says nothing of the others."""
    what = f"setting {values.shown(name)!r} cannot have that value"
    fix = "'framepace settings' lists what each setting takes"
    return UsageError(what, got=values.shown(value), expected=expected, fix=fix)


def _parse(setting: Setting, text: str) -> Any:
    """The value that a text stands for; msgspec reads the numbers."""
    if setting.field == "size" and text not in ("none", NATIVE):
        return parse_size(text)
    if get_origin(setting.type) is tuple:
        return () if text == "none" else tuple(text.replace(",", "+").split("+"))
    return _word(text, setting.type)


def _word(text: str, kind: Any) -> Any:
    if kind is str or text in get_args(kind):
        return text
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if kind is Any or {int, str} <= set(get_args(kind)):
        return _number_or_text(text)
    return text


def _number_or_text(text: str) -> int | float | str:
    """An option of a backend is a number where it reads as one."""
    try:
        return values.whole_number(text, "option", least=-LARGEST_OPTION, most=LARGEST_OPTION)
    except UsageError:
        pass
    try:
        return values.number(text, "option")
    except UsageError:
        return text


def _set(fact: Any, path: str, value: Any, name: str) -> Any:
    """`fact` with the field at the dotted `path` replaced, and validated as if read from a file; `name` is typed."""
    head, _, tail = path.partition(".")
    current = getattr(fact, head)
    if tail and isinstance(current, dict):
        value = _with_option(current, tail, value)
    elif tail:
        value = _set(current, tail, value, name)
    return _valid(replace(fact, **{head: value}), name)


def _with_option(options: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """The options with one changed; None leaves it to the backend again."""
    return {name: option for name, option in {**options, key: value}.items() if option is not None}


def _valid(fact: Any, changed: str) -> Any:
    """`fact` itself when its values are in range, as a file's would have to be."""
    try:
        plain = msgspec.to_builtins(fact)
        if values.nonfinite(plain):
            raise _wrong(changed, "nan or infinity", "finite numbers")
        msgspec.json.encode(plain)  # a text that is no Unicode could be neither stored nor shown
        return msgspec.convert(plain, type(fact))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise _wrong(changed, _value_at(fact, str(error), changed), _expected(changed, str(error))) from error


_RANGE = re.compile(r"Expected `(\w+)`(?: of length)? (>=|<=|>|<) ([\d.e+-]+)")
_COMPARISONS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
_KINDS = {"int": "a whole number of", "float": "a number of", "str": "a text, of letters", "array": "values, in number"}


def _expected(changed: str, error: str) -> str:
    """What the setting takes: in its own words where the error has a pattern, else the range."""
    setting = SETTINGS.get(changed.rpartition(".")[2])
    if setting is not None and _PATTERN in error:
        return setting.help
    return _range_text(error)


def _range_text(message: str) -> str:
    """What msgspec expected, in words."""
    limits = _RANGE.search(message)
    if limits is None:
        return values.shown(message.partition(" - at ")[0])
    kind, comparison, limit = limits.groups()
    return f"{_KINDS.get(kind, kind)} {_COMPARISONS[comparison]} {limit}"


def _value_at(fact: Any, message: str, changed: str) -> Any:
    """The value that msgspec refused: at '$.batch.max', say; that of the field `changed` where nobody can say."""
    value = fact
    try:
        for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", message.partition("at `$")[2]):
            value = value[int(index)] if index else getattr(value, name)
    except (AttributeError, IndexError, KeyError, TypeError):
        value = getattr(fact, changed, "")
    return "" if isinstance(value, msgspec.Struct) else value
