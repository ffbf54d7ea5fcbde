"""Primitives, measured: each model alone at a few batch sizes, after pauses, and beside itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np
from msgspec.structs import replace

from framepace.analyze.summary import summarize
from framepace.backends.base import get_backend
from framepace.clock.system import Clock
from framepace.engine.corekeeper import usable_cores
from framepace.facts.plan import Batching, ModelPlan, Plan
from framepace.facts.primitives import ModelCost, Point, Primitives, comparable
from framepace.facts.settings import Case
from framepace.facts.trace import Column, Trace
from framepace.facts.workload import Closed, Delay, Load, Warmup
from framepace.lab.lab import Lab
from framepace.measure.session import clock_for
from framepace.predicting.machine import tasks_to_fill
from framepace.progress import Tell, silent
from framepace.recording.machine import probe

GAPS_MS = (1.0, 30.0)
_RUN_S = 1.0
_LONGEST_RUN_S = 16.0
_LEAST_INFERENCES = 4  # in a run; a slow model gets longer runs until it has them
_QUIET = 0.05  # the share of the cores that neighbours may take before a run is repeated
_ATTEMPTS = 2
_DEVICE_PARTS = ("h2d", "compute", "d2h")


def measure_primitives(
    case: Case,
    models: Sequence[ModelPlan] = (),
    *,
    batches: Sequence[int] = (1, 8),
    workers: int = 4,
    seconds: float = _RUN_S,
    clock: Clock | None = None,
    tell: Tell | None = None,
) -> Primitives:
    """Measure the primitives of `case`, so that other plans for the same frames can be predicted.

    For each model: the inference and all that is around it at each batch size alone, back to back; after pauses; and
    with several workers at once.

    Args:
        models: ways to run models (backend, precision, threads, ...); those of the case's plan by default.
        workers: workers at once on a GPU; on a CPU as many as fill its cores.
        seconds: length of a run after its warm-up; there are four for each batch size of a model.

    Raises FramepaceError where a model cannot be loaded as asked, KeyboardInterrupt after Ctrl-C.
    """
    ways = _distinct(models or case.plan.models)
    clock = clock or clock_for(replace(case.plan, models=ways))
    # Each batch size alone and beside itself, so that what comes back to it after others is not loaded again.
    with Lab(clock=clock, engines=2 * len(set(batches))) as lab:
        return _measured(lab, case, ways, batches, workers, seconds, tell or silent)


def _measured(
    lab: Lab,
    case: Case,
    ways: Sequence[ModelPlan],
    batches: Sequence[int],
    workers: int,
    seconds: float,
    tell: Tell,
) -> Primitives:
    """The primitives of these ways, one after the other."""
    cores = _cores(ways)
    costs = []
    for number, model in enumerate(ways):
        tell(f"primitives of {model.name}", number / len(ways))
        costs.append(_ModelRuns(lab, case, model, cores, seconds).cost(batches, workers))
    return Primitives(
        cores=cores,
        scope=case.workload.scope,
        costs=tuple(costs),
        machine=probe().fingerprint,
        loading=lab.loading,
    )


def _distinct(models: Sequence[ModelPlan]) -> tuple[ModelPlan, ...]:
    """The models without those that are run the same way as one before."""
    distinct: dict[bytes, ModelPlan] = {}
    for model in models:
        distinct.setdefault(msgspec.json.encode(comparable(model)), model)
    return tuple(distinct.values())


def _cores(models: Sequence[ModelPlan]) -> int:
    """Cores that the models share; 0 where every device is simulated."""
    if all(get_backend(model.backend).simulated for model in models):
        return 0
    return len(usable_cores())


class _ModelRuns:
    """The runs of one model."""

    def __init__(self, lab: Lab, case: Case, model: ModelPlan, cores: int, seconds: float) -> None:
        self._lab = lab
        self._case = case
        self._model = model
        self._cores = cores
        self._seconds = seconds

    def cost(self, batches: Sequence[int], workers: int) -> ModelCost:
        """What the model costs."""
        return ModelCost(model=comparable(self._model), points=tuple(self._points(batches, workers)))

    def _points(self, batches: Sequence[int], workers: int) -> Iterator[Point]:
        """Every point."""
        # Back to back first: a pause may leave the clocks low for seconds.
        situations = [(1, 0.0), (self._filling(workers), 0.0), *((1, gap) for gap in GAPS_MS)]
        for count, gap in situations:
            for batch in sorted(set(batches)):
                yield self._point(batch, count, gap)

    def _filling(self, workers: int) -> int:
        """Workers that fill the cores; on a GPU `workers`."""
        if self._cores and (self._model.device or "cpu") == "cpu":
            return tasks_to_fill(self._cores, min(self._model.threads or self._cores, self._cores))
        return max(2, workers)

    def _point(self, batch: int, workers: int, gap: float) -> Point:
        """The point, measured again while neighbours disturb it, a few times; the least disturbed counts.

        Runs are longer where the model is so slow that there would hardly be any inferences.
        """
        points: list[Point] = []
        seconds = self._seconds
        while not points or (min(map(_disturbed, points)) > _QUIET and len(points) < _ATTEMPTS):
            trace = self._run(batch, workers, gap, seconds)
            point = _point(trace, batch, workers, gap)
            if len(point.samples.get("after", ())) >= _LEAST_INFERENCES or seconds >= _LONGEST_RUN_S:
                points.append(point)
            else:
                seconds = min(_LONGEST_RUN_S, 4 * seconds)
        return min(points, key=_disturbed)

    def _run(self, batch: int, workers: int, gap: float, seconds: float) -> Trace:
        load: Load = Delay(delay_ms=gap) if gap else Closed(concurrency=workers)
        case = Case(plan=self._alone(batch, workers), workload=replace(self._case.workload, load=load))
        return self._lab.run(case, seconds, warmup=Warmup(seconds_max=min(1.0, seconds)))

    def _alone(self, batch: int, workers: int) -> Plan:
        """The plan of the model alone."""
        plan = self._case.plan
        model = replace(self._model, batch=Batching(max=batch, sizes=(batch,)), slots=1)
        # Sleeping, so that a pause is one, and waking up late is seen.
        engine = replace(plan.engine, workers=workers, strategy="workers", decode="inline", wait="sleep")
        return Plan(models=(model,), engine=engine, source=plan.source)


def _disturbed(point: Point) -> float:
    return point.neighbours or 0.0


def _point(trace: Trace, batch: int, workers: int, gap: float) -> Point:
    summary = summarize(trace)
    cpu = summary.process_cpu
    return Point(
        batch=batch,
        workers=workers,
        gap_ms=gap,
        rate=summary.throughput / batch,
        cpu=None if cpu is None else cpu * batch,
        neighbours=summary.neighbours_cpu,
        samples=samples(trace),
    )


def samples(trace: Trace) -> dict[str, tuple[int, ...]]:
    """The stages (facts.primitives.STAGES) of each inference of a trace of one model, in order; ns."""
    rows = _in_order(trace)
    count = len(rows["due"])
    if not count:
        return {}
    first = np.flatnonzero(np.diff(rows["batch_id"], prepend=-1))
    last = np.append(first[1:], count) - 1
    # Everything is read off the first frame of each batch, except for the time after it.
    batches = {name: column[first] for name, column in rows.items()}
    stages = _stages(batches, rows["queued"][last], decoded=trace.meta.workload.scope == "stream")
    return {name: tuple(values.tolist()) for name, values in stages.items()}


def _stages(batches: Mapping[str, Column], last_queued: Column, decoded: bool) -> dict[str, Column]:
    """The stages of each batch; 'wake' only of those that a worker waited for."""
    stages = _per_frame(batches) | _inference(batches)
    if decoded:
        stages["decode"] = batches["decoded"] - batches["captured"]
    stages["after"] = _around(batches, last_queued)
    wake = _wake(batches)
    if len(wake):
        stages["wake"] = wake
    return stages


def _in_order(trace: Trace) -> Mapping[str, Column]:
    """The measured rows, worker by worker and batch by batch."""
    rows = trace.requests
    order = np.lexsort((rows["frame"], rows["batched"], rows["worker"]))
    sorted_trace = Trace(trace.meta, {name: column[order] for name, column in rows.items()}, trace.telemetry)
    return sorted_trace.measured().requests


def _per_frame(batches: Mapping[str, Column]) -> dict[str, Column]:
    """Stages whose time grows with the batch, per frame of it."""
    size = batches["batch_size"]
    return {
        "prepare": (batches["started"] - batches["batched"]) // size,
        "finish": (batches["delivered"] - batches["finished"]) // size,
    }


def _wake(batches: Mapping[str, Column]) -> Column:
    """How late the frames were taken that a worker waited for."""
    waited = batches["available"] < batches["due"]
    late: Column = np.maximum(0, (batches["captured"] - batches["due"])[waited])
    return late


def _device_end(batches: Mapping[str, Column]) -> Column:
    """When the device has computed and copied back."""
    computed = batches["compute_at"] + batches["compute"]
    ends: Column = np.maximum(computed, batches["d2h_at"] + batches["d2h"])
    return ends


def _inference(batches: Mapping[str, Column]) -> dict[str, Column]:
    """The whole call; or, where the device reports its own times, those and the call around them.

    'lag' is the time until the device starts, 'tail' that after it has ended.
    """
    started = batches["started"]
    if (batches["compute"] < 0).any():
        return {"infer": batches["finished"] - started}
    ended = _device_end(batches)
    return {
        **{name: batches[name] for name in _DEVICE_PARTS},
        "enqueue": batches["enqueued"] - started,
        "lag": np.maximum(0, batches["compute_at"] - started - batches["h2d"]),
        "tail": np.maximum(0, batches["finished"] - np.maximum(ended, batches["enqueued"])),
    }


def _around(batches: Mapping[str, Column], queued: Column) -> Column:
    """Time of the worker between two batches beside waiting and decoding; `queued` is when a batch had all frames."""
    before = batches["batched"] - queued
    between = batches["available"][1:] - batches["delivered"][:-1]
    around = before[1:] + np.maximum(0, between)
    worker = batches["worker"]
    return np.asarray(around[worker[1:] == worker[:-1]])
