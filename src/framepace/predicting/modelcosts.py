"""Durations of a model's stages at any batch and pause, and beside others, from measured points (pure)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from framepace.analyze.line import Line
from framepace.facts.primitives import STAGES, ModelCost, Point
from framepace.predicting.machine import Task
from framepace.units import NS_PER_MS, NS_PER_S

_BLOCK = 16  # neighbouring samples drawn together: a disturbance often lasts longer than one of them
_DRAWN = 1 << 12
_STREAMS = {name: number for number, name in enumerate(STAGES)}
_HOST_STAGES = ("prepare", "finish", "after", "enqueue", "tail")  # of Python, which holds its lock for a part of them
_DEVICE_FREE = 1.05  # kernels that take less longer than that do not share the device
_LEAST_CPU = 0.1  # CPU time per ns of inference: what is left after subtraction may be nothing


class Stage:
    """Durations of one stage: the level at any batch and pause, times scatter.

    Levels are medians, between the measured ones on straight lines (of pauses over their logarithm). Scatter is the
    ratio of samples to their median, drawn in blocks of neighbours from a ring of them (Politis and Romano 1992); a
    stage after a pause draws from those measured after pauses.
    """

    def __init__(self, name: str, points: Sequence[Point]) -> None:
        alone = _alone(name, points)
        self._gaps = sorted({point.gap_ms for point in alone})
        self._logs = [float(np.log1p(gap)) for gap in self._gaps]
        self._lines = [_medians(name, _after(gap, alone)) for gap in self._gaps]
        busy = _after(min(self._gaps, default=0.0), alone)
        self._busy_ratios = _ratios(name, busy)
        self._paused_ratios = _ratios(name, [point for point in alone if point not in busy])

    def level(self, batch: int, gap: float = 0.0) -> float:
        """The usual duration (ns) with `gap` ns since the last one."""
        if not self._gaps:
            return 0.0
        log = float(np.log1p(gap / NS_PER_MS))
        return float(np.interp(log, self._logs, [line.at(batch) for line in self._lines]))

    def scatter(self, batch: int, *seed: int, paused: bool = False) -> Iterator[float]:
        """Factors, one per duration, from the nearest measured batch: back to back, or after pauses."""
        ratios = self._busy_ratios
        if paused and self._paused_ratios:
            ratios = self._paused_ratios
        if not ratios:
            return itertools.repeat(1.0)
        return _drawn(ratios[_nearest(ratios, batch)], (*seed, paused))

    def is_pause(self, gap: float) -> bool:
        """Whether `gap` (ns) is nearer to a measured pause than to none."""
        return len(self._gaps) > 1 and 2 * float(np.log1p(gap / NS_PER_MS)) > self._logs[0] + self._logs[1]


def _drawn(ratios: Sequence[float], seed: Sequence[int]) -> Iterator[float]:
    rng = np.random.default_rng(seed)
    ring = [*ratios, *ratios[:_BLOCK]]
    while True:
        for start in rng.integers(0, len(ratios), _DRAWN // _BLOCK).tolist():
            yield from ring[start : start + _BLOCK]


def _alone(name: str, points: Iterable[Point]) -> list[Point]:
    return [point for point in points if point.workers == 1 and point.samples.get(name)]


def _after(gap_ms: float, points: Iterable[Point]) -> list[Point]:
    return [point for point in points if point.gap_ms == gap_ms]


def _medians(name: str, points: Sequence[Point]) -> Line:
    """The median of a stage by batch size."""
    return Line.through((point.batch, float(np.median(point.samples[name]))) for point in points)


def _ratios(name: str, points: Sequence[Point]) -> dict[int, list[float]]:
    """By batch, samples over the median of their point; those of one point stay together."""
    ratios: dict[int, list[float]] = {}
    for point in points:
        values = np.asarray(point.samples[name], dtype=np.float64)
        ratios.setdefault(point.batch, []).extend((values / max(float(np.median(values)), 1.0)).tolist())
    return ratios


class ModelDurations:
    """The measured durations of a model; the same for every worker.

    Attributes:
        stages: those that were measured, by name.
        on_device: it runs on a GPU.
        demand: cores that an inference runs on.
        spin: how long (ns) each thread of its pool spins after an inference.
        background: CPU time per ns of the threads that sample beside a run.
    """

    def __init__(self, cost: ModelCost, cores: int) -> None:
        points = [point for point in cost.points if any(point.samples.values())]  # the others measured nothing
        self.stages = _stages(points)
        self.on_device = "compute" in self.stages
        self.demand = _demand(cost, cores, self.on_device)
        self._cores = cores
        self._pool_spins = cost.model.spinning
        # Points back to back, by batch size: of one worker, and of several beside each other.
        self._alone, self._together = _back_to_back(points)
        self._cpu = self._cpu_by_batch()
        # What others cost, by batch size: through the cores; on a device, through the interpreter and the driver.
        self._crowding = self._crowding_by_batch()
        self._contention = self._contention_by_batch()
        self.spin, self.background = self._pause_costs(points)

    def level(self, name: str, batch: int, gap: float = 0.0) -> float:
        """The usual duration of a stage (ns); 0 where it was not measured."""
        if name not in self.stages:
            return 0.0
        return self.stages[name].level(batch, gap)

    def durations(self, name: str, *seed: int) -> Iterator[float]:
        """Durations of a stage that does not depend on the batch, ns; zeros where it was not measured."""
        level = self.level(name, 1)
        stage = self.stages.get(name, Stage(name, ()))
        return (level * factor for factor in stage.scatter(1, *seed, _STREAMS[name]))

    def task(self, ns: float, batch: int, demand: int = 1, cpu: float = 1.0) -> Task:
        """A task that takes `ns` alone on `demand` cores, and suffers from others as that batch did."""
        if not self._crowding:
            return Task(ns, demand, cpu)
        slowdown, cpu_factor = self._crowding[_nearest(self._crowding, batch)]
        return Task(ns, demand, cpu, slowdown, cpu_factor)

    def contention(self, name: str, batch: int, busy: int) -> float:
        """How many times as long a stage of the host takes while `busy` workers feed the device.

        They wait for the interpreter and for the driver, each of which serves one at a time. Linear between one worker
        and as many as were measured.
        """
        if busy < 2 or not self._contention or name not in _HOST_STAGES:
            return 1.0
        size = _nearest(self._contention, batch)
        others = self._together[size].workers - 1
        return 1 + (self._contention[size].get(name, 1.0) - 1) * min(busy - 1, others) / others

    def filled(self, batch: int) -> float:
        """The part of the device that the kernels of a batch fill.

        Fill times duration is what they ask of the whole device, and proportional to the batch, though neither factor
        is.
        """
        if not self._together:
            return 1.0
        asked = Line.through(
            (size, self.level("compute", size) * _filled(self._alone[size], together))
            for size, together in self._together.items()
        )
        return min(1.0, asked.at(batch) / max(1.0, self.level("compute", batch)))

    def cpu(self, batch: int) -> float:
        """CPU time per ns of inference alone."""
        if not self._cpu:
            return float(self.demand)
        return self._cpu[_nearest(self._cpu, batch)]

    def _crowding_by_batch(self) -> dict[int, tuple[float, float]]:
        if self.on_device or not self._cores:
            return {}
        return {size: self._crowded(self._alone[size], together) for size, together in self._together.items()}

    def _contention_by_batch(self) -> dict[int, dict[str, float]]:
        if not self.on_device:
            return {}
        return {size: _contention(self._alone[size], together) for size, together in self._together.items()}

    def _crowded(self, alone: Point, together: Point) -> tuple[float, float]:
        """How much longer everything takes with several workers, beyond their share of the cores; and its CPU time.

        Of a cycle of h ns on one core and i ns on d, n workers on c cores have max(1, n (d i + h) / (c (i + h))).
        """
        infer = _mean(alone, "infer")
        host = _host(alone)
        wanted = together.workers * (self.demand * infer + host) / (infer + host)
        slower = together.workers * alone.rate / max(together.rate, 1e-9)
        cpu_factor = 1.0
        if together.cpu and alone.cpu:
            cpu_factor = together.cpu / alone.cpu
        return slower / max(1.0, wanted / self._cores), cpu_factor

    def _cpu_by_batch(self) -> dict[int, float]:
        """CPU time per ns of inference: that of the process less the rest, during which the pool may spin."""
        pool = 1
        if self._pool_spins:
            pool = self.demand
        return {
            batch: max(_LEAST_CPU, (point.cpu - pool * _host(point)) / max(_mean(point, "infer"), 1.0))
            for batch, point in self._alone.items()
            if point.cpu is not None
        }

    def _pause_costs(self, points: Iterable[Point]) -> tuple[float, float]:
        """`spin` and `background`: from the CPU time of the longest pause beside the inference before it."""
        paused = max((p for p in points if p.gap_ms and p.cpu), key=lambda p: p.gap_ms, default=None)
        if self.on_device or paused is None or paused.batch not in self._alone:
            return 0.0, 0.0
        extra = max(0.0, (paused.cpu or 0.0) - (self._alone[paused.batch].cpu or 0.0))
        if self._pool_spins and self.demand > 1:
            return extra / (self.demand - 1), 0.0
        return 0.0, extra / (paused.gap_ms * NS_PER_MS)


def _stages(points: Sequence[Point]) -> dict[str, Stage]:
    """All that were measured, by name."""
    names = {name for point in points for name in point.samples}
    return {name: Stage(name, points) for name in sorted(names)}


def _back_to_back(points: Sequence[Point]) -> tuple[dict[int, Point], dict[int, Point]]:
    """Points without a pause by batch size: of one worker, and of several; the latter only where one worker was."""
    alone = {point.batch: point for point in points if point.workers == 1 and not point.gap_ms}
    together = {point.batch: point for point in points if point.workers > 1 and point.batch in alone}
    return alone, together


def _demand(cost: ModelCost, cores: int, on_device: bool) -> int:
    if on_device or not cores:
        return 1
    return min(cost.model.threads or cores, cores)


def _contention(alone: Point, together: Point) -> dict[str, float]:
    """By stage of the host, how many times as long it takes with several workers."""
    means = {name: _mean(alone, name) for name in _HOST_STAGES}
    return {name: max(1.0, _mean(together, name) / mean) for name, mean in means.items() if mean > 0}


def _nearest(sizes: Iterable[int], batch: int) -> int:
    return min(sizes, key=lambda size: abs(math.log(size / batch)))


def _mean(point: Point, name: str) -> float:
    samples = point.samples.get(name)
    if not samples:
        return 0.0
    return float(np.mean(samples))


def _host(point: Point) -> float:
    """What the worker's own thread does for a batch beside the inference, ns."""
    frame = sum(_mean(point, name) for name in ("decode", "prepare", "finish"))
    return _mean(point, "after") + point.batch * frame


def _filled(alone: Point, together: Point) -> float:
    """From how much longer kernels take with several workers: those in flight together want `slower` devices."""
    slower = _mean(together, "compute") / max(1.0, _mean(alone, "compute"))
    flying = max(1.0, _mean(together, "compute") * together.rate / NS_PER_S)
    if slower <= _DEVICE_FREE:
        return 1 / flying
    return slower / flying
