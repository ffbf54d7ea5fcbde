"""Prediction: a plan that was not measured, run by the real engine in virtual time on measured primitives."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from framepace.backends.base import Session
from framepace.clock.system import Clock
from framepace.devices.cuda import ordinal
from framepace.engine.engine import Engine
from framepace.engine.pipeline import Sink, Step, dropped_row
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.primitives import Primitives
from framepace.facts.trace import Trace
from framepace.facts.workload import Scope, Workload
from framepace.feeds.batchrules import BatchRule
from framepace.feeds.feed import Arrivals, Feed, PictureSource, StreamFeed
from framepace.feeds.pacer import Pacer
from framepace.feeds.runstate import RunState
from framepace.measure.frames import LEAD_NS, Frames, batch_rule
from framepace.measure.load import arrivals
from framepace.measure.session import measure
from framepace.predicting.fitted import FittedSession, FittedWorker, fitted_device
from framepace.predicting.machine import MachineClock, Task
from framepace.predicting.modelcosts import Costs
from framepace.simulate.device import Device
from framepace.video.frame import Frame

NOTE = "predicted from measured primitives; the plan itself was not run"
_PICTURE = np.zeros(1, np.uint8)


def predict(plan: Plan, workload: Workload, primitives: Primitives) -> Trace:
    """The trace that `plan` would give under `workload`; `meta.simulated` is set, and a note says where it is from.

    The engine, the feeds, the batcher and the policies are those that run for real; what takes time takes virtual
    time, as long as it was measured to take. Seeded by `workload.seed`.

    Raises UsageError where primitives of one of the plan's models are missing.
    """
    clock = MachineClock(primitives.cores, _wake(primitives, workload.seed))
    fitted = _virtual(plan)
    engine = PredictedEngine(fitted, clock, primitives, workload.seed)
    frames = _PredictedFrames(workload, engine.costs[0], clock)
    try:
        trace = measure(fitted, workload, clock=clock, engine=engine, frames=frames)
    finally:
        engine.close()
    meta = replace(trace.meta, subject_plan=plan, notes=(NOTE, *trace.meta.notes), simulated=True)
    return Trace(meta, trace.requests, trace.telemetry)


def _virtual(plan: Plan) -> Plan:
    """The plan without what would touch the real machine: processes, hooks, collections, memory locks."""
    engine = replace(plan.engine, strategy="workers", finish=None, gc="on", lock_memory=False, heartbeat_ms=None)
    models = tuple(replace(m, prepare=replace(m.prepare, hook=None)) for m in plan.models)
    return replace(plan, engine=engine, models=models)


def _wake(primitives: Primitives, seed: int) -> Callable[[], int]:
    """How late threads wake from a sleep: as late as they did after the longest pauses."""
    points = [point for cost in primitives.costs for point in cost.points if point.samples.get("wake")]
    longest = max((point.gap_ms for point in points), default=0.0)
    seen = [late for point in points if point.gap_ms == longest for late in point.samples["wake"]] or [0]
    draw = random.Random(seed).choice
    return lambda: draw(seen)


class PredictedEngine(Engine):
    """The engine with models that take what they were measured to take."""

    def __init__(self, plan: Plan, clock: MachineClock, primitives: Primitives, seed: int) -> None:
        self._primitives, self._machine, self._seed = primitives, clock, seed
        self._devices: dict[int, Device] = {}
        self.costs: list[Costs] = []
        self._finishing: dict[str, Iterator[float]] = {}
        super().__init__(plan, clock)
        self._finish = self._pass_finish

    def _pass_finish(self, model: str, outputs: Any, number: int) -> None:
        """Stands for the finish hook."""
        self._machine.work(Task(next(self._finishing[model])))

    def steps(self, scope: Scope, picture: Any, worker: int = 0) -> list[Step]:
        """See Engine: preparation takes its time and does nothing."""
        return [_timed(step) for step in super().steps(scope, None, worker)]

    def _load(self, model: ModelPlan) -> Session:
        costs = Costs(self._primitives.of(model), self._primitives.cores)
        self.costs.append(costs)
        self._finishing[model.name] = costs.durations("finish", self._seed, len(self.costs))
        self._machine.background = max(self._machine.background, costs.background)
        index = ordinal(model.device)
        device = self._devices.setdefault(index, fitted_device(index)) if costs.on_device else None
        self.simulated = True
        return FittedSession(model, costs, self._machine, device, self._seed)


def _timed(step: Step) -> Step:
    assert isinstance(step.worker, FittedWorker)
    return step if step.prepare is None else dataclasses.replace(step, prepare=step.worker.prepare)


class _Decoder:
    """A source whose pictures take as long as they were measured to take."""

    live = False
    notes: tuple[str, ...] = ()

    def __init__(self, name: str, costs: Costs, clock: MachineClock, seed: int) -> None:
        self.name = name
        taken = costs.durations("decode", seed)
        self._pass: Callable[[], None] = lambda: clock.work(costs.task(next(taken), 1))

    def read(self) -> Any:
        """A picture."""
        self._pass()
        return _PICTURE

    def close(self) -> None:
        """Nothing to close."""


class _PredictedFrames(Frames):
    """Frames without pictures, decoded as the plan says: by the worker, or by a thread a source."""

    def __init__(self, workload: Workload, costs: Costs, clock: MachineClock) -> None:
        names = workload.input.sources
        chosen = names[: workload.input.cameras or 1] if workload.scope == "model" else names
        decoders = [_Decoder(name, costs, clock, workload.seed + i) for i, name in enumerate(chosen)]
        super().__init__(chosen, [[_PICTURE] for _ in chosen], decoders)
        self._machine, self.sample = clock, None

    def feed(self, plan: Plan, workload: Workload, clock: Clock, state: RunState, sink: Sink, **given: Any) -> Feed:
        """See Frames."""
        if workload.scope != "stream" or plan.engine.decode == "inline":
            return super().feed(plan, workload, clock, state, sink, **given)
        rule, start = batch_rule(plan), clock.now() + LEAD_NS
        parts = arrivals(workload.load, start, len(self._sources), rule.size, workload.seed, None, plan.engine.workers)

        def drop(frame: Frame, cause: int) -> None:
            for model in range(len(plan.models)):
                sink(dropped_row(frame, model, cause, clock.now(), state.warming))

        pacer = Pacer(plan.engine, clock, state)
        return _VirtualStreamFeed(self._sources, parts, rule, plan, pacer, drop, self._machine)


class _VirtualStreamFeed(StreamFeed):
    """The feed of sources with threads of their own, on a virtual clock: they are its threads too."""

    def __init__(
        self,
        sources: Sequence[PictureSource],
        parts: Sequence[Arrivals],
        rule: BatchRule,
        plan: Plan,
        pacer: Pacer,
        on_drop: Callable[[Frame, int], None],
        clock: MachineClock,
    ) -> None:
        self._places = clock.reserve(len(sources))
        super().__init__(sources, parts, rule, plan.source, pacer, on_drop)

    def _serve(self, source: int, reader: PictureSource, parts: Arrivals) -> None:
        with self._places[source]:
            super()._serve(source, reader, parts)
