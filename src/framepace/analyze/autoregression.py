"""The longest memory that a short series allows: an autoregressive process fitted to it, on the side of caution.

Of batch means, initial sequences, the spectrum at zero and autoregressive processes, the last estimate autocorrelation
times of short series best (M. B. Thompson, arXiv:1011.0175, 2010).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from framepace.analyze.correlation import autocovariance

Floats = NDArray[np.float64]
_MOST_LAGS = 12  # of the process
_ERRORS = 2.0  # standard errors of caution
_LONGEST = 0.999  # of a value, kept by the next
_NOTHING = 1e-4


def longest_memory(values: Floats) -> Floats:
    """Autocorrelation at lags 1 to n - 1, up to where it first is 0; empty where the fitted process has no memory.

    Its lags are stretched until its autocorrelation time is the longest that `values` (shape (n,)) allow.
    """
    count = len(values)
    if count <= 2 * _MOST_LAGS:
        return np.empty(0)
    covariance = autocovariance(values)[: _MOST_LAGS + 1]
    if covariance[0] <= 0:
        return np.empty(0)
    correlation = covariance / covariance[0]
    weights = _fitted(correlation, count)
    if not len(weights):
        return np.empty(0)
    continued = _until_zero(_continued(correlation, weights, count))
    if not continued[1:].any():
        return np.empty(0)
    return _stretched(continued)[1:]


def _fitted(correlation: Floats, count: int) -> Floats:
    """The weights of the values before, of as many lags as G. Schwarz's criterion (1978) wants.

    By the recursion of N. Levinson and J. Durbin.
    """
    weights = np.empty(0)
    best = weights
    error = 1.0
    least = 0.0
    for order in range(1, len(correlation)):
        partial = float(correlation[order] - weights @ correlation[order - 1 : 0 : -1]) / error
        weights = np.append(weights - partial * weights[::-1], partial)
        error *= 1 - partial**2
        if error <= 0:
            return best
        criterion = count * math.log(error) + order * math.log(count)
        if criterion < least:
            least = criterion
            best = weights
    return best


def _continued(correlation: Floats, weights: Floats, count: int) -> Floats:
    """Autocorrelation of the process at lags 0 to count - 1; 0 from where hardly anything is left of it."""
    order = len(weights)
    continued = np.zeros(count)
    continued[: order + 1] = correlation[: order + 1]
    backwards = weights[::-1]
    for lag in range(order + 1, count):
        recent = continued[lag - order : lag]
        if np.max(np.abs(recent)) < _NOTHING:
            break
        continued[lag] = backwards @ recent
    return continued


def _until_zero(correlation: Floats) -> Floats:
    """The autocorrelation up to its first lag that is not positive; what swings about 0 has no memory beyond."""
    ended = correlation <= 0
    if not ended.any():
        return correlation
    return np.where(np.arange(len(correlation)) < int(np.argmax(ended)), correlation, 0.0)


def _stretched(correlation: Floats) -> Floats:
    """The autocorrelation with its lags stretched from the memory found to the longest one that it may stand for.

    Both as those of a process that keeps a share of each value: such a share is found too small by (1 + 3 share) / n
    (M. G. Kendall, Biometrika 41, 1954) with a standard error of sqrt((1 - share^2) / n).
    """
    count = len(correlation)
    time = 1 + 2 * float(np.sum(correlation[1:]))
    share = (time - 1) / (time + 1)
    longest = share + (1 + 3 * share) / count + _ERRORS * math.sqrt((1 - share**2) / count)
    stretch = math.log(max(share, min(longest, _LONGEST))) / math.log(share)
    lags = np.arange(count)
    return np.asarray(np.interp(lags * stretch, lags, correlation))
