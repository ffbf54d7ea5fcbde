"""Which settings a tuning tries: axes of values, the combinations that make sense, and what is one step from one."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from framepace.facts.plan import EnginePlan, ModelPlan, Plan
from framepace.facts.settings import Case, apply

Settings = dict[str, Any]
_LAYOUTS = ("nhwc", "channels_last")  # options with which backends keep pictures as tensor cores like them
_CROWD = 2  # threads x workers is at most this many times the cores


@dataclass(frozen=True)
class Axis:
    """The values of one setting.

    `first` are those that are predicted in all combinations; the others are reached from the best by steps. Values
    that are `ordered` are gone through step by step; of the others, each is one step from each.
    """

    name: str
    values: tuple[Any, ...]
    first: tuple[Any, ...] = ()
    ordered: bool = True


@dataclass(frozen=True)
class Surroundings:
    """What a machine offers a plan: CPU cores, SMs of the smallest GPU (0: no GPU), backends that can run the models.

    `batches` is whether the models take any number of frames at once; `options` are those that each backend knows.
    """

    cores: int
    sms: int = 0
    backends: tuple[str, ...] = ()
    batches: bool = True
    options: Mapping[str, Collection[str]] = dataclasses.field(default_factory=dict)


def on_gpu(model: ModelPlan, around: Surroundings) -> bool:
    """Whether the settings of a GPU matter to a model: it runs on one, or a simulated one."""
    if model.backend == "simulated":
        return True
    return around.sms > 0 and (model.device or "cuda") != "cpu"


def axes(
    case: Case,
    around: Surroundings,
    precisions: Sequence[str] = (),
    fixed: Collection[str] = (),
    budget_ms: float = 1000 / 30,
) -> tuple[Axis, ...]:
    """The axes for a case. `precisions` are allowed beside the plan's own; `fixed` settings are left as they are."""
    model, engine = case.plan.models[0], case.plan.engine
    gpu = on_gpu(model, around)
    found = [
        Axis("backend", around.backends, around.backends, ordered=False),
        Axis("precision", tuple(precisions), tuple(precisions), ordered=False),
        *(_gpu(around) if gpu else _cpu(around, model.threads)),
        Axis("workers", tuple(range(1, _CROWD * around.cores + 1)), _powers(_CROWD * around.cores)) if not gpu
        else Axis("workers", (1, 2, 3, 4, 6, 8), (1, 2, 4)),
        *(_batching(gpu, round(budget_ms / 4, 1)) if around.batches else ()),
        Axis("prepare-place", ("host", "graph"), ordered=False),
        Axis("wait", ("hybrid", "sleep", "spin"), ordered=False),
        Axis("decode", ("thread", "inline"), ordered=False),
        Axis("strategy", ("workers", "serial", "threads", "processes"), ordered=False),
    ]  # fmt: skip
    if len(case.plan.models) == 1 or engine.strategy != EnginePlan().strategy:
        found.pop()
    return tuple(with_own(case, axis) for axis in found if axis.name not in fixed and axis.values)


def _batching(gpu: bool, window: float) -> Iterator[Axis]:
    yield Axis("batch", (1, 2, 3, 4, 6, 8, 12, 16, 24, 32), (1, 4, 8, 16, 32) if gpu else (1, 2, 4, 8))
    yield Axis("batch-policy", ("window", "deadline"), ("window", "deadline"), ordered=False)
    yield Axis("window-ms", (0.0, window), (0.0,))


def _cpu(around: Surroundings, own: int) -> Iterator[Axis]:
    """Threads 0 is the backend's choice: as many as there are cores."""
    cores = around.cores
    first = tuple(dict.fromkeys((*_powers(cores - 1), own if own == 0 else cores)))
    yield Axis("threads", (*range(1, cores), own if own == 0 else cores), first)
    yield Axis("spinning", (True, False), ordered=False)


def _gpu(around: Surroundings) -> Iterator[Axis]:
    yield Axis("graph", (False, True), (False, True), ordered=False)
    yield Axis("slots", (1, 2, 3), (2,))
    yield Axis("stream", ("own", "shared"), ordered=False)
    known = {option for options in around.options.values() for option in options}
    for option in filter(known.__contains__, _LAYOUTS):
        yield Axis(f"option.{option}", (None, True), ordered=False)
    if around.sms:
        yield Axis("sms", (None, *(max(1, around.sms // n) for n in (2, 4))), ordered=False)


def _powers(most: int) -> tuple[int, ...]:
    return tuple(itertools.takewhile(lambda n: n <= most, (2**i for i in range(16))))


def with_own(case: Case, axis: Axis) -> Axis:
    """The axis with the plan's own value in it, so that the plan as given is one of its combinations."""
    if not isinstance(own := _own(case.plan, axis.name), _Missing) and own not in axis.values:
        values = (*axis.values, own)
        if axis.ordered and all(isinstance(v, int | float) for v in values):
            values = tuple(sorted(values, key=float))
        axis = Axis(axis.name, values, axis.first, axis.ordered)
    return axis if axis.first else Axis(axis.name, axis.values, _only(own), axis.ordered)


class _Missing:
    """No value."""


def _only(own: Any) -> tuple[Any, ...]:
    return () if isinstance(own, _Missing) else (own,)


def _own(plan: Plan, name: str) -> Any:
    """The value of a setting in the plan (of its first model)."""
    from framepace.facts.settings import SETTINGS

    kind, _, option = name.partition(".")
    if kind == "option":
        return plan.models[0].options.get(option)
    setting = SETTINGS.get(name)
    if setting is None or setting.part not in ("models", "engine", "source"):
        return _Missing()
    part = plan.models[0] if setting.part == "models" else getattr(plan, setting.part)
    for field in setting.field.split("."):
        part = getattr(part, field)
    return part


def grid_axes(grid: Mapping[str, Sequence[Any]]) -> tuple[Axis, ...]:
    """Axes of exactly these values, all of them predicted."""
    return tuple(Axis(name, tuple(values), tuple(values)) for name, values in grid.items())


def combinations(case: Case, found: Sequence[Axis], around: Surroundings) -> list[Settings]:
    """Every combination of the axes' first values that makes sense; the plan as given ({}) is the first."""
    crossed = (dict(zip((a.name for a in found), v, strict=True)) for v in itertools.product(*(a.first for a in found)))
    kept = [{}, *(changed(case, settings) for settings in crossed)]
    return [s for i, s in enumerate(kept) if s not in kept[:i] and (not s or sensible(apply(case, s), around))]


def neighbours(case: Case, found: Sequence[Axis], around: Surroundings, settings: Mapping[str, Any]) -> list[Settings]:
    """What is one step on one axis, or one step up and one down on threads and workers, from `settings`."""
    steps = [
        {axis.name: value} for axis in found for value in _steps(axis, _value(case, settings, axis.name))
    ]  # fmt: skip
    named = {axis.name: axis for axis in found}
    if {"threads", "workers"} <= named.keys():
        pairs = [_steps(named[n], _value(case, settings, n)) for n in ("threads", "workers")]
        steps += [{"threads": t, "workers": w} for t in pairs[0] for w in pairs[1]]
    if {"batch", "batch-policy"} <= named.keys():  # from one frame to a batch, which alone has policies
        steps += [{**s, "batch-policy": "deadline"} for s in steps if "batch" in s]
    reached = [changed(case, {**settings, **step}) for step in steps]
    unique = [s for i, s in enumerate(reached) if s not in reached[:i] and s != dict(settings)]
    return [s for s in unique if not s or sensible(apply(case, s), around)]


def _steps(axis: Axis, own: Any) -> list[Any]:
    if not axis.ordered or own not in axis.values:
        return [value for value in axis.values if value != own]
    at = axis.values.index(own)
    return [axis.values[i] for i in (at - 1, at + 1) if 0 <= i < len(axis.values)]


def _value(case: Case, settings: Mapping[str, Any], name: str) -> Any:
    return settings[name] if name in settings else _own(case.plan, name)


def changed(case: Case, settings: Mapping[str, Any]) -> Settings:
    """`settings` without those that the case has already."""
    return {name: value for name, value in settings.items() if apply(case, {name: value}) != case}


def sensible(case: Case, around: Surroundings) -> bool:
    """Whether a plan can be better than all that are simpler: no policy without a batch, no crowd of threads.

    Nor is it sensible to tell a backend what only another one understands.
    """
    plan = case.plan
    if any(option not in around.options.get(m.backend, m.options) for m in plan.models for option in m.options):
        return False
    batch = plan.models[0].batch
    if batch.max == 1 and (batch.policy != "window" or batch.window_ms):
        return False
    if batch.policy == "deadline" and batch.window_ms:
        return False
    return all(on_gpu(m, around) or _threads(m, around) * plan.engine.workers <= _CROWD * around.cores
               for m in plan.models)  # fmt: skip


def _threads(model: ModelPlan, around: Surroundings) -> int:
    return model.threads or around.cores
