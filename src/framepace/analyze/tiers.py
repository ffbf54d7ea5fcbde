"""Tiers: the levels of a latency series, the ramps between them, and other measurements of the time of each.

Change points are found with PELT (Killick, Fearnhead and Eckley 2012) on medians of small blocks of the logarithm:
medians so that outliers make no tier, the logarithm so that noise is relative. The penalty rises with the noise and
with its autocorrelation. Edges are then refined request by request.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.analyze.correlation import Values
from framepace.analyze.stats import percentiles
from framepace.facts.summary import Percentile, Tier
from framepace.facts.trace import Trace

Floats = NDArray[np.float64]

_OF_A_LEVEL = (50, 90, 99)
_BLOCKS = 2500  # blocks at most: PELT stays under a tenth of a second
_SHORTEST = 3  # blocks in a segment at least
_MATERIAL = math.log(1.05)  # levels closer than 5 % are one
_SLIVER = 5  # fewer requests make no level
_GRID = 32  # places tried at once for each end of a ramp
_RAMP_COST = 1.5  # changes: it has a place more than a step, and no level more
_NOISE = 0.005**2  # least variance of the noise (0.5 %)
_SINGULAR = 1e-9  # sums of squares below it are 0
_ROBUST = 1.4826  # standard deviations of a normal distribution per median absolute deviation


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
    return tuple(_tiers(logs, _material(logs, changes)))


def settled(tiers: Sequence[Tier]) -> int | None:
    """The request from which the series stays on its last level; None when it ends in a ramp or has none."""
    if not tiers or tiers[-1].kind != "level":
        return None
    return tiers[-1].first


def with_beside(tiers: Sequence[Tier], trace: Trace) -> tuple[Tier, ...]:
    """The tiers with medians of other measurements of their time; `trace` has the series' requests in its order.

    'gap' (ns from one delivery to the next capture), 'cpu' (ns of CPU time), 'sm_clock_mhz' and 'cpu_mhz', each only
    where it was measured.
    """
    return tuple(replace(tier, beside=_beside(tier, trace)) for tier in tiers)


def with_percentiles(tiers: Sequence[Tier], latency: Values) -> tuple[Tier, ...]:
    """The tiers with the percentiles of each level; a single one has those of the whole series."""
    if len(tiers) < 2:
        return tuple(tiers)
    return tuple(replace(tier, percentiles=_percentiles(tier, latency)) for tier in tiers)


def _percentiles(tier: Tier, latency: Values) -> tuple[Percentile, ...]:
    if tier.kind == "ramp":
        return ()
    return percentiles(latency[tier.first : tier.last + 1], _OF_A_LEVEL)


def _beside(tier: Tier, trace: Trace) -> dict[str, float]:
    names = ("captured", "delivered", "cpu")
    captured, delivered, cpu = (trace.requests[name][tier.first : tier.last + 1] for name in names)
    medians = {}
    if len(captured) > 1:
        medians["gap"] = max(0.0, float(np.median(captured[1:] - delivered[:-1])))
    if cpu.min() >= 0:
        medians["cpu"] = float(np.median(cpu))
    start = trace.requests["due"][tier.first]
    return medians | _clocks(trace, start, delivered[-1])


def _clocks(trace: Trace, start: int, end: int) -> dict[str, float]:
    """Medians of the clocks between two times (ns), MHz, where they were measured."""
    clocks = {name: _during(trace, name, start, end) for name in ("sm_clock_mhz", "cpu_mhz")}
    return {name: clock for name, clock in clocks.items() if clock is not None}


def _during(trace: Trace, name: str, start: int, end: int) -> float | None:
    """Median of a telemetry column between two times (ns), or its last sample before; None where there is none."""
    measured = trace.telemetry[name] >= 0
    times = trace.telemetry["time"][measured]
    values = trace.telemetry[name][measured]
    inside = values[(times >= start) & (times <= end)]
    if len(inside):
        return float(np.median(inside))
    before = values[times < start]
    if not len(before):
        return None
    return float(before[-1])


def _medians(values: Floats, size: int) -> Floats:
    """Medians of blocks of `size`; one that stands apart from its neighbours is the median of five of them (Hampel)."""
    count = max(1, len(values) // size)
    blocks = np.asarray(np.median(values[: count * size].reshape(count, -1), axis=1))
    if count < 5:
        return blocks
    near = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(blocks, 2, mode="edge"), 5), axis=1)
    return np.where(np.abs(blocks - near) > 5 * math.sqrt(_variogram(blocks, 1)), near, blocks)


def _penalty(blocks: Floats) -> float:
    """The cost of a change: a multiple of the noise variance that grows with log n (Yao 1988), drift included.

    Variance and correlation of the noise come from robust differences at lags 1 to 3, on which a few changes of level
    have little effect, as if it were an AR(1) process (Romano, Rigaill, Runge and Fearnhead 2022):
    v(2) / v(1) = 1 + rho, v(3) / v(1) = 1 + rho + rho^2. The rho that chance alone gives is subtracted, and few blocks
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
    if not len(differences):
        return _NOISE
    return max((_ROBUST * float(np.median(differences))) ** 2 / 2, _NOISE)


def _pelt(blocks: Floats, penalty: float) -> list[int]:
    if len(blocks) < 2 * _SHORTEST or penalty <= 0:
        return [0, len(blocks)]
    from ruptures import KernelCPD

    ends = KernelCPD(kernel="linear", min_size=_SHORTEST).fit_predict(blocks[:, None], pen=penalty)
    return [0, *(int(end) for end in ends)]


def _transitions(blocks: Floats, edges: Sequence[int], penalty: float) -> list[tuple[int, int, bool]]:
    """(first segment, last segment, whether by a ramp) of each change of level.

    PELT cuts a ramp into stairs, a slow one into a single step. Steps in one direction are a ramp where a line between
    two levels costs less.
    """
    levels = [float(np.mean(blocks[i:j])) for i, j in pairwise(edges)]
    transitions = []
    i = 0
    while i < len(levels) - 1:
        ends = range(_run_end(levels, i), i, -1)
        end = next((j for j in ends if _is_ramp(blocks, edges[i : j + 2], penalty)), None)
        transitions.append((i, end or i + 1, end is not None))
        i = end or i + 1
    return transitions


def _run_end(levels: Sequence[float], start: int) -> int:
    """The last segment up to which levels go in one direction from segment `start`."""
    end = start + 1
    sign = levels[end] - levels[start]
    while end + 1 < len(levels) and (levels[end + 1] - levels[end]) * sign > 0:
        end += 1
    return end


def _is_ramp(blocks: Floats, edges: Sequence[int], penalty: float) -> bool:
    """Whether one ramp over these segments costs less than their steps."""
    stairs = sum(float(np.var(blocks[i:j])) * (j - i) for i, j in pairwise(edges)) + (len(edges) - 2) * penalty
    window = blocks[edges[0] : edges[-1]]
    residuals = window - _log_ramp(_fit_ramp(np.exp(window)), len(window))
    return float(residuals @ residuals) + _RAMP_COST * penalty < stairs


def _log_ramp(change: _Change, n: int) -> Floats:
    """The logarithm of a ramp between two levels that are none, at `n` places."""
    weights = np.clip((np.arange(n) - change.first) / (change.last - change.first), 0, 1)
    return np.log(np.maximum(change.low + (change.high - change.low) * weights, 1.0))


def _refined(logs: Floats, blocks: Floats, span: slice, size: int, ramp: bool) -> _Change:
    """The change within these blocks, request by request; those at the end have the requests after the last block."""
    first = span.start * size
    is_last = span.stop == len(blocks)
    window = logs[first:] if is_last else logs[first : span.stop * size]
    change = _fitted(_without_outliers(window, blocks[span]), size, ramp, is_last)
    return _Change(change.first + first, change.last + first, _log(change.low), _log(change.high))


def _without_outliers(window: Floats, blocks: Floats) -> Floats:
    """The latencies, those outside the range of the blocks and the noise cut to it."""
    noise = 2 * math.sqrt(_variogram(window, 1))
    return np.exp(np.clip(window, blocks.min() - noise, blocks.max() + noise))


def _unfinished(values: Floats, ramp: _Change) -> _Change:
    """The ramp as one that goes on to the end of the series; as it is where a level after it is worth its place."""
    n = len(values)
    first = np.arange(n - 1)
    on = _Fit(values).best(first, np.full(n - 1, n))
    noise = _variogram(np.log(values), 1) * float(np.mean(values)) ** 2
    if _misfit(values, on) - _misfit(values, ramp) < noise * (2 * math.log(n) + 2):
        return on
    return ramp


def _misfit(values: Floats, change: _Change) -> float:
    """The squares that a ramp between two levels leaves."""
    residuals = values - np.exp(_log_ramp(change, len(values)))
    return float(residuals @ residuals)


def _fitted(window: Floats, size: int, ramp: bool, is_last: bool) -> _Change:
    """The ramp or step that fits best; a ramp of no more than `size` requests is a step.

    A ramp in the last window of a series may go on to its end.
    """
    if ramp:
        change = _fit_ramp(window)
        if change.last - change.first > size:
            change = _to_the_ends(change, len(window))
            return _unfinished(window, change) if is_last else change
    return _fit_step(window)


def _log(level: float) -> float:
    return math.log(max(level, 1.0))


def _to_the_ends(ramp: _Change, n: int) -> _Change:
    """A ramp that all but reaches an end of its window reaches it: a few requests are no level."""
    if ramp.first < _SLIVER:
        ramp = ramp._replace(first=0)
    if n - ramp.last < _SLIVER:
        ramp = ramp._replace(last=n)
    return ramp


def _fit_step(values: Floats) -> _Change:
    last = np.arange(1, len(values))
    return _Fit(values).best(last - 1, last)


def _fit_ramp(values: Floats) -> _Change:
    """The line between two levels with the least squares, by a grid over its two ends that closes in."""
    fit = _Fit(values)
    n = len(values)
    step = n
    best = _Change(n // 2, n // 2, 0.0, 0.0)
    while step > 1:
        step = _finer(step)
        around = np.arange(-_GRID // 2, _GRID // 2 + 1) * step
        first, last = np.meshgrid(*(np.clip(end + around, 0, n) for end in (best.first, best.last)))
        keep = first < last
        best = fit.best(first[keep], last[keep])
    return best


def _finer(step: int) -> int:
    """The next step of the grid: so that it covers two of the last steps."""
    if step <= 2:
        return 1
    return max(1, math.ceil(2 * step / _GRID))


class _Fit:
    """Least squares of a line between two levels for many pairs of ends at once, by running sums."""

    def __init__(self, values: Floats) -> None:
        self._n = len(values)
        self._mean = float(np.mean(values))
        centred = values - self._mean
        self._sum = np.concatenate([[0.0], np.cumsum(centred)])
        self._moment = np.concatenate([[0.0], np.cumsum(centred * np.arange(self._n))])

    def best(self, first: NDArray[np.intp], last: NDArray[np.intp]) -> _Change:
        """The best pair of ends: value k has weight clip((k - first) / (last - first), 0, 1) of the second level."""
        length = (last - first).astype(np.float64)
        after = self._n - last
        weight = (length - 1) / 2 + after
        square = (length - 1) * (2 * length - 1) / (6 * length) + after - weight**2 / self._n
        product = self._product(first, last, length)
        usable = np.maximum(square, _SINGULAR)
        best = int(np.argmax(np.where(square > _SINGULAR, product**2 / usable, -1.0)))
        rise = float(product[best] / usable[best])
        low = self._mean - rise * float(weight[best]) / self._n
        return _Change(int(first[best]), int(last[best]), low, low + rise)

    def _product(self, first: NDArray[np.intp], last: NDArray[np.intp], length: Floats) -> Floats:
        """The sum of weight times value for each pair of ends."""
        rising = self._moment[last] - self._moment[first] - first * (self._sum[last] - self._sum[first])
        return np.asarray(rising / length + self._sum[-1] - self._sum[last])


def _material(logs: Floats, changes: Sequence[_Change]) -> list[_Change]:
    """The changes of 5 % and more between the levels that stay on either side, the smallest dropped first."""
    kept = list(changes)
    while kept:
        rises = [abs(c.high - c.low) for c in _levelled(logs, kept)]
        least = int(np.argmin(rises))
        if rises[least] >= _MATERIAL:
            break
        del kept[least]
    return kept


def _levelled(logs: Floats, changes: Sequence[_Change]) -> list[_Change]:
    """The changes between the medians of the levels around them; a change without a level at a side keeps its fit's."""
    edges = [0, *(edge for change in changes for edge in (_begin(change), change.last)), len(logs)]
    spans = [logs[i:j] for i, j in zip(edges[::2], edges[1::2], strict=True)]
    return [
        change._replace(low=_median_or(change.low, before), high=_median_or(change.high, after))
        for change, (before, after) in zip(changes, pairwise(spans), strict=True)
    ]


def _median_or(fitted: float, span: Floats) -> float:
    """The median of a level; the fitted one where it has too few requests."""
    if len(span) < _SLIVER:
        return fitted
    return float(np.median(span))


def _begin(change: _Change) -> int:
    """The first request that is no longer on the level before; the end of a fitted step is its first on the new one."""
    if change.last - change.first <= 1:
        return change.last
    if change.first == 0:
        return 0
    return change.first + 1


def _tiers(logs: Floats, changes: Sequence[_Change]) -> Iterator[Tier]:
    at = 0
    for change in _levelled(logs, changes):
        begin = _begin(change)
        yield from _level(logs, at, begin)
        yield from _ramp(change, max(at, begin))
        at = max(at, change.last)
    yield from _level(logs, at, len(logs))


def _level(logs: Floats, first: int, end: int) -> Iterator[Tier]:
    """The level of these requests, if there are any."""
    if first < end:
        level = math.exp(float(np.median(logs[first:end])))
        yield Tier(kind="level", first=first, last=end - 1, level=level, level_end=level)


def _ramp(change: _Change, first: int) -> Iterator[Tier]:
    """The ramp from request `first` on, if any is left of it."""
    if first < change.last:
        level = math.exp(change.low)
        level_end = math.exp(change.high)
        yield Tier(kind="ramp", first=first, last=change.last - 1, level=level, level_end=level_end)


def _block_size(n: int) -> int:
    """Requests per block: few enough to see short levels, enough that an outlier is not the median."""
    smallest = 5
    if n < 150:
        smallest = 3
    return max(smallest, math.ceil(n / _BLOCKS))
