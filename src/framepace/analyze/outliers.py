"""Outliers: requests far above the level around them, the stage that grew, and what happened at the same time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from framepace.analyze.coincidence import Floats, coincidences
from framepace.analyze.stages import shown_stages, stages
from framepace.facts.summary import Outlier, Tier
from framepace.facts.trace import Trace

_DEVIATIONS = 5.0  # robust standard deviations above the tier
_RELATIVE = 1.3  # and 30 % above it: on a quiet machine five deviations are nothing
_REPORTED = 20


def find_outliers(trace: Trace, tiers: Sequence[Tier]) -> tuple[tuple[Outlier, ...], float]:
    """The worst 20 outliers, worst first, each with the stage that grew and what coincides, and their share.

    An outlier lies over 1.3 times its tier and over its tier by 5 robust standard deviations (1.4826 times the median
    absolute deviation). For what coincides see `coincidences`: it is a hint, no proof.

    Args:
        trace: requests in the order of the series that `tiers` describe.
    """
    latency = trace.latency.astype(np.float64)
    level = _levels(latency, tiers)
    far = np.flatnonzero(latency > _limits(latency, level, tiers))
    if not len(far):
        return (), 0.0
    excess = latency - level
    worst = far[np.argsort(-excess[far], kind="stable")][:_REPORTED]
    return tuple(_outliers(trace, tiers, worst, excess)), len(far) / len(latency)


def _outliers(trace: Trace, tiers: Sequence[Tier], worst: NDArray[np.intp], excess: Floats) -> Iterator[Outlier]:
    grown = _grown(trace, tiers, worst)
    latency = trace.latency
    for row, (stage, more), cause in zip(worst, grown, coincidences(trace, worst, excess), strict=True):
        yield Outlier(
            request=int(row),
            latency=float(latency[row]),
            excess=float(excess[row]),
            coincides=cause,
            stage=stage,
            more=more,
        )


def _grown(trace: Trace, tiers: Sequence[Tier], worst: NDArray[np.intp]) -> list[tuple[str, float]]:
    """The stage of each request that took most more than its median in the same tier, and how much more, ns."""
    columns = shown_stages(trace, stages(trace))
    names = list(columns)
    values = np.stack([columns[name] for name in names])
    more = values[:, worst].T - _medians(values, tiers)[np.searchsorted([tier.last for tier in tiers], worst)]
    return [(names[int(np.argmax(row))], float(row.max())) for row in more]


def _medians(values: NDArray[np.int64], tiers: Sequence[Tier]) -> Floats:
    """The median of each stage (rows of `values`) in each tier, shape (tiers, stages)."""
    return np.stack([np.median(values[:, tier.first : tier.last + 1], axis=1) for tier in tiers])


def _levels(latency: Floats, tiers: Sequence[Tier]) -> Floats:
    """The tier's level at each request, ns."""
    level = np.empty_like(latency)
    for tier in tiers:
        count = tier.last + 1 - tier.first
        level[tier.first : tier.last + 1] = np.linspace(tier.level, tier.level_end, count)
    return level


def _limits(latency: Floats, level: Floats, tiers: Sequence[Tier]) -> Floats:
    """The latency above which each request is an outlier, ns."""
    limit = np.empty_like(latency)
    for tier in tiers:
        rows = slice(tier.first, tier.last + 1)
        deviation = 1.4826 * float(np.median(np.abs(latency[rows] - level[rows])))
        limit[rows] = np.maximum(level[rows] * _RELATIVE, level[rows] + _DEVIATIONS * deviation)
    return limit
