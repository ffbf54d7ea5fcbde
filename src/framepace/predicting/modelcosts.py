"""Costs: what a model's stages take at any batch and pause, and beside others, from measured points (pure)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from framepace.analyze.line import Line
from framepace.facts.primitives import STAGES, ModelCost, Point
from framepace.predicting.machine import Task
from framepace.units import NS_PER_MS, NS_PER_S

_BLOCK = 16  # neighbouring samples drawn together: what disturbs one often disturbs the next
_DRAWN = 1 << 12
_STREAMS = {name: number for number, name in enumerate(STAGES)}
_HOST = ("prepare", "finish", "after", "enqueue", "tail")  # stages of Python, which hold its lock for a part
_FREE = 1.05  # kernels that take less longer than that do not share the device


class Stage:
    """Durations of one stage: the level at any batch and pause, times chance.

    Levels are medians, between the measured ones on straight lines (of pauses over their logarithm). Chance is the
    ratio of samples to their median, drawn in blocks of neighbours from a ring of them (Politis and Romano 1992); what
    comes after a pause has the chance that was seen after pauses.
    """

    def __init__(self, name: str, points: Sequence[Point]) -> None:
        alone = [p for p in points if p.workers == 1 and p.samples.get(name)]
        self._gaps = sorted({p.gap_ms for p in alone})
        self._levels = [_levels(name, [p for p in alone if p.gap_ms == gap]) for gap in self._gaps]
        self._logs = [float(np.log1p(gap)) for gap in self._gaps]
        busy = [p for p in alone if p.gap_ms == self._gaps[0]]
        self._chance = _ratios(name, busy)
        self._paused = _ratios(name, [p for p in alone if p not in busy]) or self._chance

    def level(self, batch: int, gap: float = 0.0) -> float:
        """The usual duration (ns) with `gap` ns since the last one."""
        if not self._gaps:
            return 0.0
        log = float(np.log1p(gap / NS_PER_MS))
        return float(np.interp(log, self._logs, [levels.at(batch) for levels in self._levels]))

    def chance(self, batch: int, *seed: int, paused: bool = False) -> Iterator[float]:
        """Factors, one for each time, of the measured batch that is nearest: back to back, or after pauses."""
        known = self._paused if paused else self._chance
        return _drawn(known[_nearest(known, batch)], (*seed, paused)) if known else itertools.repeat(1.0)

    def is_pause(self, gap: float) -> bool:
        """Whether `gap` (ns) is nearer to a measured pause than to none."""
        return len(self._gaps) > 1 and 2 * float(np.log1p(gap / NS_PER_MS)) > self._logs[0] + self._logs[1]


def _drawn(ratios: Sequence[float], seed: Sequence[int]) -> Iterator[float]:
    rng, ring = np.random.default_rng(seed), [*ratios, *ratios[:_BLOCK]]
    while True:
        for start in rng.integers(0, len(ratios), _DRAWN // _BLOCK).tolist():
            yield from ring[start : start + _BLOCK]


def _levels(name: str, points: Sequence[Point]) -> Line:
    """The median of a stage by batch size."""
    return Line.through((p.batch, float(np.median(p.samples[name]))) for p in points)


def _ratios(name: str, points: Sequence[Point]) -> dict[int, list[float]]:
    """By batch, samples over the median of their point; those of one point stay together."""
    found: dict[int, list[float]] = {}
    for point in points:
        values = np.asarray(point.samples[name], dtype=np.float64)
        found.setdefault(point.batch, []).extend((values / max(float(np.median(values)), 1.0)).tolist())
    return found


class Costs:
    """All that is known of a model's durations; the same for every worker.

    `demand` is the cores an inference runs on; `spin` how long each thread of its pool spins after one (ns);
    `background` CPU time a ns of what watches the run.
    """

    def __init__(self, cost: ModelCost, cores: int) -> None:
        points = tuple(p for p in cost.points if any(p.samples.values()))  # of the others nothing is known
        self.model, self.points, self._cores = cost.model, points, cores
        self.stages = {name: Stage(name, points) for name in sorted({n for p in points for n in p.samples})}
        self.on_device = "compute" in self.stages
        self.demand = 1 if self.on_device or not cores else min(cost.model.threads or cores, cores)
        self._alone = {p.batch: p for p in points if p.workers == 1 and not p.gap_ms}
        self._together = {p.batch: p for p in points if p.workers > 1 and p.batch in self._alone}
        self._crowding: dict[int, tuple[float, float]] = {}
        if cores and not self.on_device:
            self._crowding = {b: self._crowded(self._alone[b], point) for b, point in self._together.items()}
        self._beside = {b: _contended(self._alone[b], p) for b, p in self._together.items()} if self.on_device else {}
        self._pool = self.demand if cost.model.spinning else 1
        self._cpu = {b: _cpu(point, self._pool) for b, point in self._alone.items() if point.cpu is not None}
        self.spin, self.background = (0.0, 0.0) if self.on_device else self._idle()

    def level(self, name: str, batch: int, gap: float = 0.0) -> float:
        """The usual duration of a stage (ns); 0 where it was not measured."""
        return self.stages[name].level(batch, gap) if name in self.stages else 0.0

    def durations(self, name: str, *seed: int) -> Iterator[float]:
        """Durations of a stage that does not depend on the batch, ns; zeros where it was not measured."""
        level, stage = self.level(name, 1), self.stages.get(name, Stage(name, ()))
        return (level * chance for chance in stage.chance(1, *seed, _STREAMS[name]))

    def task(self, ns: float, batch: int, demand: int = 1, cpu: float = 1.0) -> Task:
        """What takes `ns` alone on `demand` cores, with the crowding that was seen with that batch."""
        crowded, dearer = self._crowding[_nearest(self._crowding, batch)] if self._crowding else (1.0, 1.0)
        return Task(ns, demand, cpu, crowded, dearer)

    def beside(self, name: str, batch: int, busy: int) -> float:
        """How much longer a stage of the host takes while `busy` workers feed the device, as was seen with several.

        They wait for the interpreter and for the driver, which each serves one at a time. Linear between one and as
        many as were measured.
        """
        if busy < 2 or not self._beside or name not in _HOST:
            return 1.0
        size = _nearest(self._beside, batch)
        others = self._together[size].workers - 1
        return 1 + (self._beside[size].get(name, 1.0) - 1) * min(busy - 1, others) / others

    def filled(self, batch: int) -> float:
        """The part of the device that the kernels of a batch fill.

        Fill times duration is what they ask of the whole device: that goes with the batch, though neither of both does.
        """
        if not self._together:
            return 1.0
        asked = Line.through(
            (size, self.level("compute", size) * _filled(self._alone[size], together))
            for size, together in self._together.items()
        )
        return min(1.0, asked.at(batch) / max(1.0, self.level("compute", batch)))

    def cpu(self, batch: int) -> float:
        """CPU time a ns of inference alone."""
        return self._cpu[_nearest(self._cpu, batch)] if self._cpu else float(self.demand)

    def _crowded(self, alone: Point, together: Point) -> tuple[float, float]:
        """How much longer all takes with several workers, beyond their share of the cores; and its CPU time.

        Of a cycle of h ns on one core and i ns on d, n workers on c cores have max(1, n (d i + h) / (c (i + h))).
        """
        infer, beside = _mean(alone, "infer"), _host(alone)
        wanted = together.workers * (self.demand * infer + beside) / (infer + beside)
        slower = together.workers * alone.rate / max(together.rate, 1e-9)
        dearer = together.cpu / alone.cpu if together.cpu and alone.cpu else 1.0
        return slower / max(1.0, wanted / self._cores), dearer

    def _idle(self) -> tuple[float, float]:
        """What the longest pause costs beside the inference before it: threads that spin, or what watches the run."""
        paused = max((p for p in self.points if p.gap_ms and p.cpu), key=lambda p: p.gap_ms, default=None)
        if paused is None or paused.batch not in self._alone:
            return 0.0, 0.0
        extra = max(0.0, (paused.cpu or 0.0) - (self._alone[paused.batch].cpu or 0.0))
        if self.model.spinning and self.demand > 1:
            return extra / (self.demand - 1), 0.0
        return 0.0, extra / (paused.gap_ms * NS_PER_MS)


def _contended(alone: Point, together: Point) -> dict[str, float]:
    """By stage of the host, how many times as long it takes with several workers."""
    return {n: max(1.0, _mean(together, n) / own) for n in _HOST if (own := _mean(alone, n)) > 0}


def _nearest(known: Iterable[int], batch: int) -> int:
    return min(known, key=lambda size: abs(math.log(size / batch)))


def _mean(point: Point, name: str) -> float:
    samples = point.samples.get(name)
    return float(np.mean(samples)) if samples else 0.0


def _host(point: Point) -> float:
    """What the worker's own thread does for a batch beside the inference, ns."""
    frame = sum(_mean(point, name) for name in ("decode", "prepare", "finish"))
    return _mean(point, "after") + point.batch * frame


def _cpu(point: Point, pool: int) -> float:
    """CPU time a ns of inference: that of the process less what is beside it, during which its pool may spin."""
    return max(0.1, ((point.cpu or 0.0) - pool * _host(point)) / max(_mean(point, "infer"), 1.0))


def _filled(alone: Point, together: Point) -> float:
    """From how much longer kernels take with several workers: those in flight together want `slower` devices."""
    slower = _mean(together, "compute") / max(1.0, _mean(alone, "compute"))
    flying = max(1.0, _mean(together, "compute") * together.rate / NS_PER_S)
    return slower / flying if slower > _FREE else 1 / flying
