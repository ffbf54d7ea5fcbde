"""Autocorrelation: how long a series remembers its values."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64] | NDArray[np.int64]
_SOKAL_WINDOW = 5


@dataclass(frozen=True)
class Memory:
    """The memory of a series.

    Attributes:
        time: integrated autocorrelation time, at least 1.
        window: the lag up to which it was summed; None where there was no memory, or no end of it.
    """

    time: float
    window: int | None = None

    @staticmethod
    def of(values: Values) -> Memory:
        """The memory of `values` (shape (n,)); see `autocorrelation_time`."""
        count = len(values)
        if count < 4:
            return Memory(1.0)
        covariance = autocovariance(values)
        if covariance[0] <= 1e-12 * count * max(float(np.mean(values)) ** 2, 1e-300):
            return Memory(1.0)  # a constant series repeats itself by nature, not by memory
        return _windowed(2 * np.cumsum(covariance / covariance[0]) - 1)


def autocorrelation_time(values: Values) -> float:
    """Integrated autocorrelation time, at least 1: how many samples carry the information of one independent sample.

    tau = 1 + 2 * sum of rho(k) for k <= M, with the smallest M >= 5 tau(M): the automatic window of A. Sokal, "Monte
    Carlo Methods in Statistical Mechanics" (1997), section 3. A series that never reaches its window (a trend, a
    step) has the time of its whole length. Taking the mean off biases tau low, which is corrected (U. Wolff,
    Comput. Phys. Commun. 156, 2004, eq. 49); within one standard error of 1 (eq. 42) it is 1. `values`: shape (n,).
    """
    return Memory.of(values).time


def autocovariance(values: Values) -> NDArray[np.float64]:
    """n times the autocovariance at lags 0 to n - 1, by FFT; padded so that it does not wrap around."""
    n = len(values)
    size = 1 << (2 * n - 1).bit_length()
    spectrum = np.fft.rfft(values - np.mean(values), size)
    return np.asarray(np.fft.irfft(spectrum.real**2 + spectrum.imag**2, size)[:n])


def _windowed(taus: NDArray[np.float64]) -> Memory:
    """The memory of a series; `taus` has the sum up to each lag."""
    n = len(taus)
    enough = np.arange(n) >= _SOKAL_WINDOW * taus
    if not enough.any():
        return Memory(float(n))
    window = int(np.argmax(enough))
    bias = (2 * window + 1) / n
    if taus[window] <= 1 + math.sqrt(2 * bias):
        return Memory(1.0)
    return Memory(min(float(taus[window]) * (1 + bias), float(n)), window)
