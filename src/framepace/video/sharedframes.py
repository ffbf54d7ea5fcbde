"""Pictures in shared memory: written once by the process that decodes, read by every process that runs a model."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.video.prepare import as_rgb
from framepace.video.sharedmemory import Block, attach, create

_LINE = 64  # bytes: pictures begin at cache lines


@dataclass(frozen=True)
class Shared:
    """Where a picture is: an array of `dtype` and `shape`, or, with a pixel format of FFmpeg, a frame (height, width).

    `planes` are (rows, bytes per row), one after the other; `colours` the colour space and range of a frame.
    """

    memory: str
    offset: int
    shape: tuple[int, ...]
    dtype: str = "u1"
    pixels: str | None = None
    planes: tuple[tuple[int, int], ...] = ()
    colours: tuple[int, int] = (0, 0)


class Writer:
    """One block of shared memory for the pictures of a batch, larger when a larger batch comes. `close` frees it."""

    def __init__(self) -> None:
        self._memory: Block | None = None

    def put(self, pictures: Sequence[Any]) -> list[Shared]:
        """Copy `pictures` (av.VideoFrame, or uint8 height x width x 3) over the previous ones; returns their places.

        Raises BackendError when there is no room for them.
        """
        readable = [_readable(picture) for picture in pictures]
        planes = [_planes(picture) for picture in readable]
        sizes = [_rounded(sum(plane.nbytes for plane in picture_planes)) for picture_planes in planes]
        *starts, end = itertools.accumulate(sizes, initial=0)
        memory = self._room(end)
        for start, picture_planes in zip(starts, planes, strict=True):
            _copy(picture_planes, memory, start)
        return [_place(memory.name, *parts) for parts in zip(starts, readable, planes, strict=True)]

    def close(self) -> None:
        """Free the memory. Idempotent."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None

    def _room(self, size: int) -> Block:
        if self._memory is None or self._memory.size < size:
            self.close()
            self._memory = create(max(size, _LINE))
        return self._memory


class Reader:
    """Reads what a Writer of another process put; a picture is valid until the next ones are put."""

    def __init__(self) -> None:
        self._memory: Block | None = None
        self._frames: dict[tuple[Any, ...], Any] = {}

    def get(self, places: Sequence[Shared]) -> list[Any]:
        """The pictures: arrays are views of the memory, decoded frames are copied into frames of this process."""
        return [self._picture(number, place) for number, place in enumerate(places)]

    def close(self) -> None:
        """Detach from the memory. Idempotent."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None

    def _attached(self, name: str) -> Any:
        """The bytes of the memory of that name."""
        if self._memory is None or self._memory.name != name:
            self.close()
            self._memory = attach(name)
        return self._memory.buf

    def _picture(self, number: int, place: Shared) -> Any:
        buffer = self._attached(place.memory)
        if place.pixels is None:
            return np.ndarray(place.shape, place.dtype, buffer, place.offset)
        frame = self._frame(number, place, place.pixels)
        start = place.offset
        for plane, (rows, row_bytes) in zip(frame.planes, place.planes, strict=True):
            _fill(plane, np.ndarray((rows, row_bytes), np.uint8, buffer, start))
            start += rows * row_bytes
        return frame

    def _frame(self, number: int, place: Shared, pixels: str) -> Any:
        """A frame to copy into, made once for each place in the batch."""
        key = (number, pixels, place.shape)
        if key not in self._frames:
            self._frames[key] = _empty(pixels, *place.shape)
        frame = self._frames[key]
        frame.colorspace, frame.color_range = place.colours
        return frame


def _copy(planes: Sequence[NDArray[Any]], memory: Block, start: int) -> None:
    """One plane after the other, from `start` bytes on."""
    for plane in planes:
        np.ndarray(plane.shape, plane.dtype, memory.buf, start)[...] = plane
        start += plane.nbytes


def _fill(plane: Any, rows: NDArray[np.uint8]) -> None:
    """Copy `rows` (rows, bytes per row) into a plane of a frame, whose rows may be padded otherwise."""
    target = np.frombuffer(plane, np.uint8).reshape(len(rows), -1)
    width = min(rows.shape[1], target.shape[1])
    target[:, :width] = rows[:, :width]


def _empty(pixels: str, height: int, width: int) -> Any:
    """A frame whose chroma lies where video decoders say, on the left: swscale uses that, PyAV does not report it."""
    import av.filter

    frame = av.VideoFrame(width, height, pixels)
    if not pixels.startswith("yuv4"):  # RGB has none, JPEG's (yuvj) is in the centre
        return frame
    graph: Any = av.filter.Graph()
    source = graph.add_buffer(width=width, height=height, format=pixels, time_base=Fraction(1, 1000))
    chroma_left = graph.add("setparams", "chroma_location=left")
    source.link_to(chroma_left)
    chroma_left.link_to(graph.add("buffersink"))
    graph.configure()
    graph.push(frame)
    return graph.pull()


def _readable(picture: Any) -> Any:
    """The picture, or, where its rows lie backwards (a flipped frame), its pixels."""
    if isinstance(picture, np.ndarray) or all(plane.line_size > 0 for plane in picture.planes):
        return picture
    return as_rgb(picture)


def _planes(picture: Any) -> list[NDArray[Any]]:
    """The picture's memory: the array, or the planes as arrays (rows, bytes per row)."""
    if isinstance(picture, np.ndarray):
        return [picture]
    return [np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size) for plane in picture.planes]


def _place(name: str, start: int, picture: Any, planes: list[NDArray[Any]]) -> Shared:
    if isinstance(picture, np.ndarray):
        return Shared(name, start, picture.shape, picture.dtype.str)
    return Shared(
        name,
        start,
        (picture.height, picture.width),
        pixels=picture.format.name,
        planes=tuple((plane.shape[0], plane.shape[1]) for plane in planes),
        colours=(int(picture.colorspace), int(picture.color_range)),
    )


def _rounded(size: int) -> int:
    return -(-size // _LINE) * _LINE
