"""Costs without events that are rare, which a few dozen inferences would show as frequent. Pure.

A run of thirty inferences that meets a hiccup of the machine says that one in thirty is late, and a prediction that
draws from it misses any p99, at any load. How frequent such events are is seen over all runs of a model together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from msgspec.structs import replace

from framepace.facts.primitives import ModelCost, Point, Primitives
from framepace.units import NS_PER_MS

_RARE = 0.01  # share of the inferences: what is rarer leaves their p99 as it is
_LATE = 0.2  # of the budget: a stage that takes so much longer than usual is an event


def without_rare_events(primitives: Primitives, budget_ms: float) -> Primitives:
    """Each model's costs, events in which became the longest usual duration, where at most a hundredth has one.

    A single one, among however few, does not show that its kind is frequent.
    """
    late = _LATE * budget_ms * NS_PER_MS
    return replace(primitives, costs=tuple(_usual(cost, late) for cost in primitives.costs))


def _usual(cost: ModelCost, late: float) -> ModelCost:
    inferences = sum(max(map(len, point.samples.values()), default=0) for point in cost.points)
    if sum(_events(cost, late)) > max(1.0, _RARE * inferences):
        return cost
    return replace(cost, points=tuple(_without_events(point, late) for point in cost.points))


def _events(cost: ModelCost, late: float) -> Iterator[int]:
    """How many there are of each stage in each situation."""
    for point in cost.points:
        for durations in point.samples.values():
            yield sum(ns > _most(durations, late) for ns in durations)


def _without_events(point: Point, late: float) -> Point:
    samples = {name: _capped(durations, _most(durations, late)) for name, durations in point.samples.items()}
    return replace(point, samples=samples)


def _capped(durations: Sequence[int], most: float) -> tuple[int, ...]:
    usual = max((ns for ns in durations if ns <= most), default=0)
    return tuple(min(ns, usual) for ns in durations)


def _most(durations: Sequence[int], late: float) -> float:
    """What a stage takes at most, unless something happens (ns)."""
    return float(np.median(durations)) + late if durations else 0.0
