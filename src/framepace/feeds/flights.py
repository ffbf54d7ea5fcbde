"""The batches in flight: what each will take, and what batches cost, learnt as they are delivered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from framepace.feeds.batchcosts import BatchCosts
from framepace.video.frame import Frame


class _Flight(NamedTuple):
    """A batch that was taken and is not delivered yet; times in ns, `overlap` is that of the run when it was taken."""

    size: int
    began: int
    ends: int
    overlap: float


class Flights:
    """Batches that were taken and are not delivered yet. Callers hold one lock around all calls."""

    def __init__(self, costs: BatchCosts | None = None) -> None:
        self.costs = costs or BatchCosts()
        self._flights: dict[int, _Flight] = {}  # by the number of the first frame
        self._overlap = 0.0  # integral of (n - 1) / n over the run, n batches being in flight (ns)
        self._counted_to = 0
        self._most = 1  # that ever flew at once

    def __len__(self) -> int:
        return len(self._flights)

    def first_end(self, now: int) -> int:
        """When the first of them is expected to end (ns); `now` where none flies."""
        return min((flight.ends for flight in self._flights.values()), default=now)

    def take_off(self, now: int, frames: Sequence[Frame]) -> None:
        """The batch is in flight from now on."""
        self._count_overlap(now)
        ends = now + self.costs.cost(len(frames), len(self._flights))
        self._flights[frames[0].number] = _Flight(len(frames), now, ends, self._overlap)
        self._most = max(self._most, len(self._flights))

    def land(self, frames: Sequence[Frame], now: int, failed: bool) -> int:
        """The batch that begins with the first of `frames` was delivered at `now` (ns), or failed; how long it took."""
        self._count_overlap(now)
        flight = self._flights.pop(frames[0].number, None)
        if flight is None:
            return 0
        took = now - flight.began
        if took > 0 and not failed:
            # A stamp may be older than those of threads that came in between: what began after it does not count.
            most = took * (self._most - 1) / self._most
            self.costs.add(flight.size, took, min(self._overlap - flight.overlap, most))
        return took

    def _count_overlap(self, now: int) -> None:
        """Add the time in which several were in flight, up to now."""
        flying = len(self._flights)
        if flying > 1 and now > self._counted_to:
            self._overlap += (now - self._counted_to) * (flying - 1) / flying
        self._counted_to = max(now, self._counted_to)
