"""Prediction: a plan that was not measured, run by the real engine in virtual time on measured primitives."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.backends.base import Session, Tensors
from framepace.devices.cuda import ordinal
from framepace.engine.engine import Engine
from framepace.facts.cascade import refuse_crops
from framepace.facts.plan import EnginePlan, ModelPlan, Plan
from framepace.facts.primitives import Primitives
from framepace.facts.strategy import strategy_of
from framepace.facts.trace import Trace
from framepace.facts.workload import Workload
from framepace.measure.frames import Frames
from framepace.measure.session import measure
from framepace.predicting.fitted import FittedSession, fitted_device
from framepace.predicting.machine import MachineClock, Task
from framepace.predicting.modelcosts import ModelDurations
from framepace.simulate.device import Device
from framepace.video.frame import Frame
from framepace.video.source import MemorySource

NOTE = "predicted from measured primitives; the plan itself was not run"
_PICTURE = np.zeros(1, np.uint8)  # nobody looks at it


def predict(plan: Plan, workload: Workload, primitives: Primitives) -> Trace:
    """The trace that `plan` would give under `workload`; `meta.simulated` is set, and a note says that it is predicted.

    The engine, the feeds, the batcher and the policies are the real ones; whatever takes time takes as much virtual
    time as it was measured to take. Strategies that wait for other threads or processes are predicted as 'workers'.
    Seeded by `workload.seed`.

    Raises UsageError where primitives of one of the plan's models are missing.
    """
    refuse_crops(plan, "nobody can predict how many boxes a picture will have", "measure it: framepace bench, or sweep")
    clock = MachineClock(primitives.cores, _wake_delay(primitives, workload.seed))
    models = _FittedModels(primitives, clock, workload.seed)
    virtual_plan = _virtual_plan(plan)
    with closing(Engine(virtual_plan, clock, load=models.load, outputs=models.finish)) as engine:
        frames = _frames(workload, models.durations[plan.models[0].name], clock)
        trace = measure(virtual_plan, workload, clock=clock, engine=engine, frames=frames)
    return _predicted(trace, plan)


def _predicted(trace: Trace, plan: Plan) -> Trace:
    """The trace with the plan that was asked about, and a note."""
    meta = replace(trace.meta, subject_plan=plan, notes=(NOTE, *trace.meta.notes))
    return Trace(meta, trace.requests, trace.telemetry)


def _virtual_plan(plan: Plan) -> Plan:
    """The plan without what would touch the real machine: processes, hooks, collections, memory locks."""
    engine = replace(plan.engine, finish=None, gc="on", lock_memory=False, heartbeat_ms=None)
    if strategy_of(engine).models_run != "in the worker":  # a virtual clock does not see what others run
        engine = replace(engine, strategy=EnginePlan().strategy)
    models = tuple(replace(model, prepare=replace(model.prepare, hook=None)) for model in plan.models)
    return replace(plan, engine=engine, models=models)


def _wake_delay(primitives: Primitives, seed: int) -> Callable[[], int]:
    """Draws how late (ns) a thread wakes from a sleep, from the delays after the longest pauses."""
    points = [point for cost in primitives.costs for point in cost.points if point.samples.get("wake")]
    longest = max((point.gap_ms for point in points), default=0.0)
    delays = [delay for point in points if point.gap_ms == longest for delay in point.samples["wake"]] or [0]
    draw = random.Random(seed).choice
    return lambda: draw(delays)


class _FittedModels:
    """Models and a finish hook that take the measured time. `durations` are those of the loaded models, by name."""

    def __init__(self, primitives: Primitives, clock: MachineClock, seed: int) -> None:
        self.durations: dict[str, ModelDurations] = {}
        self._primitives = primitives
        self._clock = clock
        self._seed = seed
        self._devices: dict[int, Device] = {}
        self._finishing: dict[str, Iterator[float]] = {}

    def load(self, model: ModelPlan) -> Session:
        """See engine.Load; models of one device share it. Raises UsageError where its primitives are missing."""
        durations = ModelDurations(self._primitives.of(model), self._primitives.cores)
        self.durations[model.name] = durations
        self._finishing[model.name] = durations.durations("finish", self._seed, len(self.durations))
        self._clock.background = max(self._clock.background, durations.background)
        device = None
        if durations.on_device:
            device = self._device(ordinal(model.device))
        return FittedSession(model, durations, self._clock, device, self._seed)

    def finish(self, model: str, outputs: Tensors, frame: Frame) -> None:
        """See pipeline.Finish."""
        self._clock.work(Task(next(self._finishing[model])))

    def _device(self, index: int) -> Device:
        if index not in self._devices:
            self._devices[index] = fitted_device(index)
        return self._devices[index]


def _frames(workload: Workload, durations: ModelDurations, clock: MachineClock) -> Frames:
    """Frames without pictures, which take the measured time to decode where the scope is 'stream'."""
    names = workload.input.sources
    if workload.scope == "model":
        names = names[: workload.input.cameras or 1]
    sources = [
        MemorySource(_decoded(durations, clock, workload.seed + number), loop=False, name=name)
        for number, name in enumerate(names)
    ]
    frames = Frames(names, [[_PICTURE] for _ in names], sources, timed=True)
    frames.sample = None  # setting up takes no time: nothing is prepared before the run
    return frames


def _decoded(durations: ModelDurations, clock: MachineClock, seed: int) -> Iterator[NDArray[np.uint8]]:
    """Pictures, each of which takes as long as decoding was measured to take."""
    for ns in durations.durations("decode", seed):
        clock.work(durations.task(ns, 1))
        yield _PICTURE
