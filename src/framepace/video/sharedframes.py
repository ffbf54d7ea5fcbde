"""Pictures in shared memory: written once by the process that decodes, read by every process that runs a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.video.prepare import as_rgb

_LINE = 64  # bytes: pictures begin at cache lines


@dataclass(frozen=True)
class Shared:
    """Where a picture is: an array of `dtype` and `shape`, or, with a pixel format of FFmpeg, a frame (height, width).

    `planes` are (rows, bytes a row), one after the other; `colours` the colour space and range of a frame.
    """

    memory: str
    offset: int
    shape: tuple[int, ...]
    dtype: str = "u1"
    pixels: str | None = None
    planes: tuple[tuple[int, int], ...] = ()
    colours: tuple[int, int] = (0, 0)


class Writer:
    """One block of shared memory for the pictures of a batch, larger when a larger batch comes. `close` unlinks it."""

    def __init__(self) -> None:
        self._memory: SharedMemory | None = None

    def put(self, pictures: Sequence[Any]) -> list[Shared]:
        """Copy `pictures` (av.VideoFrame, or uint8 height x width x 3) over those of before; where they are."""
        plain = [_plain(picture) for picture in pictures]
        parts = [_parts(picture) for picture in plain]
        starts = np.cumsum([0, *(_rounded(sum(part.nbytes for part in each)) for each in parts)]).tolist()
        memory = self._room(starts[-1])
        for each, at in zip(parts, starts, strict=False):
            for part in each:
                np.ndarray(part.shape, part.dtype, memory.buf, at)[...] = part
                at += part.nbytes
        return [_described(memory.name, *given) for given in zip(starts, plain, parts, strict=False)]

    def close(self) -> None:
        """Give the memory back to the system. Idempotent."""
        if self._memory is not None:
            self._memory.close()
            self._memory.unlink()
            self._memory = None

    def _room(self, size: int) -> SharedMemory:
        if self._memory is None or self._memory.size < size:
            self.close()
            self._memory = SharedMemory(create=True, size=max(size, _LINE))
        return self._memory


class Reader:
    """Reads what a Writer of another process put; a picture is valid until the next ones are put."""

    def __init__(self) -> None:
        self._memory: SharedMemory | None = None
        self._frames: dict[tuple[Any, ...], Any] = {}

    def get(self, places: Sequence[Shared]) -> list[Any]:
        """The pictures: arrays are seen in place, decoded frames copied into frames of this process."""
        return [self._picture(number, place) for number, place in enumerate(places)]

    def close(self) -> None:
        """Leave the memory. Idempotent."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None

    def _picture(self, number: int, place: Shared) -> Any:
        if self._memory is None or self._memory.name != place.memory:
            self.close()
            self._memory = SharedMemory(place.memory)
        buffer: Any = self._memory.buf
        if place.pixels is None:
            return np.ndarray(place.shape, place.dtype, buffer, place.offset)
        frame, at = self._frame(number, place, place.pixels), place.offset
        for plane, (rows, row) in zip(frame.planes, place.planes, strict=True):
            into = np.frombuffer(plane, np.uint8).reshape(rows, -1)
            width = min(row, into.shape[1])  # each allocator pads its rows as it likes
            into[:, :width] = np.ndarray((rows, row), np.uint8, buffer, at)[:, :width]
            at += rows * row
        return frame

    def _frame(self, number: int, place: Shared, pixels: str) -> Any:
        """A frame to copy into, made once for each place in the batch."""
        key = (number, pixels, place.shape)
        if key not in self._frames:
            self._frames[key] = _empty(pixels, *place.shape)
        frame = self._frames[key]
        frame.colorspace, frame.color_range = place.colours
        return frame


def _empty(pixels: str, height: int, width: int) -> Any:
    """A frame whose chroma lies where decoders of video say, on the left: swscale heeds that, PyAV does not tell it."""
    import av.filter

    frame = av.VideoFrame(width, height, pixels)
    if not pixels.startswith("yuv4"):  # RGB has none, JPEG's (yuvj) is in the centre
        return frame
    graph: Any = av.filter.Graph()
    source = graph.add_buffer(width=width, height=height, format=pixels, time_base=Fraction(1, 1000))
    left, sink = graph.add("setparams", "chroma_location=left"), graph.add("buffersink")
    source.link_to(left)
    left.link_to(sink)
    graph.configure()
    graph.push(frame)
    return graph.pull()


def _plain(picture: Any) -> Any:
    """The picture, or, where its rows lie backwards (a flipped frame), its pixels."""
    if isinstance(picture, np.ndarray):
        return picture
    return picture if all(plane.line_size > 0 for plane in picture.planes) else as_rgb(picture)


def _parts(picture: Any) -> list[NDArray[Any]]:
    """The picture's memory: the array, or the planes as arrays (rows, bytes a row)."""
    if isinstance(picture, np.ndarray):
        return [picture]
    return [np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size) for plane in picture.planes]


def _described(name: str, start: int, picture: Any, parts: list[NDArray[Any]]) -> Shared:
    if isinstance(picture, np.ndarray):
        return Shared(name, start, picture.shape, picture.dtype.str)
    planes = tuple((part.shape[0], part.shape[1]) for part in parts)
    colours = int(picture.colorspace), int(picture.color_range)
    return Shared(name, start, (picture.height, picture.width), "u1", picture.format.name, planes, colours)


def _rounded(size: int) -> int:
    return -(-size // _LINE) * _LINE
