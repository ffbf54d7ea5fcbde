"""What a reader of the results should know of a video: an uneven rate, more than preparation can show."""

from __future__ import annotations

from typing import Any

RATE_VARIES = "its rate varies"
_BITS = 8  # of a channel that preparation reads
_HDR = {16: "PQ", 18: "HLG"}  # transfer characteristics (ITU-T H.273) of high dynamic range


def about_format(frame: Any, transfer: int) -> str:
    """A sentence on pictures that preparation narrows, '' where it does not.

    Args:
        frame: an av.VideoFrame.
        transfer: the transfer characteristics of its stream.
    """
    format = getattr(frame, "sw_format", None) or frame.format  # of a picture on a device: what it is there
    bits = max((component.bits for component in format.components), default=_BITS)
    name = _HDR.get(transfer)
    if name is not None:
        return f"it is HDR ({name}): its {bits} bits are narrowed to {_BITS}, and its brightness is taken as it stands"
    if bits > _BITS:
        return f"its {bits} bits per channel are narrowed to {_BITS}"
    return ""


class Evenness:
    """Whether pictures that are read one after the other come at a steady rate by their times."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._shortest = float("inf")
        self._longest = 0.0

    def add(self, time_s: float) -> str:
        """Note the time of a picture; a sentence when it is the first to show that the rate varies, else ''."""
        last = self._last
        self._last = time_s
        if last is None or time_s <= last or self._shortest <= time_s - last <= self._longest:
            return ""  # nothing new: nearly every picture
        was_even = self._is_even()
        self._shortest = min(self._shortest, time_s - last)
        self._longest = max(self._longest, time_s - last)
        if was_even and not self._is_even():
            times = f"{self._shortest * 1000:.3g} and {self._longest * 1000:,.4g} ms"
            return f"{RATE_VARIES}: {times} between pictures; only --load file plays it by its own times"
        return ""

    def _is_even(self) -> bool:
        # Times are whole ticks, of up to 1 ms in some containers.
        return self._longest <= self._shortest * 1.5 + 0.002
