"""Which frames go into one inference, and until when the oldest waits for company. Pure: numbers in, numbers out."""

from __future__ import annotations

from dataclasses import dataclass


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
        closes = self.closes_at(oldest_due)
        return None if count >= self.size or now >= closes else closes
