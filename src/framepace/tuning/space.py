"""The settings that a tuning tries: axes of values, the combinations that make sense, and the steps from one."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from framepace.backends.base import get_backend
from framepace.facts.contradiction import contradiction
from framepace.facts.plan import Batching, EnginePlan, ModelPlan, Plan
from framepace.facts.settings import SETTINGS, Case, apply
from framepace.values import check_cells

Settings = dict[str, Any]
_LAYOUTS = ("nhwc", "channels_last")  # options with which backends keep pictures as tensor cores like them
_TENSOR_ROWS = 8  # of a product that tensor cores take together
_CROWD = 2  # threads x workers is at most this many times the cores
_MISSING = object()


@dataclass(frozen=True)
class Axis:
    """The values of one setting.

    `first` are those that are predicted in all combinations; the others are reached from the best by steps. From an
    `ordered` value a step leads to the next one up or down; otherwise to any other value.
    """

    name: str
    values: tuple[Any, ...]
    first: tuple[Any, ...] = ()
    ordered: bool = True


@dataclass(frozen=True)
class MachineOptions:
    """The options that a machine offers a plan.

    Attributes:
        cores: usable CPU cores.
        sms: SMs of the smallest GPU; 0 without a GPU.
        backends: those that can run the models.
        batches: whether the models take any number of frames at once.
        decodes: whether its GPU has a decoder of video that can be used.
        computes_shapes: whether a model of ONNX Runtime has nodes that compute shapes, which can be folded away.
        options: the options that each backend knows.
        notes: sentences on what it does not offer, and why.
    """

    cores: int
    sms: int = 0
    backends: tuple[str, ...] = ()
    batches: bool = True
    decodes: bool = False
    computes_shapes: bool = False
    options: Mapping[str, Collection[str]] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()


@lru_cache
def _is_simulated(backend: str) -> bool:
    return get_backend(backend).simulated


def on_gpu(model: ModelPlan, machine: MachineOptions) -> bool:
    """Whether the settings of a GPU matter to a model: it runs on one, or a simulated one."""
    if machine.sms > 0 and (model.device or "cuda") != "cpu":
        return True
    return _is_simulated(model.backend)


def on_real_gpu(model: ModelPlan, machine: MachineOptions) -> bool:
    """Whether a model runs on a GPU of this machine, which can decode and prepare pictures too."""
    backend = get_backend(model.backend)
    return machine.sms > 0 and not backend.simulated and backend.device_of(model).startswith("cuda")


def axes(
    case: Case,
    machine: MachineOptions,
    precisions: Sequence[str] = (),
    fixed: Collection[str] = (),
    budget_ms: float = 1000 / 30,
) -> tuple[Axis, ...]:
    """The axes for a case. `precisions` are allowed beside the plan's own; `fixed` settings are left as they are."""
    tried = [
        Axis("backend", machine.backends, machine.backends, ordered=False),
        Axis("precision", tuple(precisions), tuple(precisions), ordered=False),
        *_of_device(case.plan.models[0], machine, budget_ms),
        *_anywhere(case, machine),
    ]
    return tuple(_with_current(case, axis) for axis in tried if axis.name not in fixed and axis.values)


def _of_device(model: ModelPlan, machine: MachineOptions, budget_ms: float) -> Iterator[Axis]:
    """Axes whose values depend on whether the model runs on a GPU."""
    gpu = on_gpu(model, machine)
    if gpu:
        yield from _gpu(model, machine)
    else:
        yield from _cpu(machine, model.threads)
    if machine.computes_shapes:
        yield Axis("shapes", ("exported", "fixed"), ordered=False)
    if machine.batches:
        yield _batches(gpu, model.batch.max)
        yield from _batching(round(budget_ms / 4, 1))


def _batches(gpu: bool, largest: int) -> Axis:
    """Batches; on a GPU also those around the plan's that tensor cores take whole (see FP030)."""
    sizes = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32}
    if not gpu:
        return Axis("batch", tuple(sorted(sizes)), (1, 2, 4, 8))
    below = largest // _TENSOR_ROWS * _TENSOR_ROWS
    around = {below, below + _TENSOR_ROWS} if largest > below > 0 else set[int]()
    return Axis("batch", tuple(sorted(sizes | around)), (1, 4, 8, 16, 32))


def _batching(window_ms: float) -> Iterator[Axis]:
    yield Axis("batch-policy", ("window", "deadline"), ("window", "deadline"), ordered=False)
    yield Axis("window-ms", (0.0, window_ms), (0.0,))


def _anywhere(case: Case, machine: MachineOptions) -> Iterator[Axis]:
    """Axes that make sense on a CPU and on a GPU."""
    plan = case.plan
    yield Axis("prepare-place", _places(plan.models[0], machine), ordered=False)
    yield Axis("wait", ("hybrid", "sleep", "spin"), ordered=False)
    yield Axis("decode", _decoders(case, machine), ordered=False)
    if plan.engine.strategy == EnginePlan().strategy:
        yield Axis("strategy", _strategies(plan, machine), ordered=False)


def _strategies(plan: Plan, machine: MachineOptions) -> tuple[str, ...]:
    """How workers can run the models; on a GPU their threads wait for the interpreter lock more than for the device."""
    several = ("serial", "threads", "processes") if len(plan.models) > 1 else ()
    alone = ("worker-processes",) if on_real_gpu(plan.models[0], machine) else ()
    return ("workers", *several, *alone)


def _places(model: ModelPlan, machine: MachineOptions) -> tuple[str, ...]:
    """Where pictures can be prepared; a hook is called on the host."""
    if model.prepare.hook or not on_real_gpu(model, machine):
        return ("host", "graph")
    return ("host", "graph", "device")


def _decoders(case: Case, machine: MachineOptions) -> tuple[str, ...]:
    """What can decode; pictures in memory need no decoder."""
    if machine.decodes and case.workload.input.videos and on_real_gpu(case.plan.models[0], machine):
        return ("thread", "inline", "gpu")
    return ("thread", "inline")


def _cpu(machine: MachineOptions, threads: int) -> Iterator[Axis]:
    """Threads 0 is the backend's choice: as many as there are cores."""
    cores = machine.cores
    all_cores = cores
    if threads == 0:
        all_cores = 0
    yield Axis("threads", (*range(1, cores), all_cores), tuple(dict.fromkeys((*_powers(cores - 1), all_cores))))
    yield Axis("spinning", (True, False), ordered=False)
    yield Axis("workers", tuple(range(1, _CROWD * cores + 1)), _powers(_CROWD * cores))


def _gpu(model: ModelPlan, machine: MachineOptions) -> Iterator[Axis]:
    yield Axis("graph", (False, True), (False, True), ordered=False)
    yield Axis("slots", (1, 2, 3), (2,))
    if get_backend(model.backend).side_by_side:
        yield Axis("stream", ("own", "slot"), ordered=False)
    yield from _layouts(machine)
    if machine.sms:
        yield Axis("sms", (None, "50%", "25%"), ordered=False)
    yield Axis("workers", (1, 2, 3, 4, 6, 8), (1, 2, 4))


def _layouts(machine: MachineOptions) -> Iterator[Axis]:
    """Layouts of pictures that a backend can choose."""
    options = set(itertools.chain.from_iterable(machine.options.values()))
    for option in _LAYOUTS:
        if option in options:
            yield Axis(f"option.{option}", (None, True), ordered=False)


def _powers(highest: int) -> tuple[int, ...]:
    """Powers of two up to `highest`."""
    return tuple(itertools.takewhile(lambda n: n <= highest, (2**i for i in range(16))))


def _with_current(case: Case, axis: Axis) -> Axis:
    """The axis with the plan's value in it, so that the original plan is one of its combinations."""
    current = _value_in(case.plan, axis.name)
    values = axis.values
    if current is not _MISSING and current not in values:
        values = (*values, current)
        if axis.ordered and all(isinstance(value, int | float) for value in values):
            values = tuple(sorted(values, key=float))
    first = axis.first
    if not first and current is not _MISSING:
        first = (current,)
    return Axis(axis.name, values, first, axis.ordered)


def _value_in(plan: Plan, name: str) -> Any:
    """The value of a setting in the plan (of its first model); _MISSING for a setting of the workload."""
    kind, _, option = name.partition(".")
    if kind == "option":
        return plan.models[0].options.get(option)
    setting = SETTINGS.get(name)
    parts = {"models": plan.models[0], "engine": plan.engine, "source": plan.source}
    if setting is None or setting.part not in parts:
        return _MISSING
    value: Any = parts[setting.part]
    for field in setting.field.split("."):
        value = getattr(value, field)
    return value


def grid_axes(grid: Mapping[str, Sequence[Any]]) -> tuple[Axis, ...]:
    """Axes of exactly these values, all of them predicted. Raises UsageError for more than can be tried."""
    check_cells(grid)
    return tuple(Axis(name, tuple(values), tuple(values)) for name, values in grid.items())


def combinations(case: Case, space: Sequence[Axis], machine: MachineOptions) -> list[Settings]:
    """Every combination of the axes' first values that makes sense; the original plan ({}) is the first."""
    names = [axis.name for axis in space]
    crossed = itertools.product(*(axis.first for axis in space))
    every = [{}, *(changed(case, dict(zip(names, values, strict=True))) for values in crossed)]
    return _sensible(case, _unique(every), machine)


def neighbours(
    case: Case, space: Sequence[Axis], machine: MachineOptions, settings: Mapping[str, Any]
) -> list[Settings]:
    """The settings one step from `settings`: on one axis, or up on one and down on the other of threads and workers."""
    steps = {axis.name: _steps(axis, _value(case, settings, axis.name)) for axis in space}
    reached = _unique(changed(case, {**settings, **change}) for change in _changes(steps))
    return _sensible(case, [other for other in reached if other != dict(settings)], machine)


def _changes(steps: Mapping[str, Sequence[Any]]) -> list[Settings]:
    """The settings that change with one step: one of them, or two that go together."""
    changes: list[Settings] = [{name: value} for name, values in steps.items() for value in values]
    changes.extend(_pairs(steps))
    if {"batch", "batch-policy"} <= steps.keys():  # from one frame to a batch, which alone has policies
        changes += [{**change, "batch-policy": "deadline"} for change in changes if "batch" in change]
    return changes


def _pairs(steps: Mapping[str, Sequence[Any]]) -> Iterator[Settings]:
    """Threads with workers, and what leaves pictures on the GPU from the decoder to the model."""
    for threads in steps.get("threads", ()):
        for workers in steps.get("workers", ()):
            yield {"threads": threads, "workers": workers}
    if "gpu" in steps.get("decode", ()) and "device" in steps.get("prepare-place", ()):
        yield {"decode": "gpu", "prepare-place": "device"}


def _unique(every: Iterable[Settings]) -> list[Settings]:
    """Each of the settings once, in order."""
    unique: list[Settings] = []
    for settings in every:
        if settings not in unique:
            unique.append(settings)
    return unique


def _sensible(case: Case, every: Iterable[Settings], machine: MachineOptions) -> list[Settings]:
    """Those that make sense; the original plan always does."""
    return [settings for settings in every if not settings or sensible(apply(case, settings), machine)]


def _steps(axis: Axis, current: Any) -> list[Any]:
    """The values one step from the current one."""
    if not axis.ordered or current not in axis.values:
        return [value for value in axis.values if value != current]
    at = axis.values.index(current)
    return [axis.values[i] for i in (at - 1, at + 1) if 0 <= i < len(axis.values)]


def _value(case: Case, settings: Mapping[str, Any], name: str) -> Any:
    if name in settings:
        return settings[name]
    return _value_in(case.plan, name)


def changed(case: Case, settings: Mapping[str, Any]) -> Settings:
    """`settings` without those that equal the case's."""
    return {name: value for name, value in settings.items() if apply(case, {name: value}) != case}


def sensible(case: Case, machine: MachineOptions) -> bool:
    """Whether a plan can be better than all simpler ones: no policy without a batch, no crowd of threads.

    Nor does it make sense to give a backend an option that only another one knows.
    """
    models = case.plan.models
    return (
        not contradiction(case.plan)
        and _strategy_fits(case.plan)
        and all(_options_fit(model, machine) for model in models)
        and _policy_fits(models[0].batch)
        and all(_threads_fit(model, case.plan.engine.workers, machine) for model in models)
    )


def _options_fit(model: ModelPlan, machine: MachineOptions) -> bool:
    return all(option in machine.options.get(model.backend, model.options) for option in model.options)


def _strategy_fits(plan: Plan) -> bool:
    """Whether a process of its own can do more for a worker than a thread: a lone worker waits for no other."""
    return plan.engine.strategy != "worker-processes" or plan.engine.workers > 1


def _policy_fits(batch: Batching) -> bool:
    """Whether the batch policy has any effect."""
    if batch.max == 1:
        return batch.policy == "window" and not batch.window_ms
    return batch.policy != "deadline" or not batch.window_ms


def _threads_fit(model: ModelPlan, workers: int, machine: MachineOptions) -> bool:
    """Whether the threads of all workers do not crowd the cores."""
    threads = model.threads or machine.cores
    return on_gpu(model, machine) or threads * workers <= _CROWD * machine.cores
