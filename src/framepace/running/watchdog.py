"""When a worker counts as hung, and when an engine that ended is started again. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from framepace.units import NS_PER_S

PATIENCE_S = 10.0  # what takes less is never taken for a hang
_TIMES = 20  # as long as the slowest so far
_PAUSE_NS = 2 * NS_PER_S  # between two looks, of which there are several per second
_MOST_IN_A_ROW = 5
_LONGEST_PAUSE_S = 30
_CALM_NS = 600 * NS_PER_S  # without a failure, after which those before are forgotten


def hangs(longest: int, slowest: int, patience_s: float = PATIENCE_S) -> bool:
    """Whether frames that have been with a worker for `longest` ns never come back; `slowest` took that long so far."""
    return longest > max(patience_s * NS_PER_S, _TIMES * slowest)


@dataclass
class Awake:
    """For how long this process has run without a pause: where it was stopped, or its machine slept, nobody returned.

    It is asked several times per second, and knows a pause from the time since it was asked before.
    """

    _since: int = 0
    _asked: int | None = None

    def ns(self, now: int) -> int:
        """So long at `now` (ns), at most since it was first asked."""
        if self._asked is None or now - self._asked > _PAUSE_NS:
            self._since = now
        self._asked = now
        return now - self._since


@dataclass
class Restarts:
    """How often an engine was started again, and when it may be the next time.

    Attributes:
        count: how often in all.
    """

    count: int = 0
    _in_a_row: int = 0
    _last: int | None = None

    def after(self, now: int) -> float | None:
        """Seconds to wait before the next start after an end at `now` (ns); None: it is useless."""
        if self._last is not None and now - self._last > _CALM_NS:
            self._in_a_row = 0
        self._last = now
        self._in_a_row += 1
        if self._in_a_row > _MOST_IN_A_ROW:
            return None
        self.count += 1
        return float(min(_LONGEST_PAUSE_S, (1 << self._in_a_row) // 2 - 1))
