"""When pictures of a live source were due: by its own timestamps, laid on this machine's clock."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any

from framepace.units import NS_PER_S
from framepace.video.history import newest

_JUMP_NS = 10 * NS_PER_S  # from one picture to the next: the source began anew
_DRIFT = 500e-6  # by which a camera's clock may run slower than this machine's; good quartz keeps within 100e-6


class CameraClock:
    """Lays the timestamps of one source on the clock of arrivals: no picture came before it was taken.

    The picture that came soonest after its timestamp counts as in time; what others came later is lag. So pictures that
    wait in sockets and buffers, because they are read too slowly, are late from when they were taken. A camera whose
    clock runs a little slow, for weeks, is followed: what is in time may come later by 0.5 ms per second.

    What is in time is asked anew of every connection, though its timestamps may go on: when one ends, FFmpeg hands out
    the pictures that it held back for their successors, at once. They are early by as many periods (two of MPEG-TS),
    and all pictures of the next connection would seem late by that.

    Args:
        connection: the number of the connection that the pictures come from now.
    """

    def __init__(self, connection: Callable[[], int] = lambda: 0) -> None:
        self._connection = connection
        self._of: int | None = None  # the connection that the offset is of
        self._offset = 0
        self._last = 0

    def due(self, picture: Any, now: int) -> int:
        """When `picture`, which arrived at `now` (ns), was due; `now` itself where it has no timestamp."""
        seconds = getattr(newest(picture), "time", None)  # of PyAV's frames; other pictures have none
        if not isinstance(seconds, float) or not isfinite(seconds):
            return now
        stamp = round(seconds * NS_PER_S)
        offset = now - stamp
        connection = self._connection()
        if self._of != connection or not 0 <= stamp - self._last < _JUMP_NS:
            self._of = connection
            self._offset = offset
            self._last = stamp
        drifted = self._offset + round((stamp - self._last) * _DRIFT)
        self._last = stamp
        self._offset = min(drifted, offset)
        return stamp + self._offset
