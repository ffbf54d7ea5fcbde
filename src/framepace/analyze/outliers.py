"""Outliers: requests far above the level around them, and what happened at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from framepace.analyze.stages import stages, take
from framepace.facts.summary import Coincidence, Outlier, Tier
from framepace.facts.trace import Trace

_DEVIATIONS = 5.0  # robust standard deviations above the tier
_RELATIVE = 1.3  # and 30 % above it: on a quiet machine five deviations are nothing
_REPORTED = 20
_BUSY = 0.25  # share of the machine that others take beyond their usual share
_COINCIDENCES: tuple[Coincidence, ...] = get_args(Coincidence)  # the first that fits is named
Floats = NDArray[np.float64]


def find_outliers(trace: Trace, tiers: Sequence[Tier]) -> tuple[tuple[Outlier, ...], float]:
    """The worst 20 outliers, worst first, each with what coincides, and the share of requests that are outliers.

    An outlier lies over 1.3 times its tier and over its tier by 5 robust standard deviations (1.4826 times the median
    absolute deviation). What coincides is 'gc', 'page faults', 'decode' (a picture that took long), 'backlog' (behind
    a slow one), 'preempted', 'neighbours' (others' CPU time), 'pacer' (late wake-up) or '', the first that fits. It is
    a hint, no proof.

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
    causes = coincidences(trace, worst, excess)
    return _outliers(worst, latency, excess, causes), len(far) / len(latency)


def _outliers(
    worst: NDArray[np.intp], latency: Floats, excess: Floats, causes: Sequence[Coincidence | Literal[""]]
) -> tuple[Outlier, ...]:
    return tuple(
        Outlier(request=int(i), latency=float(latency[i]), excess=float(excess[i]), coincides=cause)
        for i, cause in zip(worst, causes, strict=True)
    )


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


def coincidences(trace: Trace, worst: NDArray[np.intp], excess: Floats) -> list[Coincidence | Literal[""]]:
    """What coincides with each of the requests `worst`; `excess` (ns, all requests) is the latency over the level.

    '' where nothing was noticed; see `find_outliers`.
    """
    rows = take(trace, worst)
    happened = _events(rows, excess[worst], trace)
    happened["neighbours"] = _others(trace, worst)
    return [next((word for word in _COINCIDENCES if happened[word][i]), "") for i in range(len(worst))]


def _events(rows: Trace, beyond: Floats, trace: Trace) -> dict[Coincidence, NDArray[np.bool_]]:
    """What happened to each of the requests `rows`, which took `beyond` ns more than their level."""
    r = rows.requests
    every = trace.requests
    stage = stages(rows)
    return {
        "gc": r["gc"] > 0.2 * beyond,
        "page faults": r["faults"] > 4 * np.median(every["faults"]) + 16,
        "decode": stage["decode"] - np.median(every["decoded"] - every["captured"]) > 0.5 * beyond,
        "backlog": stage["backlog"] + stage["queue"] > 0.5 * beyond,
        "preempted": r["preempted"] > np.median(every["preempted"]),
        "pacer": stage["wake-up"] > 0.5 * beyond,
    }


def _others(trace: Trace, worst: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Whether others took more of the CPU than usual around each request."""
    times, share = others_share(trace)
    if not len(share):
        return np.zeros(len(worst), dtype=bool)
    middle = (trace.requests["due"][worst] + trace.requests["delivered"][worst]) // 2
    at = np.clip(np.searchsorted(times, middle, side="right") - 1, 0, len(share) - 1)
    return np.asarray(share[at] > np.median(share) + _BUSY)


def others_share(trace: Trace) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Starts (ns) of the spans between host samples, and the share of the machine's CPU time that others took in each.

    The whole machine's busy time less that of this process, over all cores; empty where either was not measured.
    """
    t = trace.telemetry
    host = (t["system_busy"] >= 0) & (t["process_cpu"] >= 0)
    times = t["time"][host]
    others = np.diff(t["system_busy"][host]) - np.diff(t["process_cpu"][host])
    span = np.maximum(np.diff(times), 1) * trace.meta.machine.cores_logical
    return times[:-1], np.clip(others / span, 0.0, 1.0)
