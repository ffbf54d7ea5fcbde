"""Sources: pictures from video files, live streams, memory and a generator, one `read` at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from itertools import cycle, islice
from typing import Any, Protocol

import numpy as np

from framepace.clock.system import Clock, SystemClock
from framepace.errors import SourceError
from framepace.facts.address import expanded
from framepace.video.choice import Choice
from framepace.video.file import VideoFile
from framepace.video.live import LiveStream

SYNTHETIC = "synthetic"
_SYNTHETIC_FPS = 30
_SYNTHETIC_BITS_PER_S = 4_000_000
_HELD_BYTES = 256 << 20
_COLLECTING_S = 5.0  # from a stream of which some pictures are wanted: those that came by then are some
_LARGEST_SYNTHETIC_PIXELS = 1 << 25  # those of 8K; making them takes 70 bytes each
_LONGEST_SYNTHETIC_SIDE = 8190  # what MPEG-4 holds


class Source(Protocol):
    """Pictures of one camera or file. `notes` collects what a reader of the trace must know."""

    name: str
    live: bool
    fps: float | None

    @property
    def notes(self) -> list[str]:
        """Sentences on problems so far."""

    def read(self) -> Any:
        """The next picture (av.VideoFrame, or uint8 RGB height x width x 3); None at the end."""

    def close(self) -> None:
        """Stop reading, by the thread that reads (LiveStream: any). Idempotent."""


def open_source(
    spec: str,
    *,
    size: tuple[int, int] = (720, 1280),
    seed: int = 0,
    loop: bool = True,
    clock: Clock | None = None,
    patience_s: float | None = None,
    gpu: int | None = None,
    choice: Choice | None = None,
) -> Source:
    """A source from a video file's path, a stream's address (with '://') or 'synthetic' (frames of `size`).

    ${NAME} in it stands for an environment variable, so that no plan or command has to hold a password.

    `patience_s` is how long a stream may be without a picture (see LiveStream). With `gpu` that GPU decodes (see
    VideoFile); `choice` says which pictures of a file are decoded. Raises SourceError for what cannot be opened or
    holds no picture, UsageError for a variable that is not set.
    """
    spec = expanded(spec, os.environ)
    if spec == SYNTHETIC:
        return VideoFile(SYNTHETIC, loop, synthetic_video(size, seed), gpu, choice)
    if "://" in spec and not spec.startswith("file://"):
        return LiveStream(spec, clock or SystemClock(), patience_s=patience_s, gpu=gpu)
    return VideoFile(spec.removeprefix("file://"), loop, gpu=gpu, choice=choice)


def decode_all(
    spec: str, limit: int, *, size: tuple[int, int] = (720, 1280), seed: int = 0, gpu: int | None = None
) -> list[Any]:
    """Up to `limit` pictures from the start of `spec`, held in memory (256 MiB at most).

    Of a stream those that come within 5 s. With `gpu` that GPU decodes, and they are in its memory.
    """
    source = open_source(spec, size=size, seed=seed, loop=False, patience_s=_COLLECTING_S, gpu=gpu)
    try:
        pictures = list(islice(iter(source.read, None), 1))
        if not pictures:
            raise SourceError("the video holds no picture", got=spec, fix="check it with a player")
        room = max(1, _HELD_BYTES // _bytes(pictures[0]))
        return pictures + _next_pictures(source, min(limit, room) - 1)
    finally:
        source.close()


def _next_pictures(source: Source, limit: int) -> list[Any]:
    following = islice(iter(source.read, None), limit)
    if not source.live:
        return list(following)
    pictures: list[Any] = []
    end = time.monotonic() + _COLLECTING_S
    with suppress(SourceError):  # it gives no more
        while time.monotonic() < end and (picture := next(following, None)) is not None:
            pictures.append(picture)
    return pictures


class MemorySource:
    """Pictures held in memory, again and again when `loop`; reading one costs nothing."""

    live = False
    fps = None

    def __init__(self, pictures: Iterable[Any], loop: bool = True, name: str = "memory") -> None:
        if not pictures:
            raise SourceError("there are no pictures", got="an empty list", expected="one picture or more")
        self.name = name
        self.notes: list[str] = []
        self.is_shared = isinstance(pictures, Sequence)  # a generator may be run by one thread at a time
        self.read: Callable[[], Any] = partial(next, iter(pictures), None)
        if loop:
            self.read = cycle(pictures).__next__  # one call per frame less than a method that takes the next one

    def close(self) -> None:
        """See Source."""
        self.read = partial(next, iter(()), None)


@lru_cache(maxsize=4)
def synthetic_video(size: tuple[int, int], seed: int = 0) -> bytes:
    """A second of a moving pattern as an MPEG-4 file, so that a source without a video is decoded like one with."""
    from io import BytesIO

    import av

    height, width = (max(2, side // 2 * 2) for side in size)
    _check_synthetic(height, width)
    file = BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = _add_stream(container, height, width)
        for image in _pattern((height, width), seed):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def _check_synthetic(height: int, width: int) -> None:
    """Raise SourceError for pictures that are too large to make."""
    if height * width > _LARGEST_SYNTHETIC_PIXELS or max(height, width) > _LONGEST_SYNTHETIC_SIDE:
        expected = f"at most {_LARGEST_SYNTHETIC_PIXELS:,} pixels, and {_LONGEST_SYNTHETIC_SIDE} on a side"
        fix = "give a smaller size, or a video"
        raise SourceError("synthetic frames are too large", got=f"{width}x{height}", expected=expected, fix=fix)


def _add_stream(container: Any, height: int, width: int) -> Any:
    """An MPEG-4 stream in the container, with one key frame per second."""
    from fractions import Fraction

    stream = container.add_stream("mpeg4", rate=_SYNTHETIC_FPS)
    stream.width = width
    stream.height = height
    stream.pix_fmt = "yuv420p"
    stream.gop_size = _SYNTHETIC_FPS
    stream.bit_rate = _SYNTHETIC_BITS_PER_S
    stream.time_base = Fraction(1, _SYNTHETIC_FPS)
    return stream


def _pattern(size: tuple[int, int], seed: int) -> Iterator[Any]:
    """Gradients and noise that pan, and a box that moves: uint8 RGB."""
    height, width = size
    rng = np.random.default_rng(seed)
    background = _gradients(height, width)
    background = np.clip(background + rng.integers(-20, 20, background.shape), 0, 255).astype(np.uint8)
    colour = rng.integers(0, 256, 3)
    for step in range(_SYNTHETIC_FPS):
        image = np.roll(background, 4 * step, axis=1)
        start = step * width // _SYNTHETIC_FPS
        image[height // 4 : height // 2, start : start + max(1, width // 8)] = colour
        yield image


def _gradients(height: int, width: int) -> Any:
    """Red along the rows, green along the columns, blue along the diagonal."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // max(1, width - 1), y * 255 // max(1, height - 1), (x + y) % 256], axis=-1)


def _bytes(picture: Any) -> int:
    if isinstance(picture, np.ndarray):
        return picture.nbytes
    return sum(int(plane.buffer_size) for plane in picture.planes)
