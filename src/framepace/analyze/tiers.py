"""Tiers: the levels a latency series rests on, the ramps between them, and what stood beside each.

Change points are found with PELT (Killick, Fearnhead and Eckley 2012) on medians of small blocks of the logarithm:
medians so that outliers make no tier, the logarithm so that noise is relative. The penalty rises with the noise and
with its autocorrelation. Edges are then refined request by request.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.analyze.stats import Values
from framepace.facts.summary import Tier
from framepace.facts.trace import Trace

Floats = NDArray[np.float64]

_BLOCKS = 2500  # blocks at most: PELT stays under a tenth of a second
_SHORTEST = 3  # blocks in a segment at least
_MATERIAL = math.log(1.05)  # levels closer than 5 % are one
_SLIVER = 5  # requests that make no level
_GRID = 32  # places tried at once for each end of a ramp


class _Change(NamedTuple):
    """From level `low` to level `high` (logarithms), linearly between two places; a step when they are neighbours."""

    first: int
    last: int
    low: float
    high: float


def find_tiers(latency: Values) -> tuple[Tier, ...]:
    """Levels and ramps of a latency series (ns, shape (n,), in time order), first to last, without gaps.

    Levels closer than 5 % are one; a steady noisy series is one tier, and so is one of under 18 requests.
    """
    if not len(latency):
        return ()
    logs = np.log(np.maximum(np.asarray(latency, dtype=np.float64), 1.0))
    size = _block_size(len(logs))
    blocks = _medians(logs, size)
    penalty = _penalty(blocks)
    edges = _pelt(blocks, penalty)
    changes = [
        _refined(logs, blocks, slice(edges[i], edges[j + 1]), size, ramp)
        for i, j, ramp in _transitions(blocks, edges, penalty)
    ]
    return _tiers(logs, _material(logs, changes))


def settled(tiers: Sequence[Tier]) -> int | None:
    """The request from which the series stays on its last level; None when it ends in a ramp or has none."""
    return tiers[-1].first if tiers and tiers[-1].kind == "level" else None


def with_beside(tiers: Sequence[Tier], trace: Trace) -> tuple[Tier, ...]:
    """The tiers with medians of what stood beside them; `trace` has the series' requests in its order.

    'gap' (ns from one delivery to the next capture), 'cpu' (ns of CPU time), 'sm_clock_mhz' and 'cpu_mhz', each only
    where it was measured.
    """
    return tuple(replace(tier, beside=_beside(tier, trace)) for tier in tiers)


def _beside(tier: Tier, trace: Trace) -> dict[str, float]:
    r, rows = trace.requests, slice(tier.first, tier.last + 1)
    found = {}
    gaps = r["captured"][rows][1:] - r["delivered"][rows][:-1]
    if len(gaps):
        found["gap"] = max(0.0, float(np.median(gaps)))
    cpu = r["cpu"][rows]
    if cpu.min() >= 0:
        found["cpu"] = float(np.median(cpu))
    for name in ("sm_clock_mhz", "cpu_mhz"):
        value = _during(trace, name, int(r["due"][rows.start]), int(r["delivered"][tier.last]))
        if value is not None:
            found[name] = value
    return found


def _during(trace: Trace, name: str, start: int, end: int) -> float | None:
    """Median of a telemetry column between two times (ns), or its last sample before; None where there is none."""
    measured = trace.telemetry[name] >= 0
    times, values = trace.telemetry["time"][measured], trace.telemetry[name][measured]
    inside = values[(times >= start) & (times <= end)]
    if len(inside):
        return float(np.median(inside))
    before = values[times < start]
    return float(before[-1]) if len(before) else None


def _medians(values: Floats, size: int) -> Floats:
    """Medians of blocks of `size`; one that stands apart from its neighbours is the median of five of them (Hampel)."""
    count = max(1, len(values) // size)
    blocks = np.asarray(np.median(values[: count * size].reshape(count, -1), axis=1))
    if count < 5:
        return blocks
    near = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(blocks, 2, mode="edge"), 5), axis=1)
    return np.where(np.abs(blocks - near) > 5 * math.sqrt(_variogram(blocks, 1)), near, blocks)


def _penalty(blocks: Floats) -> float:
    """What a change must explain: a multiple of the noise variance that grows with log n (Yao 1988), drift counted.

    Variance and correlation of the noise come from robust differences at lags 1 to 3, which a few changes of level
    hardly touch, as if it were an AR(1) process (Romano, Rigaill, Runge and Fearnhead 2022): v(2) / v(1) = 1 + rho,
    v(3) / v(1) = 1 + rho + rho^2. What chance alone gives is taken off rho, and few blocks
    cannot prove a high one.
    """
    one, two, three = (_variogram(blocks, lag) for lag in (1, 2, 3))
    rho = (two / one - 1 + (math.sqrt(max(4 * three / one - 3, 0)) - 1) / 2) / 2
    chance = 1 / math.sqrt(len(blocks))
    rho = max(0.0, min(rho - chance, 0.9 - 2 * chance))
    return one * (1 + rho) / (1 - rho) ** 2 * (4 * math.log(max(len(blocks), 2)) + 4)


def _variogram(blocks: Floats, lag: int) -> float:
    """Half the variance of differences at `lag`, from their median; a noise of 0.5 % at least."""
    differences = np.abs(blocks[lag:] - blocks[:-lag])
    return max((1.4826 * float(np.median(differences))) ** 2 / 2, 0.005**2) if len(differences) else 0.005**2


def _pelt(blocks: Floats, penalty: float) -> list[int]:
    if len(blocks) < 2 * _SHORTEST or penalty <= 0:
        return [0, len(blocks)]
    from ruptures import KernelCPD

    found = KernelCPD(kernel="linear", min_size=_SHORTEST).fit_predict(blocks[:, None], pen=penalty)
    return [0, *(int(edge) for edge in found)]


def _transitions(blocks: Floats, edges: Sequence[int], penalty: float) -> list[tuple[int, int, bool]]:
    """From which segment to which the level goes, and whether by a ramp.

    PELT cuts a ramp into stairs. Stairs in one direction are a ramp where a line between two levels costs less, each
    knot being charged as a change is.
    """
    levels = [float(np.mean(blocks[i:j])) for i, j in pairwise(edges)]
    found, i = [], 0
    while i < len(levels) - 1:
        end = next((j for j in range(_run_end(levels, i), i, -1) if _is_ramp(blocks, edges[i : j + 2], penalty)), None)
        found.append((i, end or i + 1, end is not None))
        i = end or i + 1
    return found


def _run_end(levels: Sequence[float], start: int) -> int:
    """The last segment up to which levels go in one direction from segment `start`."""
    end, sign = start + 1, levels[start + 1] - levels[start]
    while end + 1 < len(levels) and (levels[end + 1] - levels[end]) * sign > 0:
        end += 1
    return end


def _is_ramp(blocks: Floats, edges: Sequence[int], penalty: float) -> bool:
    window = blocks[edges[0] : edges[-1]]
    stairs = sum(float(np.var(blocks[i:j])) * (j - i) for i, j in pairwise(edges)) + (len(edges) - 2) * penalty
    change = _fit_ramp(np.exp(window))
    weights = np.clip((np.arange(len(window)) - change.first) / (change.last - change.first), 0, 1)
    rest = window - np.log(np.maximum(change.low + (change.high - change.low) * weights, 1.0))
    return float(rest @ rest) + 2 * penalty < stairs


def _refined(logs: Floats, blocks: Floats, span: slice, size: int, ramp: bool) -> _Change:
    """The change within these blocks, request by request; outliers are cut to the range of the blocks and the noise."""
    first, window = span.start * size, logs[span.start * size : span.stop * size]
    low, high, noise = blocks[span].min(), blocks[span].max(), 2 * math.sqrt(_variogram(window, 1))
    window = np.exp(np.clip(window, low - noise, high + noise))
    change = _fit_ramp(window) if ramp else _fit_step(window)
    short = change.last - change.first <= size
    change = _fit_step(window) if short else _to_the_ends(change, len(window))
    below, above = (math.log(max(level, 1.0)) for level in (change.low, change.high))
    return _Change(change.first + first, change.last + first, below, above)


def _to_the_ends(ramp: _Change, n: int) -> _Change:
    """A ramp that all but reaches an end of its window reaches it: a level of a few requests is none."""
    first = 0 if ramp.first < _SLIVER else ramp.first
    return ramp._replace(first=first, last=n if n - ramp.last < _SLIVER else ramp.last)


def _fit_step(values: Floats) -> _Change:
    last = np.arange(1, len(values))
    return _Fit(values).best(last - 1, last)


def _fit_ramp(values: Floats) -> _Change:
    """The line between two levels that leaves the least squares, by a grid over its two ends that closes in."""
    fit, n = _Fit(values), len(values)
    step, best = n, _Change(0, n, 0.0, 0.0)
    while step > 1:
        step = max(1, -(-2 * step // _GRID)) if step > 2 else 1
        around = np.arange(-_GRID // 2, _GRID // 2 + 1) * step
        centre = (best.first, best.last) if best.low or best.high else (n // 2, n // 2)
        first, last = np.meshgrid(*(np.clip(c + around, 0, n) for c in centre))
        keep = first < last
        best = fit.best(first[keep], last[keep])
    return best


class _Fit:
    """Least squares of a line between two levels for many pairs of ends at once, by running sums."""

    def __init__(self, values: Floats) -> None:
        self._n, self._mean = len(values), float(np.mean(values))
        centred = values - self._mean
        self._sum = np.concatenate([[0.0], np.cumsum(centred)])
        self._moment = np.concatenate([[0.0], np.cumsum(centred * np.arange(self._n))])

    def best(self, first: NDArray[np.intp], last: NDArray[np.intp]) -> _Change:
        """The best pair of ends: value k has weight clip((k - first) / (last - first), 0, 1) of the second level."""
        length, after = (last - first).astype(np.float64), self._n - last
        weight = (length - 1) / 2 + after
        square = (length - 1) * (2 * length - 1) / (6 * length) + after - weight**2 / self._n
        rising = self._moment[last] - self._moment[first] - first * (self._sum[last] - self._sum[first])
        product = rising / length + self._sum[-1] - self._sum[last]
        best = int(np.argmax(np.where(square > 1e-9, product**2 / np.maximum(square, 1e-9), -1.0)))
        rise = float(product[best] / max(square[best], 1e-9))
        low = self._mean - rise * float(weight[best]) / self._n
        return _Change(int(first[best]), int(last[best]), low, low + rise)


def _material(logs: Floats, changes: Sequence[_Change]) -> list[_Change]:
    """The changes of 5 % and more between what stays on either side, the smallest left out first."""
    kept = list(changes)
    while kept:
        rises = [abs(c.high - c.low) for c in _levelled(logs, kept)]
        least = int(np.argmin(rises))
        if rises[least] >= _MATERIAL:
            break
        del kept[least]
    return kept


def _levelled(logs: Floats, changes: Sequence[_Change]) -> list[_Change]:
    """The changes between the medians of the levels around them; one that has no level at a side keeps its fit's."""
    edges = [0, *(e for c in changes for e in (_begin(c), c.last)), len(logs)]
    spans = [logs[i:j] for i, j in zip(edges[::2], edges[1::2], strict=True)]
    levels = [float(np.median(span)) if len(span) >= _SLIVER else None for span in spans]
    return [
        c._replace(low=c.low if a is None else a, high=c.high if b is None else b)
        for c, (a, b) in zip(changes, pairwise(levels), strict=True)
    ]


def _begin(change: _Change) -> int:
    """The first request that is no longer on the level before; the end of a fitted step is its first on the new one."""
    if change.last - change.first <= 1:
        return change.last
    return change.first + 1 if change.first else 0


def _tiers(logs: Floats, changes: Sequence[_Change]) -> tuple[Tier, ...]:
    found, at = [], 0
    for change in _levelled(logs, changes):
        found.append(_level(logs, at, _begin(change)))
        low, high = math.exp(change.low), math.exp(change.high)
        ramp = Tier(kind="ramp", first=max(at, _begin(change)), last=change.last - 1, level=low, level_end=high)
        found.append(ramp if ramp.first <= ramp.last else None)
        at = max(at, change.last)
    found.append(_level(logs, at, len(logs)))
    return tuple(tier for tier in found if tier is not None)


def _level(logs: Floats, first: int, end: int) -> Tier | None:
    if first >= end:
        return None
    level = math.exp(float(np.median(logs[first:end])))
    return Tier(kind="level", first=first, last=end - 1, level=level, level_end=level)


def _block_size(n: int) -> int:
    """Requests in a block: few enough to see short levels, enough that outliers are no median."""
    return max(3 if n < 150 else 5, math.ceil(n / _BLOCKS))
