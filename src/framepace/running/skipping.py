"""Which pictures of a source are inferred, and which of the others need not even be decoded. Pure.

Both count pictures, not time: a source whose rate changes keeps its share.
"""

from __future__ import annotations

from framepace.units import NS_PER_S
from framepace.video.choice import LeavesOut

_HELD_UP_NS = 2 * NS_PER_S
_TRIAL = 32  # pictures after which it is judged what leaving some out gives
_GROUPS = 256  # pictures after which the share of key frames is taken as seen; groups are rarely longer
_REMEMBERED = 1024
_ABOUT = 0.9  # of the pictures that are wanted; key frames are no more evenly spaced than that


class CatchingUp:
    """Whether pictures are left out before they are decoded, because those that come out are far behind, and stay so.

    What was only held up, by a network say, is made up for within a moment, and nothing of it is left out.

    Args:
        limit: so far behind a source may be (ns).
    """

    def __init__(self, limit: int = NS_PER_S) -> None:
        self.limit = limit
        self.is_on = False
        self._since: int | None = None  # when it was first further behind, without a pause

    def look(self, now: int, behind: int) -> bool:
        """Whether it is on, after a picture that came out at `now`, so far behind its time (ns)."""
        if behind <= self.limit // 4 or (behind <= self.limit and not self.is_on):
            self._since = None
            self.is_on = False
        elif self._since is None:
            self._since = now
        elif now - self._since >= _HELD_UP_NS:
            self.is_on = True
        return self.is_on


class Thinning:
    """Takes an even share of pictures: of `every` one.

    Args:
        phase: share of the step by which this source begins later than others, so that not all begin together; under 1.
    """

    def __init__(self, every: float = 1.0, phase: float = 0.0) -> None:
        self.every = every
        self._credit = max(0.0, 1 - (1 + int(phase * every)) / every)

    def takes(self) -> bool:
        """Whether the next picture is taken."""
        self._credit += 1 / self.every
        if self._credit < 1 - 1e-9:
            return False
        self._credit = max(0.0, self._credit - 1)
        return True

    def passed(self) -> None:
        """A picture went by that was not decoded."""
        self._credit = min(1.0, self._credit + 1 / self.every)


class LeavingOut:
    """What a decoder may leave out, so that no fewer pictures are left than one of `every`.

    Which pictures others refer to is only seen by trying: the decoder leaves out those that nothing refers to, and
    where too few are left it stops doing so. Key frames can be counted without trying.
    """

    def __init__(self) -> None:
        self._seen = 0
        self._keys = 0
        self._tried = 0
        self._decoded = 0
        self._share_left: float | None = None  # of pictures that something refers to

    def decoded(self, is_key: bool, level: LeavesOut) -> None:
        """A picture was decoded while the decoder left out `level`."""
        self.count(is_key)
        if level == "NONREF":
            self._try(decoded=True)

    def left_out(self, is_key: bool, level: LeavesOut) -> None:
        """A picture was left out."""
        self.count(is_key)
        if level == "NONREF":
            self._try(decoded=False)

    def level(self, every: float) -> LeavesOut:
        """What it leaves out from now on."""
        wanted = 1 / every
        if every <= 1:
            return "NONE"
        if self._seen >= _GROUPS and self._keys >= _ABOUT * wanted * self._seen:
            return "NONKEY"
        if self._share_left is None or self._share_left >= wanted:
            return "NONREF"
        return "NONE"

    def count(self, is_key: bool) -> None:
        """A picture came, of a source from which nothing is left out now."""
        self._seen += 1
        self._keys += is_key
        if self._seen >= _REMEMBERED:
            self._seen //= 2
            self._keys //= 2

    def _try(self, *, decoded: bool) -> None:
        self._tried += 1
        self._decoded += decoded
        if self._tried >= _TRIAL:
            self._share_left = self._decoded / self._tried
            self._tried = 0
            self._decoded = 0
