"""What batches cost, learnt while they run. Pure: numbers in, numbers out."""

from __future__ import annotations

_KEEP = 1 - 1 / 256  # what an observation still counts one batch later
_FIRST = 8  # batches that run alone, where they can, before any are tried side by side
_ALONE = 0.05  # share of a batch's time in which others may be in flight, and it still counts as alone
_WORTH = 0.10  # growth of frames/s that makes something worth it
_GAIN = 1 / 16  # share of a new deviation in the running mean of them
_ROBUST = 1.345 * 1.25  # Huber's limit in mean deviations: 1.345 robust ones, a robust one being 1.25 mean ones
_PRIOR = 1e-3  # weight of the prior against all that was measured
_SAFE = 4.0  # mean deviations kept in hand, as retransmission timers do (Jacobson 1988; RFC 6298)


class BatchCosts:
    """What a batch of b frames takes, t(b) = a + b * k in ns, learnt from batches as they are delivered.

    Least squares of relative residuals with Huber's weights (Huber 1964), one batch at a time, old ones counting less. Where only one size was seen, half its cost is taken as
    fixed. `residual` is the mean relative deviation from the line. `sharing` tells what batches side by side gain: 0
    where the device runs n of them in the time of one, 1 where they take as long as one after the other. It falls
    slowly while none run so, and then they are tried again.

    Before anything was measured, or given, a batch is said to cost nothing. Not thread-safe; 2 us a batch.
    """

    def __init__(self, a: float = 0.0, k: float = 0.0, residual: float = 0.0, sharing: float = 1.0) -> None:
        self.a, self.k, self.residual, self.sharing = a, k, residual, sharing
        # Sums over the batches, each with its weight over the square of its cost: 1, b, b * b, cost, b * cost.
        self._n = self._nb = self._bb = self._ny = self._by = 0.0
        # Of batches beside others: the time for which they were, what it cost them, and their level against the line.
        self._overlap, self._lost, self._level = 0.0, 0.0, 1.0
        self._seen = 0
        if a + k > 0:
            self._overlap, self._lost = 100 * (a + k), 100 * (a + k) * sharing
            for count in (1, 8) * _FIRST:
                self._sum(count, a + k * count, 1.0)
            self._seen = _FIRST

    def cost(self, count: int, flying: int = 0) -> int:
        """Expected time (ns) of a batch of `count` frames with `flying` others in flight all the while."""
        n = flying + 1
        return round((self.a + self.k * count) * n / (n - self.sharing * flying))

    def limit(self, count: int, flying: int = 0) -> int:
        """Time (ns) that such a batch hardly ever exceeds: its cost and four mean deviations."""
        return round(self.cost(count, flying) * (1 + _SAFE * self.residual))

    def grows(self, count: int) -> bool:
        """Whether a batch of `count` frames is better left to grow than run beside another.

        It is where that would give less than a tenth more frames/s than one after the other, or one of twice the size a
        tenth more than two side by side; also while little is known: the first batches run alone.
        """
        beside = (2 - self.sharing) * (self.a + self.k * 2 * count)
        worth = 2 * (self.a + self.k * count) >= (1 + _WORTH) * beside
        return worth or self.sharing > 1 - _WORTH or self._seen < _FIRST

    def add(self, count: int, cost: float, overlap: float = 0.0) -> None:
        """Learn from a batch of `count` frames that took `cost` ns (> 0).

        `overlap` is the integral of (n - 1) / n over its time, n being the batches in flight, itself included (ns):
        with n all the while, and nothing gained by it, a batch takes n times its own time, and all overlap is lost.
        """
        expected, weight = self.a + self.k * count, 1.0
        if overlap > _ALONE * cost:
            if not expected:
                return
            weight = (1 - overlap / cost) ** 3
            cost = self._beside(expected, cost, overlap)
        self._seen += 1
        self._overlap, self._lost = self._overlap * _KEEP, self._lost * _KEEP
        self.sharing = min(1.0, max(0.0, self._lost / (self._overlap + cost)))
        if expected > 0:
            off = abs(expected - cost) / cost
            limit = _ROBUST * self.residual + 1e-3
            self.residual += (off - self.residual) * _GAIN * weight
            if off > limit:
                weight *= limit / off
        self._sum(count, cost, weight)
        self._fit()

    def _beside(self, expected: float, cost: float, overlap: float) -> float:
        """What a batch beside others would take alone. Their level says nothing of the line: only their sizes do."""
        self._overlap += overlap
        self._lost += min(cost - expected, overlap)
        own = cost - self.sharing * min(overlap, 0.99 * cost)
        self._level += (own / expected - self._level) * _GAIN
        return own / self._level

    def _sum(self, count: int, cost: float, weight: float) -> None:
        keep, part = 1 - weight * (1 - _KEEP), weight / (cost * cost)
        self._n = self._n * keep + part
        self._ny = self._ny * keep + part * cost
        part *= count
        self._nb = self._nb * keep + part
        self._by = self._by * keep + part * cost
        self._bb = self._bb * keep + part * count

    def _fit(self) -> None:
        n, nb, bb, ny = self._n * (1 + _PRIOR), self._nb, self._bb, self._ny * (1 + _PRIOR / 2)
        # Where a or k is at its bound, the other one alone fits best.
        self.a = a = max(0.0, (bb * ny - nb * self._by) / (n * bb - nb * nb))
        self.k = max(0.0, (self._by - a * nb) / bb)
        if self.k == 0.0:
            self.a = self._ny / self._n
