"""A limit of time, on a clock and on the system's."""

from __future__ import annotations

import math

from framepace.clock.system import Clock, SystemClock
from framepace.units import NS_PER_S

_LEAST_PACE_S = 1.0  # on the clock, before which loading says nothing of how slowly it goes


class TimeLimit:
    """Counts time from its making, against a limit on `clock` and one on the system's clock; seconds.

    Args:
        limit_s: infinity: no limit.
        wall_limit_s: on the system's clock; infinity: no limit.
    """

    def __init__(self, clock: Clock, limit_s: float, wall_limit_s: float) -> None:
        self._clock = clock
        self._limit = limit_s
        self._began = clock.now()
        self._wall_limit = wall_limit_s
        self._wall_clock = SystemClock()
        self._wall_began = self._wall_clock.now()

    @property
    def spent(self) -> float:
        """Seconds on the clock so far."""
        return (self._clock.now() - self._began) / NS_PER_S

    @property
    def remaining(self) -> float:
        """Seconds until the limit, on the clock.

        Of a limit on the system's clock as many as will fit, if the clock goes on as slowly as it did so far.
        """
        seconds = self._limit - self.spent
        if self._wall_limit < math.inf:
            seconds = min(seconds, self._remaining_of_wall_time())
        return max(0.0, seconds)

    def missing(self, seconds: float) -> float:
        """Seconds by which the limit is too short for so many more on the clock."""
        missing = seconds - (self._limit - self.spent)
        if self._wall_limit < math.inf:
            missing = max(missing, seconds * self._pace - (self._wall_limit - self._wall_spent()))
        return max(0.0, missing)

    @property
    def share(self) -> float:
        """The share of the limit that is used, 0 to 1."""
        if self._limit <= 0:
            return 1.0
        return min(1.0, max(self.spent / self._limit, self._wall_spent() / self._wall_limit))

    def _remaining_of_wall_time(self) -> float:
        """Seconds on the clock that fit into what remains on the system's."""
        return (self._wall_limit - self._wall_spent()) / self._pace

    @property
    def _pace(self) -> float:
        """Seconds on the system's clock for each on the clock, so far."""
        return max(1.0, self._wall_spent() / max(self.spent, _LEAST_PACE_S))

    def _wall_spent(self) -> float:
        return (self._wall_clock.now() - self._wall_began) / NS_PER_S
