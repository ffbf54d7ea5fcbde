"""The highest rate of a plan, from the measured times of its models: a bound that needs no prediction."""

from __future__ import annotations

from collections.abc import Sequence

from framepace.analyze.line import Line
from framepace.facts.plan import Plan
from framepace.facts.primitives import Point, Primitives

_MARGIN = 1.15  # the primitives are measured too
_UNMEASURED = 1e-9  # frames/s of a model whose runs delivered nothing


def bound(plan: Plan, primitives: Primitives) -> float:
    """Frames per second at most. Raises UsageError where primitives of a model are missing.

    A frame takes at least the time of the best batch that the plan allows, run by as many workers as were measured
    together, or by one as often as there are workers. The models of a frame take turns, so their times add up.
    """
    rates = [
        _rate(primitives.of(model).points, model.batch.max, plan.engine.workers, model.slots) for model in plan.models
    ]
    return _MARGIN / sum(1 / rate for rate in rates)


def _rate(points: Sequence[Point], batch: int, workers: int, slots: int) -> float:
    """Frames per second of one model."""
    alone = [p for p in points if p.workers == 1 and not p.gap_ms]
    together = [p for p in points if p.workers > 1 and not p.gap_ms]
    single = _best_rate(alone, batch)
    if not together:
        return single
    at_once = workers
    if any("compute" in p.samples for p in points):  # on a device, where a worker has several requests in flight
        at_once *= slots
    return max(single, min(at_once * single, _best_rate(together, batch)))


def _best_rate(points: Sequence[Point], batch: int) -> float:
    """The highest rate in frames per second at any batch size up to `batch`."""
    times = [(p.batch, 1 / p.rate) for p in points if p.rate > 0]
    if not times:
        return _UNMEASURED
    line = Line.through(times)
    return max(size / line.at(size) for size in range(1, batch + 1))
