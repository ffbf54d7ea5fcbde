"""What batches cost, learnt while they run. Pure: numbers in, numbers out."""

from __future__ import annotations

_KEEP = 1 - 1 / 256  # weight of an observation one batch later
_ALONE_BATCHES = 8  # batches that run alone at first, before any are tried side by side
_ALONE_SHARE = 0.05  # share of a batch's time in which others may be in flight, and it still counts as alone
_WORTHWHILE = 0.10  # smallest gain in frames/s that is worth a change
_GAIN = 1 / 16  # share of a new deviation in the running mean of them
_ROBUST = 1.345 * 1.25  # Huber's limit in mean deviations: 1.345 robust ones, a robust one being 1.25 mean ones
_PRIOR = 1e-3  # weight of the prior against all that was measured
_SAFE_DEVIATIONS = 4.0  # mean deviations kept in hand, as retransmission timers do (Jacobson 1988; RFC 6298)
_GIVEN_OVERLAP = 100  # batches side by side that a given `sharing` counts for


class BatchCosts:
    """The time of a batch of b frames, t(b) = a + k * b in ns, learnt from batches as they are delivered.

    Least squares of relative residuals with Huber's weights (Huber 1964), one batch at a time, older ones counting
    less. While only one size was seen, half its cost is taken as fixed. `residual` is the mean relative deviation from
    the line. `sharing` tells what batches side by side gain: 0 where the device runs n of them in the time of one, 1
    where they take as long as one after the other. It falls slowly while none run so, and then they are tried again.

    Until batches were measured (or a line was given), they cost nothing. Not thread-safe; 2 us per batch.
    """

    def __init__(self, a: float = 0.0, k: float = 0.0, residual: float = 0.0, sharing: float = 1.0) -> None:
        self.a = a
        self.k = k
        self.residual = residual
        self.sharing = sharing
        # Sums over the batches, each with its weight over the square of its cost: 1, b, b * b, cost, b * cost.
        self._n = self._nb = self._bb = self._ny = self._by = 0.0
        # Of batches beside others: the time for which they were, what it cost them, and their level against the line.
        self._overlap = 0.0
        self._lost = 0.0
        self._level = 1.0
        self._batches = 0
        if a + k > 0:
            self._start_from_line()

    def cost(self, count: int, flying: int = 0) -> int:
        """Expected time (ns) of a batch of `count` frames with `flying` others in flight all the while."""
        n = flying + 1
        return round((self.a + self.k * count) * n / (n - self.sharing * flying))

    def limit(self, count: int, flying: int = 0) -> int:
        """Time (ns) that such a batch hardly ever exceeds: its cost and four mean deviations."""
        return round(self.cost(count, flying) * (1 + _SAFE_DEVIATIONS * self.residual))

    def grows(self, count: int) -> bool:
        """Whether a batch of `count` frames is better left to grow than run beside another.

        It is where running it now would give less than a tenth more frames/s than one after the other, or where a batch
        of twice the size gives a tenth more than two side by side; also at the start: the first batches run alone.
        """
        if self._batches < _ALONE_BATCHES or self.sharing > 1 - _WORTHWHILE:
            return True
        side_by_side = (2 - self.sharing) * (self.a + self.k * 2 * count)
        one_by_one = 2 * (self.a + self.k * count)
        return one_by_one >= (1 + _WORTHWHILE) * side_by_side

    def add(self, count: int, cost: float, overlap: float = 0.0) -> None:
        """Learn from a batch of `count` frames that took `cost` ns (> 0).

        `overlap` is the integral of (n - 1) / n over its time, n being the batches in flight, itself included (ns):
        with n all the while, and nothing gained by it, a batch takes n times its time alone, and all overlap is lost.
        """
        expected = self.a + self.k * count
        weight = 1.0
        if overlap > _ALONE_SHARE * cost:
            if not expected:
                return
            weight = (1 - overlap / cost) ** 3
            cost = self._cost_alone(expected, cost, overlap)
        self._batches += 1
        self._overlap *= _KEEP
        self._lost *= _KEEP
        self.sharing = min(1.0, max(0.0, self._lost / (self._overlap + cost)))
        if expected > 0:
            weight *= self._outlier_weight(abs(expected - cost) / cost, weight)
        self._sum(count, cost, weight)
        self._fit()

    def _start_from_line(self) -> None:
        """Count the given line as batches that were seen."""
        self._overlap = _GIVEN_OVERLAP * (self.a + self.k)
        self._lost = self._overlap * self.sharing
        for count in (1, 8) * _ALONE_BATCHES:
            self._sum(count, self.a + self.k * count, 1.0)
        self._batches = _ALONE_BATCHES

    def _cost_alone(self, expected: float, cost: float, overlap: float) -> float:
        """The time a batch beside others would take alone. Their level says nothing about the line; their sizes do."""
        self._overlap += overlap
        self._lost += min(cost - expected, overlap)
        without_overlap = cost - self.sharing * min(overlap, 0.99 * cost)
        self._level += (without_overlap / expected - self._level) * _GAIN
        return without_overlap / self._level

    def _outlier_weight(self, deviation: float, weight: float) -> float:
        """Huber's weight of a relative deviation; the mean deviation learns from it by `weight`."""
        limit = _ROBUST * self.residual + 1e-3
        self.residual += (deviation - self.residual) * _GAIN * weight
        return min(1.0, limit / max(deviation, limit))

    def _sum(self, count: int, cost: float, weight: float) -> None:
        keep = 1 - weight * (1 - _KEEP)
        part = weight / (cost * cost)
        self._n = self._n * keep + part
        self._ny = self._ny * keep + part * cost
        part *= count
        self._nb = self._nb * keep + part
        self._by = self._by * keep + part * cost
        self._bb = self._bb * keep + part * count

    def _fit(self) -> None:
        """The weighted least squares of the sums, with the prior that half the cost is fixed."""
        nb = self._nb
        n = self._n * (1 + _PRIOR)
        ny = self._ny * (1 + _PRIOR / 2)
        # Where a or k is at its bound, the other one alone fits best.
        self.a = max(0.0, (self._bb * ny - nb * self._by) / (n * self._bb - nb * nb))
        self.k = max(0.0, (self._by - self.a * nb) / self._bb)
        if self.k == 0.0:
            self.a = self._ny / self._n
