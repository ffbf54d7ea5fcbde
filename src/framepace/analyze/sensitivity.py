"""A causal profile: what latency and late frames gain from each millisecond that a stage is made slower.

Coz (Curtsinger and Berger, SOSP 2015) slows everything else to see what a faster part would bring; a stage of a stream
can be slowed itself, and as long as no queue begins to grow the gain of a millisecond less is its cost turned round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from framepace.analyze.stages import frames
from framepace.analyze.stats import student
from framepace.facts.sensitivity import Sensitivity
from framepace.facts.slowing import SlowStage
from framepace.facts.summary import Estimate
from framepace.facts.trace import Trace
from framepace.units import NS_PER_MS

Latencies = NDArray[np.float64]
Statistic = Callable[[Latencies], float]
_CONFIDENCE = 0.95


def sensitivity(
    stage: SlowStage, added: float, plain: Sequence[Trace], slowed: Sequence[Trace], budget: float | None
) -> Sensitivity:
    """What `added` ns in `stage` changed, from rounds of one run without (`plain`) and one with the delay.

    The runs of a side are pooled. The interval is that of the jackknife that leaves out one round at a time, so that
    it holds whatever makes rounds differ. `budget` (ns) decides which frames are late.
    """
    sides = [[_latencies(trace) for trace in side] for side in (plain, slowed)]
    late = None
    if budget is not None:
        late = _change(sides, lambda values: float(np.mean(values > budget)), added / NS_PER_MS)
    return Sensitivity(
        stage=stage,
        added=added,
        mean=_change(sides, lambda values: float(np.mean(values)), added),
        p99=_change(sides, lambda values: float(np.quantile(values, 0.99)), added),
        late=late,
        rounds=len(plain),
    )


def _latencies(trace: Trace) -> Latencies:
    return np.asarray(frames(trace.measured())["latency"], dtype=np.float64)


def _change(sides: Sequence[Sequence[Latencies]], statistic: Statistic, added: float) -> Estimate:
    """The change of a statistic per unit of `added`, with its interval."""
    count = len(sides[0])
    rounds = range(count)
    whole = _difference(sides, statistic, list(rounds))
    if count < 2:
        return Estimate(value=whole / added)
    without = np.array([_difference(sides, statistic, [r for r in rounds if r != left_out]) for left_out in rounds])
    values = count * whole - (count - 1) * without
    half = student(_CONFIDENCE, count - 1) * float(np.std(values, ddof=1)) / np.sqrt(count)
    return Estimate(value=whole / added, low=(whole - half) / added, high=(whole + half) / added)


def _difference(sides: Sequence[Sequence[Latencies]], statistic: Statistic, rounds: Sequence[int]) -> float:
    plain, slowed = (statistic(np.concatenate([side[r] for r in rounds])) for side in sides)
    return slowed - plain
