"""Which frames go into one inference, and how long the oldest waits for others. Pure: numbers in, numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from framepace.feeds.batchcosts import BatchCosts

NEVER = 1 << 62  # later than any time


@dataclass(frozen=True)
class BatchRule:
    """At most `size` frames; the oldest waits no longer than `window` ns, nor past its deadline less `cost` ns.

    `budget` is the time from due to deadline in ns (None: no deadline); `cost` the measured duration of the batch.
    """

    size: int
    window: int = 0
    budget: int | None = None
    cost: int = 0

    def closes_at(self, oldest_due: int) -> int:
        """When a batch whose oldest frame was due at `oldest_due` stops waiting (ns)."""
        closes = oldest_due + self.window
        if self.budget is not None:
            closes = min(closes, oldest_due + self.budget - self.cost)
        return max(closes, oldest_due)

    def waits_until(self, now: int, oldest_due: int, count: int) -> int | None:
        """The time (ns) until which a batch of `count` frames waits for the next; None: take it as it is.

        A batch that is full, or whose oldest frame has waited long enough, is taken; a frame that is there already
        joins without waiting, so the caller adds what is due before it asks.
        """
        if count >= self.size:
            return None
        closes = self.closes_at(oldest_due)
        if now >= closes:
            return None
        return closes


@dataclass(frozen=True)
class DeadlineRule:
    """At most `size` frames, each to be delivered `budget` ns after it was due; batches of `sizes` are preferred.

    A batch grows while others keep the device busy and a larger one is worth more than one beside them, for as long as
    no deadline is missed by that. With none in flight nothing is gained by waiting.
    """

    size: int
    budget: int
    sizes: tuple[int, ...] = ()

    def waits_until(self, now: int, dues: Sequence[int], costs: BatchCosts, flying: int, free: int) -> int | None:
        """The time (ns) until which the frames wait, unless a batch ends before; None: take them now.

        They do not wait where one of them would be on time if it went now, beside the `flying` batches, and late if it
        waited until one of those ends (expected at `free`, ns); nor where the budget is under the cost of one frame.
        Until when: the oldest deadline that waiting can meet, less the cost of the batch with one frame more.

        Args:
            dues: when the waiting frames were due (ns).
        """
        count = len(dues)
        if not flying or not self._may_grow(count, costs):
            return None
        # A frame due before `late_if_waiting` misses its deadline by waiting, one due from `on_time_now` on can go now.
        after = costs.limit(count + 1, flying - 1) - self.budget
        late_if_waiting = max(now, free) + after
        on_time_now = now + costs.limit(count, flying) - self.budget
        if any(on_time_now <= due <= late_if_waiting for due in dues):
            return None
        return min((due for due in dues if due > late_if_waiting), default=NEVER) - after

    def takes(self, now: int, dues: Sequence[int], costs: BatchCosts, flying: int) -> int:
        """How many of the waiting frames are taken; `dues` (ns) in the order in which they go.

        So many that the fewest miss their deadlines, the others being the next batch; then the largest preferred size,
        then the largest.
        """
        dues = dues[: self.size]
        largest = len(dues)
        preferred = {size for size in self.sizes if size <= largest}
        fitting = self._fits(dues[0] + self.budget - now, largest, costs, flying)
        if not preferred and fitting == largest:
            return largest
        choices = {largest, fitting, *preferred}
        missed = {size: self._missed(now, dues, size, costs, flying) for size in choices}
        return min(missed, key=lambda size: (missed[size], size not in preferred, -size))

    def _may_grow(self, count: int, costs: BatchCosts) -> bool:
        return count < self.full and costs.grows(count) and self.budget >= costs.limit(1)

    @property
    def full(self) -> int:
        """The count at which a batch no longer waits."""
        return max(self.sizes, default=self.size)

    def late(self, now: int, costs: BatchCosts, flying: int) -> int:
        """Frames that were due before this time (ns) can no longer be on time."""
        return now + costs.limit(1, flying) - self.budget

    def _fits(self, time: int, largest: int, costs: BatchCosts, flying: int) -> int:
        """The most frames whose batch takes no longer than `time` (ns), from 1 to `largest`."""
        fits = largest
        while fits > 1 and costs.cost(fits, flying) > time:
            fits -= 1
        return fits

    def _missed(self, now: int, dues: Sequence[int], size: int, costs: BatchCosts, flying: int) -> int:
        """How many miss their deadlines when `size` of them go now and the others after them."""
        first = now - self.budget + costs.cost(size, flying)
        second = first + costs.cost(len(dues) - size, flying)
        return sum(due < first for due in dues[:size]) + sum(due < second for due in dues[size:])
