"""Primitives, measured: each model alone at a few batch sizes, after pauses, and beside itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.analyze.summary import summarize
from framepace.backends.base import get_backend
from framepace.clock.system import Clock
from framepace.engine.corekeeper import usable_cores
from framepace.facts.plan import Batching, ModelPlan, Plan
from framepace.facts.primitives import ModelCost, Point, Primitives, comparable
from framepace.facts.settings import Case
from framepace.facts.trace import Column, Trace
from framepace.facts.workload import Closed, Delay, Stop, Warmup
from framepace.lab.enginepool import Engines
from framepace.measure.frames import Frames, open_frames
from framepace.measure.session import clock_for, measure
from framepace.predicting.machine import crowd
from framepace.progress import Tell
from framepace.recording.machine import probe
from framepace.units import NS_PER_S

GAPS_MS = (1.0, 30.0)
_QUIET, _PATIENCE = 0.05, 2
_SECONDS = 1.0
_LEAST, _LONGEST_S = 4, 16.0  # inferences of a run, and how long it may become to have them
_BY_FRAME = {"prepare": ("batched", "started"), "finish": ("finished", "delivered")}
_DEVICE = ("h2d", "compute", "d2h")


def measure_primitives(
    case: Case,
    models: Sequence[ModelPlan] = (),
    *,
    batches: Sequence[int] = (1, 8),
    workers: int = 4,
    seconds: float = _SECONDS,
    clock: Clock | None = None,
    tell: Tell | None = None,
) -> Primitives:
    """Measure what `case` is made of, so that other plans for the same frames can be predicted.

    For each model: the inference and all that is around it at each batch size alone, back to back; after pauses; and
    with several workers at once.

    Args:
        models: ways to run models (backend, precision, threads, ...); those of the case's plan by default.
        workers: workers at once on a GPU; on a CPU as many as fill its cores.
        seconds: length of a run after its warm-up; there are four for each batch size of a model.

    Raises FramepaceError where a model cannot be loaded as asked, KeyboardInterrupt after Ctrl-C.
    """
    chosen: list[ModelPlan] = []
    for model in models or case.plan.models:
        if comparable(model) not in map(comparable, chosen):
            chosen.append(model)
    clock = clock or clock_for(replace(case.plan, models=tuple(chosen)))
    cores = 0 if all(get_backend(m.backend).simulated for m in chosen) else len(usable_cores())
    costs, loading = [], 0
    with ExitStack() as stack:
        # Each batch size alone and beside itself, so that what comes back to it after others is not loaded again.
        engines = stack.enter_context(Engines(clock, kept=2 * len(set(batches))))
        frames = open_frames(case.workload, clock)
        stack.callback(frames.close)
        for number, model in enumerate(chosen):
            if tell is not None:
                tell(f"primitives of {model.name}", number / len(chosen))
            bench = _Bench(case, model, engines, frames, cores, seconds)
            costs.append(ModelCost(model=comparable(model), points=tuple(bench.points(batches, workers))))
            loading += bench.loading
    return Primitives(
        cores=cores,
        scope=case.workload.scope,
        costs=tuple(costs),
        machine=probe().fingerprint,
        loading=loading / NS_PER_S,
    )


class _Bench:
    """The runs of one model; `loading` is the time (ns) that went into loading it."""

    def __init__(
        self, case: Case, model: ModelPlan, engines: Engines, frames: Frames, cores: int, seconds: float
    ) -> None:
        self._case, self._model, self._engines, self._frames = case, model, engines, frames
        self._cores, self._seconds, self.loading = cores, seconds, 0

    def points(self, batches: Sequence[int], workers: int) -> Iterator[Point]:
        """Every point."""
        together = self._together(workers)
        # Back to back first: a pause may leave the clocks low for seconds.
        situations = [(1, 0.0), (together, 0.0), *((1, gap) for gap in GAPS_MS)]
        for count, gap in situations:
            for batch in sorted(set(batches)):
                yield self._point(batch, count, gap)

    def _together(self, workers: int) -> int:
        if self._cores and (self._model.device or "cpu") == "cpu":
            return crowd(self._cores, min(self._model.threads or self._cores, self._cores))
        return max(2, workers)

    def _point(self, batch: int, workers: int, gap: float) -> Point:
        """The point, measured again while neighbours disturb it, a few times; the least disturbed counts.

        Runs are longer where the model is so slow that there would be no inferences to speak of.
        """
        found: list[Point] = []
        seconds = self._seconds
        while not found or (min(map(_disturbed, found)) > _QUIET and len(found) < _PATIENCE):
            point = _told(self._run(batch, workers, gap, seconds), batch, workers, gap)
            if len(point.samples.get("after", ())) >= _LEAST or seconds >= _LONGEST_S:
                found.append(point)
            else:
                seconds = min(_LONGEST_S, 4 * seconds)
        return min(found, key=_disturbed)

    def _run(self, batch: int, workers: int, gap: float, seconds: float) -> Trace:
        case = self._case
        model = replace(self._model, batch=Batching(max=batch, sizes=(batch,)), slots=1)
        # Sleeping, so that a pause is one, and waking up late is seen.
        threads = replace(case.plan.engine, workers=workers, strategy="workers", decode="inline", wait="sleep")
        plan = Plan(models=(model,), engine=threads, source=case.plan.source)
        load = Delay(delay_ms=gap) if gap else Closed(concurrency=workers)
        workload = replace(
            case.workload,
            load=load,
            stop=Stop(seconds=seconds),
            warmup=Warmup(seconds_max=min(1.0, seconds)),
        )
        began = self._engines.clock.now()
        loaded = self._engines.get(plan)
        self.loading += self._engines.clock.now() - began
        trace = measure(plan, workload, clock=loaded.clock, engine=loaded, frames=self._frames)
        if trace.meta.stopped == "interrupted":
            raise KeyboardInterrupt
        return trace


def _disturbed(point: Point) -> float:
    return point.neighbours or 0.0


def _told(trace: Trace, batch: int, workers: int, gap: float) -> Point:
    found = summarize(trace)
    return Point(
        batch=batch,
        workers=workers,
        gap_ms=gap,
        rate=found.throughput / batch,
        cpu=None if found.process_cpu is None else found.process_cpu * batch,
        neighbours=found.neighbours_cpu,
        samples=samples(trace),
    )


def samples(trace: Trace) -> dict[str, tuple[int, ...]]:
    """The stages (facts.primitives.STAGES) of each inference of a trace of one model, in order; ns."""
    r = trace.requests
    order = np.lexsort((r["frame"], r["batched"], r["worker"]))
    done = Trace(trace.meta, {name: column[order] for name, column in r.items()}, trace.telemetry).measured()
    r = done.requests
    if not len(done):
        return {}
    first = np.flatnonzero(np.diff(r["batch_id"], prepend=-1))
    last = np.append(first[1:], len(r["due"])) - 1
    size = r["batch_size"][first]
    found = {name: (r[end] - r[begin])[first] // size for name, (begin, end) in _BY_FRAME.items()}
    if trace.meta.workload.scope == "stream":
        found["decode"] = (r["decoded"] - r["captured"])[first]
    found |= _device(r, first) if (r["compute"][first] >= 0).all() else {"infer": (r["finished"] - r["started"])[first]}
    found["after"] = _around(r, first, last)
    waited = r["available"][first] < r["due"][first]
    if waited.any():
        found["wake"] = np.maximum(0, (r["captured"] - r["due"])[first][waited])
    return {name: tuple(values.tolist()) for name, values in found.items()}


def _around(r: Mapping[str, Column], first: NDArray[np.intp], last: NDArray[np.intp]) -> Column:
    """What the worker does between two batches beside waiting and decoding."""
    available, delivered, worker = (r[name][first] for name in ("available", "delivered", "worker"))
    before = r["batched"][first] - r["queued"][last]
    around = before[1:] + np.maximum(0, available[1:] - delivered[:-1])
    return np.asarray(around[worker[1:] == worker[:-1]])


def _device(r: Mapping[str, Column], first: NDArray[np.intp]) -> dict[str, Column]:
    found = {name: r[name][first] for name in _DEVICE}
    ended = np.maximum(r["compute_at"] + r["compute"], r["d2h_at"] + r["d2h"])[first]
    started, finished = r["started"][first], r["finished"][first]
    return found | {
        "enqueue": (r["enqueued"] - r["started"])[first],
        "lag": np.maximum(0, r["compute_at"][first] - started - found["h2d"]),
        "tail": np.maximum(0, finished - np.maximum(ended, r["enqueued"][first])),
    }
