"""When a request that comes now would be answered, and whether that is in time. Pure: numbers in, numbers out."""

from __future__ import annotations

from dataclasses import dataclass

from framepace.serving.durations import Durations
from framepace.units import NS_PER_MS

_GAIN = 1 / 16  # share of a new observation in the running means
_SAFE_DEVIATIONS = 4  # mean deviations kept in hand, as retransmission timers do (Jacobson 1988; RFC 6298)
_HALF_LIFE_NS = 100 * NS_PER_MS  # of what is known, while nothing is observed


class WayBack:
    """How long answers wait until they are sent: for the event loop, which may be late on a busy machine."""

    def __init__(self) -> None:
        self._mean = 0.0
        self._deviation = 0.0
        self._added_at = 0

    def add(self, ns: int, now: int) -> None:
        """An answer waited so long (ns)."""
        self._deviation += (abs(ns - self._mean) - self._deviation) * _GAIN
        self._mean += (ns - self._mean) * _GAIN
        self._added_at = now

    def limit(self, now: int) -> int:
        """How long one hardly ever waits (ns); what was seen long ago counts less, or a slow moment would last."""
        age = max(0, now - self._added_at) / _HALF_LIFE_NS
        return round((self._mean + _SAFE_DEVIATIONS * self._deviation) / 2 ** min(age, 60.0))


@dataclass(frozen=True)
class Queue:
    """What a new request finds.

    Attributes:
        ahead: items that go before it.
        flying: batches that run.
        free: when the first of them is expected to end (ns).
        workers: batches that run side by side at most.
        size: items in one batch at most.
    """

    ahead: int
    flying: int
    free: int
    workers: int
    size: int


def answered_at(now: int, items: int, queue: Queue, durations: Durations) -> int:
    """When a request of `items` is hardly ever answered later than (ns).

    The items ahead of it go in full batches, `workers` of them side by side. Its own is counted as full, too, where it
    has to wait: others join it meanwhile. While nothing was measured, all takes no time.
    """
    begins = now
    if queue.flying >= queue.workers:
        begins = max(now, queue.free)
    batches = -(-(queue.ahead + items) // queue.size)
    together = items
    if queue.ahead or queue.flying >= queue.workers:
        together = queue.size
    before = (batches - 1) / queue.workers
    expected = before * durations.mean(queue.size) + durations.mean(min(together, queue.size))
    return begins + round(expected + durations.margin(queue.size, 1 + before))
