"""Other numbers of a log against its latencies: which of them go with it, and how surely."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from framepace.analyze.correlation import autocovariance
from framepace.facts.log import Beside, Role
from framepace.facts.summary import Estimate

_FELT = 0.2  # rank correlation, from which a number is said to go with the latency
_FEWEST = 20  # rows with both
_LISTED = 6
_FEWEST_PAIRS = 4
_NEARLY_ONE = 1 - 1e-6
_NORMAL_99 = 2.576  # standard errors of a 99 % interval
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def beside(
    latency: NDArray[np.int64], late: Mask, columns: Mapping[str, Floats], roles: Mapping[str, Role] | None = None
) -> tuple[Beside, ...]:
    """The numbers that surely go with the latency, or with being late, strongest first.

    Args:
        latency: ns, shape (rows,), in time order.
        late: the late rows, shape (rows,).
        columns: numbers by name, shape (rows,); NaN where there is none.
        roles: what columns are, by name, where they are something.
    """
    roles = roles or {}
    every = (_beside(name, roles.get(name, "beside"), _Frames(latency, late), cells) for name, cells in columns.items())
    sure = [one for one in every if one is not None and _is_sure(one.correlation)]
    return tuple(sorted(sure, key=lambda one: -abs(one.correlation.value))[:_LISTED])


def _is_sure(correlation: Estimate) -> bool:
    low, high = correlation.interval
    return abs(correlation.value) >= _FELT and (low > 0 or high < 0)


class _Frames(NamedTuple):
    """Latencies (ns), and which are late."""

    latency: NDArray[np.int64]
    late: Mask

    def where(self, keep: Mask) -> _Frames:
        return _Frames(self.latency[keep], self.late[keep])


def _beside(name: str, role: Role, frames: _Frames, numbers: Floats) -> Beside | None:
    both = np.isfinite(numbers)
    values = numbers[both]
    if len(values) < _FEWEST or np.ptp(values) == 0:
        return None
    frames = frames.where(both)
    others = _median(values[~frames.late])
    if others is None:
        return None
    stronger = max((rank_correlation(values, column.astype(np.float64)) for column in frames), key=_strength)
    return Beside(column=name, role=role, late=_median(values[frames.late]), other=others, correlation=stronger)


def _strength(correlation: Estimate) -> float:
    """How far the interval is from nothing."""
    low, high = correlation.interval
    return max(low, -high)


def _median(values: Floats) -> float | None:
    if not len(values):
        return None
    return float(np.median(values))


def rank_correlation(a: Floats, b: Floats) -> Estimate:
    """Spearman's correlation of two series with its 99 % interval (Fisher's z), over independent pairs.

    Two series that both remember their values agree by chance more often: their pairs count as n / tau, tau being
    1 + 2 * the sum of the products of their autocorrelations (Bartlett 1935).
    """
    ranks_a = _ranks(a)
    ranks_b = _ranks(b)
    deviation = float(np.std(ranks_a) * np.std(ranks_b))
    if deviation <= 0:
        return Estimate(value=0.0, low=-1.0, high=1.0)
    value = float(np.mean((ranks_a - ranks_a.mean()) * (ranks_b - ranks_b.mean())) / deviation)
    return _with_interval(value, len(a) / _shared_memory(ranks_a, ranks_b))


def _with_interval(correlation: float, pairs: float) -> Estimate:
    """A correlation over so many independent pairs with its interval."""
    if pairs <= _FEWEST_PAIRS:
        return Estimate(value=correlation, low=-1.0, high=1.0)
    z = math.atanh(max(-_NEARLY_ONE, min(_NEARLY_ONE, correlation)))
    error = _NORMAL_99 / math.sqrt(pairs - 3)
    return Estimate(value=correlation, low=math.tanh(z - error), high=math.tanh(z + error))


def _shared_memory(a: Floats, b: Floats) -> float:
    """The autocorrelation time of the products of two series, at least 1."""
    lags = max(1, len(a) // 4)
    one, other = (autocovariance(series)[:lags] for series in (a, b))
    products = one / one[0] * other / other[0]
    positive = np.cumprod(products[1:] > 0)  # up to the first lag at which one of them has forgotten
    return 1.0 + 2.0 * float(np.sum(products[1:] * positive))


def _ranks(values: Floats) -> Floats:
    """Ranks from 0 on; equal values share theirs."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2
    return np.asarray(middle[which], np.float64)
