"""When a place is too hot for what was put into it, and how much less it carries then. Pure.

A prediction may be wrong, and a device may be throttled: what is seen corrects what was measured.
"""

from __future__ import annotations

from dataclasses import dataclass

_HOT_S = 5.0  # in a row, after which a place counts as hot
_LOST = 0.01  # share of the frames that may be lost for want of time
_LESS = 0.9  # of the share at which it was hot, a place is taken to carry
_LEAST = 0.05
_SETTLING_S = 15.0  # after a change, before a place is judged again
_CALM_S = 120.0  # without heat, after which a place is taken to carry a little more
_MORE = 1.1


@dataclass(frozen=True)
class Seen:
    """What a place did in the last second.

    Attributes:
        p99_ms: the median over its cameras of the p99 of their results' ages; None without results.
        lost: share of its pictures that were lost for want of time.
    """

    p99_ms: float | None = None
    lost: float = 0.0

    def is_hot(self, target_ms: float | None) -> bool:
        """Whether results come late, or pictures are lost."""
        late = target_ms is not None and self.p99_ms is not None and self.p99_ms > target_ms
        return late or self.lost > _LOST


class Heat:
    """Follows one place: `factor` is how much of its measured capacity it carries, 0 to 1.

    Args:
        now: when it began (s).
    """

    def __init__(self, now: float, target_ms: float | None) -> None:
        self.factor = 1.0
        self._target_ms = target_ms
        self._hot_since: float | None = None
        self._settled_at = now + _SETTLING_S
        self._calm_since = now

    def look(self, now: float, share: float, second: Seen) -> bool:
        """Judge a second of it, at a share of its measured capacity; whether `factor` became less."""
        if now < self._settled_at:
            return False
        if not second.is_hot(self._target_ms):
            self._cool(now)
            return False
        self._calm_since = now
        if self._hot_since is None:
            self._hot_since = now
        if now - self._hot_since < _HOT_S or share <= 0:
            return False
        self.settle(now)
        carries = max(_LEAST, share * _LESS)
        if carries >= self.factor:  # nothing could be moved since: it is as hot as it was
            return False
        self.factor = carries
        return True

    def settle(self, now: float) -> None:
        """Cameras came or went: what is seen next says nothing yet."""
        self._hot_since = None
        self._settled_at = now + _SETTLING_S

    def _cool(self, now: float) -> None:
        self._hot_since = None
        if now - self._calm_since >= _CALM_S:
            self.factor = min(1.0, self.factor * _MORE)
            self._calm_since = now
