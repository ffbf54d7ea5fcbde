"""How long to wait before what failed is tried again."""

from __future__ import annotations

import random
from collections.abc import Callable

from framepace.clock.system import Clock
from framepace.units import NS_PER_MS, NS_PER_S

_LONGEST_S = 30
_NAP_NS = 500 * NS_PER_MS  # how soon one who waits sees that it is over


class Backoff:
    """Waits of 1, 2, 4, ... 30 s.

    Args:
        spread: share of each wait that is left to chance, so that many which failed together do not come back together.
        chance: between 0 and 1.
    """

    def __init__(self, spread: float = 0.0, chance: Callable[[], float] = random.random) -> None:
        self._spread = spread
        self._chance = chance
        self._failures = 0

    def next_s(self) -> float:
        """Seconds to wait before the next attempt."""
        longest = min(_LONGEST_S, 1 << min(self._failures, 5))
        self._failures += 1
        return longest * (1 - self._spread * self._chance())

    def reset(self) -> None:
        """Something succeeded: the waits begin anew."""
        self._failures = 0


def wait_unless(over: Callable[[], bool], clock: Clock, until: int) -> bool:
    """Pass the time until `until` (ns); false as soon as it is `over`."""
    while not over() and (now := clock.now()) < until:
        clock.sleep_until(min(until, now + _NAP_NS))
    return not over()


def pause(over: Callable[[], bool], clock: Clock, seconds: float) -> bool:
    """Pass so many seconds; false as soon as it is `over`."""
    return wait_unless(over, clock, clock.now() + round(seconds * NS_PER_S))
