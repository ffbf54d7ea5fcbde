"""What batches of requests take, learnt as they are delivered. Pure: numbers in, numbers out."""

from __future__ import annotations

from math import sqrt

_KEEP = 1 - 1 / 64  # weight of an observation one batch later
_PRIOR = 1e-3  # weight of the prior that half a batch's time is fixed against all that was measured
_SAFE_DEVIATIONS = 2.0  # mean deviations kept in hand
_FAR = 10.0  # times as long as expected that a batch counts for at most, or one stall would refuse all for a while
_FIRST = 8  # batches, in which those that are so much slower than later ones say nothing: what is loaded when used


class Durations:
    """The mean time of a batch of b items, t(b) = a + k * b in ns, and how far batches are from it.

    It is the mean and no robust estimate, as a queue takes the sum of its batches: one that seldom takes long makes
    others wait, too. Until batches were measured, they take no time. Not thread-safe.
    """

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.a = 0.0
        self.k = 0.0
        self.deviation = 0.0  # mean relative one
        # Sums over the batches: 1, b, b * b, time, b * time, relative deviation.
        self._n = self._b = self._bb = self._y = self._by = self._d = 0.0

    def mean(self, count: int) -> float:
        """Expected time (ns) of a batch of `count` items."""
        return self.a + self.k * count

    def margin(self, count: int, batches: float = 1.0) -> float:
        """Time (ns) by which so many batches of `count` items one after the other are hardly ever later than expected.

        Deviations of several batches partly cancel each other.
        """
        return _SAFE_DEVIATIONS * self.deviation * self.mean(count) * sqrt(batches)

    def add(self, count: int, took: int) -> None:
        """Learn from a batch of `count` items that took `took` ns (> 0)."""
        expected = self.mean(count)
        if self._n < _FIRST and took * _FAR < expected:
            self._clear()
            expected = 0.0
        if expected:
            took = min(took, round(expected * _FAR))
            self._d = self._d * _KEEP + abs(took - expected) / expected
        self._n = self._n * _KEEP + 1.0
        self._b = self._b * _KEEP + count
        self._bb = self._bb * _KEEP + count * count
        self._y = self._y * _KEEP + took
        self._by = self._by * _KEEP + count * took
        self._fit()

    def _fit(self) -> None:
        """The least squares of the sums, with the prior that half the time is fixed."""
        n = self._n * (1 + _PRIOR)
        y = self._y * (1 + _PRIOR / 2)
        self.deviation = self._d / self._n
        # Where a or k is at its bound, the other one alone fits best.
        self.a = max(0.0, (self._bb * y - self._b * self._by) / (n * self._bb - self._b * self._b))
        self.k = max(0.0, (self._by - self.a * self._b) / self._bb)
        if self.k == 0.0:
            self.a = self._y / self._n
