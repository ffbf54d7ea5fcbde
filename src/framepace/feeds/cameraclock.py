"""When pictures of a live source were due: by its own timestamps, laid on this machine's clock."""

from __future__ import annotations

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
    """

    def __init__(self) -> None:
        self._offset: int | None = None
        self._last = 0

    def due(self, picture: Any, now: int) -> int:
        """When `picture`, which arrived at `now` (ns), was due; `now` itself where it has no timestamp."""
        seconds = getattr(newest(picture), "time", None)  # of PyAV's frames; other pictures have none
        if not isinstance(seconds, float) or not isfinite(seconds):
            return now
        stamp = round(seconds * NS_PER_S)
        offset = now - stamp
        if self._offset is None or not -_JUMP_NS < stamp - self._last < _JUMP_NS or stamp < self._last:
            self._offset = offset
            self._last = stamp
        drifted = self._offset + round((stamp - self._last) * _DRIFT)
        self._last = stamp
        self._offset = min(drifted, offset)
        return stamp + self._offset
