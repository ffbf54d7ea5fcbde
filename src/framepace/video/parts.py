"""Parts of pictures: what lies in a box, as a picture of its own, without a copy or a conversion of the whole."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, floor, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.video.history import newest, sides
from framepace.video.prepare import as_rgb

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; the last two are beyond the part."""

_LEAST_SIDE = 2  # pixels; swscale makes nothing of less
# Of formats whose planes are cut as they are: how many pixels a pixel of each plane covers, across and down.
_PLANES = {
    "yuv420p": ((1, 1), (2, 2), (2, 2)),
    "yuvj420p": ((1, 1), (2, 2), (2, 2)),
    "yuv422p": ((1, 1), (2, 1), (2, 1)),
    "yuvj422p": ((1, 1), (2, 1), (2, 1)),
    "yuv444p": ((1, 1), (1, 1), (1, 1)),
    "yuvj444p": ((1, 1), (1, 1), (1, 1)),
}


class Cutter:
    """Cuts boxes out of one picture (an av.VideoFrame, or uint8 RGB [height, width, 3]; of a moment the newest)."""

    def __init__(self, picture: Any) -> None:
        self._picture = newest(picture)
        self._height, self._width = sides(picture)
        self._steps = _PLANES.get(_format(self._picture))
        self._rgb: NDArray[np.uint8] | None = None

    def box(self, box: Iterable[float]) -> Box | None:
        """The whole pixels of a box, as they are cut: within the picture, from a pixel that all planes have.

        None where fewer than two pixels are left in a direction, or a number is not finite.
        """
        left, top, right, bottom = map(float, box)
        if not all(map(isfinite, (left, top, right, bottom))):
            return None
        across, down = (1, 1) if self._steps is None else self._steps[-1]
        columns = _whole(left, right, self._width, across)
        rows = _whole(top, bottom, self._height, down)
        if columns is None or rows is None:
            return None
        return columns[0], rows[0], columns[1], rows[1]

    @property
    def whole(self) -> Box:
        """The box around the whole picture."""
        return 0, 0, self._width, self._height

    def cut(self, box: Box) -> Any:
        """The picture in a box that `box` gave."""
        if box == self.whole:
            return self._picture
        if self._steps is not None:
            return self._planes(box, self._steps)
        if self._rgb is None:
            self._rgb = as_rgb(self._picture)
        left, top, right, bottom = box
        return self._rgb[top:bottom, left:right]

    def _planes(self, box: Box, steps: Iterable[tuple[int, int]]) -> Any:
        from av import VideoFrame

        left, top, right, bottom = box
        part = VideoFrame(right - left, bottom - top, self._picture.format.name)
        part.colorspace = self._picture.colorspace
        part.color_range = self._picture.color_range
        for source, target, (across, down) in zip(self._picture.planes, part.planes, steps, strict=True):
            pixels = _pixels(target)
            height, width = pixels.shape
            pixels[...] = _pixels(source)[top // down :, left // across :][:height, :width]
        return part


def _whole(first: float, end: float, length: int, step: int) -> tuple[int, int] | None:
    """The pixels from one edge to the other, from a multiple of `step` on; None where there are next to none."""
    low = max(0, floor(first)) // step * step
    high = min(length, ceil(end))
    return (low, high) if high - low >= _LEAST_SIDE else None


def _format(picture: Any) -> str:
    """The pixel format of an av.VideoFrame in memory; '' of anything else."""
    format = getattr(picture, "format", None)
    return getattr(format, "name", "") if hasattr(picture, "planes") else ""


def _pixels(plane: Any) -> NDArray[np.uint8]:
    """A plane as an array over its own memory; its lines may be longer than its width."""
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
