"""Effective samples of a percentile: how many independent frames carry as much information on it as a series does.

What counts is the memory of the series 'is above the percentile', not that of the latency itself. Few frames lie above
a high percentile, so it is estimated in several ways, and the longest memory decides: from the series itself; from
those of lower percentiles, as if the frames above a high one were any of those above a low one; from the ranks of the
whole latency, as if they came from a Gaussian process, with the autocorrelation that was found and with the longest
that it may stand for. A run of less than 20 such memories does not show how long they are: its tails have no more
independent frames than memories.

Plain changes of level are no noise. Where the tiers of a series stand well apart, the percentile is that of the levels
this run had, and only what varies around them counts (a stratified estimate). It says nothing about a run in which
levels last longer or shorter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from framepace.analyze.autoregression import longest_memory
from framepace.analyze.correlation import Memory, autocovariance
from framepace.facts.summary import Tier

Floats = NDArray[np.float64]
_APART = 3.0  # robust standard deviations between levels that no slow noise explains
_SHORTEST = 1 / 12  # of the series, for a level between two others
_STEPS = 8  # levels that stand for a ramp
_ROBUST = 1.4826
_REGIMES = (0.5, 0.3, 0.2, 0.1, 0.05)  # shares of frames that may be slow together
_PLAINLY = 3.0  # standard errors of a count
_SHORT = 20  # memories of a run that is too short for its tails
_MIDDLE = 0.25  # from here to 1 - this a percentile is no tail
_GRID = 257  # places of a table of the autocorrelation of an indicator


class Series:
    """A series of latencies in time order, prepared for the effective samples of any number of its percentiles."""

    def __init__(self, values: Floats, tiers: Sequence[Tier] = ()) -> None:
        """`values`: shape (n,), > 0; `tiers` of this series, empty where its level is not to be taken off."""
        self._tiers = plain_tiers(values, tiers)
        self._edges = _edges(self._tiers, len(values))
        around = _around_levels(values, self._tiers)
        scores = _normal_scores(around)
        self._latent = _latent_memory(scores)
        self._longest = longest_memory(scores)
        self._regimes = tuple(_regimes(around))

    def effective(self, above: NDArray[np.bool_], q: float) -> int:
        """Independent samples that say as much about percentile `q` (0-1); `above` is 'is above it' per request."""
        count = len(above)
        around = above.astype(np.float64)
        for first, end in pairwise(self._edges):
            around[first:end] -= np.mean(around[first:end])
        time = max(indicator_time(around), self._time(q))
        if not self._tiers:
            return int(count / time)
        variance = max(float(np.mean(around**2)), 1e-12)
        return int(min(count, count * q * (1 - q) / (variance * time)))

    def _time(self, q: float) -> float:
        """Autocorrelation time of 'is above percentile `q`', from the other frames than those above it."""
        gaussian = max(_time_of(_of_indicator(memory, q)) for memory in (self._latent, self._longest))
        within = max((regime.time_above(q) for regime in self._regimes), default=1.0)
        longest = _time_of(self._longest)
        is_tail = not _MIDDLE <= q <= 1 - _MIDDLE
        if is_tail and len(self._longest) < _SHORT * longest:
            return max(gaussian, within, longest)
        return max(gaussian, within)


@dataclass(frozen=True)
class _Regime:
    """The slowest `share` of frames, and the autocorrelation time of being one of them."""

    share: float
    time: float

    def time_above(self, q: float) -> float:
        """Autocorrelation time of 'is above percentile `q`', were the frames above it any of these."""
        above = 1 - q
        if above >= self.share:
            return 1.0
        odds = above * (1 - self.share) / (self.share * (1 - above))
        return 1 + odds * (self.time - 1)


def _regimes(values: Floats) -> Iterator[_Regime]:
    """The slow frames that plainly come together: more often one after the other than chance explains."""
    for share in _REGIMES if len(values) else ():
        slow = values > np.quantile(values, 1 - share)
        count = np.count_nonzero(slow)
        expected = count**2 / len(values)
        if np.count_nonzero(slow[1:] & slow[:-1]) > expected + _PLAINLY * math.sqrt(expected):
            yield _Regime(count / len(values), indicator_time(slow.astype(np.float64)))


def _time_of(correlation: Floats) -> float:
    """Autocorrelation time of a series with this autocorrelation at lags 1, 2, ..."""
    return 1 + 2 * float(np.sum(correlation))


def indicator_time(values: Floats) -> float:
    """Autocorrelation time of an indicator, one standard error of it (Wolff 2004, eq. 42) on the side of caution."""
    memory = Memory.of(values)
    if memory.window is None:
        return memory.time
    error = math.sqrt(2 * (2 * memory.window + 1) / len(values))
    return min(memory.time * (1 + error), float(len(values)))


def plain_tiers(values: Floats, tiers: Sequence[Tier]) -> tuple[Tier, ...]:
    """The tiers, where they are levels that stand apart and last; none where they may be noise with a long memory.

    A level that goes back to the one before it may be a burst, of which others come.
    """
    changes = _changes(tiers)
    if not changes:
        return ()
    apart = _APART * _ROBUST * float(np.median(np.abs(_around_levels(values, tiers))))
    is_lasting = all(tier.last + 1 - tier.first >= _SHORTEST * len(values) for tier in _between_steps(tiers))
    if is_lasting and not _goes_back(tiers, apart) and all(change >= apart for change in changes):
        return tuple(tiers)
    return ()


def _between_steps(tiers: Sequence[Tier]) -> Sequence[Tier]:
    """The tiers that have to last: all but one at either end that a ramp leads from or to, or that is a ramp."""
    first = 1
    last = len(tiers) - 1
    if {tier.kind for tier in tiers[:2]} == {"level"}:
        first = 0
    if {tier.kind for tier in tiers[-2:]} == {"level"}:
        last += 1
    return tiers[first:last]


def _goes_back(tiers: Sequence[Tier], apart: float) -> bool:
    """Whether a level is followed by one that is hardly `apart` from the level before it, in logarithms."""
    levels = [tier for tier in tiers if tier.kind == "level"]
    return any(
        abs(math.log(after.level / before.level_end)) < apart for before, after in zip(levels, levels[2:], strict=False)
    )


def _changes(tiers: Sequence[Tier]) -> list[float]:
    """How far each change of level goes, in logarithms: steps between two levels, and ramps."""
    levels = [pair for pair in pairwise(tiers) if {tier.kind for tier in pair} == {"level"}]
    steps = [abs(math.log(after.level / before.level_end)) for before, after in levels]
    return steps + [abs(math.log(tier.level_end / tier.level)) for tier in tiers if tier.kind == "ramp"]


def _around_levels(values: Floats, tiers: Sequence[Tier]) -> Floats:
    """The logarithm of each value over the level of its tier; the logarithm itself without tiers."""
    logs = np.log(np.maximum(np.asarray(values, dtype=np.float64), 1.0))
    for tier in tiers:
        count = tier.last + 1 - tier.first
        begin = math.log(max(tier.level, 1.0))
        end = math.log(max(tier.level_end, 1.0))
        logs[tier.first : tier.last + 1] -= np.linspace(begin, end, count)
    return logs


def _edges(tiers: Sequence[Tier], count: int) -> list[int]:
    """Where strata begin, and the end: a stratum for each level and several for each ramp."""
    edges = [0]
    for tier in tiers:
        length = tier.last + 1 - tier.first
        parts = min(_STEPS, length) if tier.kind == "ramp" else 1
        edges += [tier.first + length * part // parts for part in range(1, parts + 1)]
    if edges[-1] != count:
        edges.append(count)
    return edges


def _latent_memory(scores: Floats) -> Floats:
    """Autocorrelation at lags 1 to the window of a series' normal scores; empty where there is no memory."""
    if not len(scores):
        return np.empty(0)
    memory = Memory.of(scores)
    if memory.time <= 1:
        return np.empty(0)
    covariance = autocovariance(scores)
    lags = len(scores) if memory.window is None else memory.window + 1
    return np.asarray(np.maximum(covariance[1:lags] / covariance[0], 0.0))


def _normal_scores(values: Floats) -> Floats:
    """The normal quantile of each value's rank; equal values share theirs."""
    if not len(values):
        return np.empty(0)
    from scipy.special import ndtri

    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    scores: Floats = ndtri(middle / len(values))
    return scores[which]


def _of_indicator(latent: Floats, q: float) -> Floats:
    """The autocorrelation of 'is above quantile `q`' of a Gaussian process with the autocorrelation `latent`."""
    table = _table(q)
    return np.interp(np.arcsin(np.clip(latent, 0.0, 1.0)), np.linspace(0, math.pi / 2, _GRID), table)


@lru_cache(maxsize=64)
def _table(q: float) -> Floats:
    """Correlation of two indicators by the arc sine of that of their Gaussian variables (R. L. Plackett, Biometrika 41,
    1954): the integral of exp(-z^2 / (1 + sin t)) dt, over 2 pi q (1 - q).
    """
    from scipy.special import ndtri

    angle = np.linspace(0, math.pi / 2, _GRID)
    density = np.exp(-(float(ndtri(q)) ** 2) / (1 + np.sin(angle)))
    area = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)]) * (angle[1] - angle[0])
    return np.asarray(area / (2 * math.pi * q * (1 - q)))
