"""A time by which a search ends: it ends between two runs of a network, and what there is by then is kept."""

from __future__ import annotations

from dataclasses import dataclass

from framepace.clock.system import Clock
from framepace.units import NS_PER_S


class TimeIsUp(Exception):
    """The time of a search is up."""


@dataclass(frozen=True)
class Deadline:
    """A time by which something ends."""

    clock: Clock
    began_ns: int
    end_ns: int

    def check(self) -> None:
        """Raise TimeIsUp when it is."""
        if self.clock.now() > self.end_ns:
            raise TimeIsUp

    @property
    def half(self) -> Deadline:
        """The half of it, for a first step that must leave time for the next."""
        return Deadline(self.clock, self.began_ns, (self.began_ns + self.end_ns) // 2)


def deadline_in(seconds: float, clock: Clock) -> Deadline:
    """The time so many seconds from now."""
    now = clock.now()
    return Deadline(clock, now, now + round(seconds * NS_PER_S))
