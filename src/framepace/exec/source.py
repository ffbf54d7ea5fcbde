"""Sources: pictures from video files, live streams and generators, one `read` at a time.

Files are decoded with one thread: frame threading hands a picture out several frames late, which a benchmark would not
see and a live stream would pay for (1280x720 H.264: 1.4 ms a frame with one thread).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from framepace.errors import SourceError
from framepace.exec.clock import Clock, SystemClock
from framepace.exec.prepare import as_rgb
from framepace.units import NS_PER_S

SYNTHETIC = "synthetic"
_SYNTHETIC_FPS = 30
_HELD_BYTES = 256 << 20
_OPEN_S, _READ_S = 10.0, 5.0
_BACKOFF_S = (1, 2, 4, 8, 16, 30)
_FLAT_OUT = {"rtsp": {"rtsp_transport": "tcp"}}


class Source(Protocol):
    """Pictures of one camera or file. `notes` collects what a reader of the trace must know."""

    name: str
    live: bool
    fps: float | None
    notes: list[str]

    def read(self) -> Any:
        """The next picture (av.VideoFrame, or uint8 RGB height x width x 3); None at the end."""

    def close(self) -> None:
        """Stop reading. Idempotent."""


def open_source(
    spec: str, *, size: tuple[int, int] = (720, 1280), seed: int = 0, loop: bool = True, clock: Clock | None = None
) -> Source:
    """A source from a video file's path, a stream's address (with '://') or 'synthetic' (frames of `size`).

    Raises SourceError for what cannot be opened or holds no picture.
    """
    if spec == SYNTHETIC:
        return VideoFile(SYNTHETIC, loop, synthetic_video(size, seed))
    if "://" in spec:
        return LiveStream(spec, clock or SystemClock())
    return VideoFile(spec, loop)


def decode_all(spec: str, limit: int, *, size: tuple[int, int] = (720, 1280), seed: int = 0) -> list[Any]:
    """Up to `limit` pictures from the start of `spec`, held in memory (256 MiB at most)."""
    source = open_source(spec, size=size, seed=seed, loop=False)
    try:
        pictures = list(islice(iter(source.read, None), 1))
        if not pictures:
            raise SourceError("the video holds no picture", got=spec, fix="check it with a player")
        room = max(1, _HELD_BYTES // _bytes(pictures[0]))
        return pictures + list(islice(iter(source.read, None), min(limit, room) - 1))
    finally:
        source.close()


@lru_cache(maxsize=4)
def synthetic_video(size: tuple[int, int], seed: int = 0) -> bytes:
    """A second of a moving pattern as an MPEG-4 file, so that a source without a video is decoded like one with."""
    from fractions import Fraction
    from io import BytesIO

    import av

    height, width = (max(2, side // 2 * 2) for side in size)
    file = BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream: Any = container.add_stream("mpeg4", rate=_SYNTHETIC_FPS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.gop_size = _SYNTHETIC_FPS
        stream.bit_rate, stream.time_base = 4_000_000, Fraction(1, _SYNTHETIC_FPS)
        for image in _pattern((height, width), seed):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def _pattern(size: tuple[int, int], seed: int) -> Iterator[Any]:
    """Gradients and noise that pan, and a box that moves: uint8 RGB."""
    height, width = size
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([x * 255 // max(1, width - 1), y * 255 // max(1, height - 1), (x + y) % 256], axis=-1)
    base = np.clip(base + rng.integers(-20, 20, base.shape), 0, 255).astype(np.uint8)
    colour = rng.integers(0, 256, 3)
    for step in range(_SYNTHETIC_FPS):
        image, left = np.roll(base, 4 * step, axis=1), step * width // _SYNTHETIC_FPS
        image[height // 4 : height // 2, left : left + max(1, width // 8)] = colour
        yield image


class VideoFile:
    """A video file (or its bytes), from the start again at its end when `loop`. Display rotation is applied.

    Starting again costs up to 10 ms of seeking and decoding ahead, which no camera has: so two reels take turns, and
    the one that ended is wound back on a thread of its own while the other runs.
    """

    live = False

    def __init__(self, path: str, loop: bool = True, data: bytes | None = None) -> None:
        self.name = path
        self.notes: list[str] = []
        self._reel = _Reel(path, data, self._note)
        self.fps = self._reel.fps
        self._spare = _Reel(path, data, self._note) if loop else None
        self._winding: threading.Thread | None = None

    def read(self) -> Any:
        """See Source. A damaged file gives what could be read, then ends (or starts again), with a note."""
        frame = self._reel.read()
        if frame is None and self._spare is not None:
            self._wait()
            self._reel, self._spare = self._spare, self._reel
            self._winding = threading.Thread(target=self._spare.rewind, name="rewind", daemon=True)
            self._winding.start()
            frame = self._reel.read()
        return frame

    def close(self) -> None:
        """See Source."""
        self._wait()
        for reel in (self._reel, self._spare):
            if reel is not None:
                reel.container.close()

    def _wait(self) -> None:
        if self._winding is not None:
            self._winding.join()

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


class _Reel:
    """One decoder on a file, its first picture decoded ahead."""

    def __init__(self, path: str, data: bytes | None, note: Callable[[str], None]) -> None:
        self.container = _open_file(path) if data is None else _open_bytes(data)
        self._stream = _video_stream(self.container, path)
        self.fps = float(self._stream.average_rate) if self._stream.average_rate else None
        self._expected, self._note = int(self._stream.frames or 0), note
        self._ahead: Any = None
        self._begin()
        if self._ahead is None:
            raise SourceError("the video holds no picture", got=path, fix="check it with a player")

    def read(self) -> Any:
        """The next picture; None at the end."""
        frame, self._ahead = self._ahead, None
        return self._next() if frame is None else frame

    def rewind(self) -> None:
        """To the first picture."""
        self.container.seek(0)
        self._begin()

    def _begin(self) -> None:
        self._count, self._frames = 0, self._decode()
        self._ahead = self._next()

    def _next(self) -> Any:
        frame = next(self._frames, None)
        if frame is None:
            if self._count < self._expected:
                self._note(f"ends after {self._count} of {self._expected} frames: truncated")
            return None
        self._count += 1
        return upright(frame)

    def _decode(self) -> Iterator[Any]:
        import av

        try:
            yield from self.container.decode(self._stream)
        except av.FFmpegError as error:
            self._note(f"damaged after {self._count} frames: {error.strerror or error}")


class LiveStream:
    """A stream from the network. A connection that breaks is opened again, waiting 1 to 30 s between tries."""

    live = True

    def __init__(self, address: str, clock: Clock) -> None:
        self.name, self._clock = address, clock
        self.notes: list[str] = []
        self._closed = False
        self._container = _open_stream(address)
        stream = _video_stream(self._container, address)
        self.fps = float(stream.average_rate) if stream.average_rate else None
        self._frames = self._container.decode(stream)

    def read(self) -> Any:
        """See Source; None only after `close`."""
        import av

        while not self._closed:
            try:
                return upright(next(self._frames))
            except (StopIteration, av.FFmpegError) as error:
                self._reconnect(error)
        return None

    def close(self) -> None:
        """See Source."""
        self._closed = True
        self._container.close()

    def _reconnect(self, error: BaseException) -> None:
        self.notes.append(f"reconnected after: {error or 'end of stream'}")
        self._container.close()
        tries = iter((*_BACKOFF_S, *cycle(_BACKOFF_S[-1:])))
        while not self._closed:
            self._clock.sleep_until(self._clock.now() + next(tries) * NS_PER_S)
            try:
                self._container = _open_stream(self.name)
                self._frames = self._container.decode(_video_stream(self._container, self.name))
                return
            except SourceError:
                continue


def upright(frame: Any) -> Any:
    """The frame turned as its display matrix says."""
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return frame if turns == 0 else np.ascontiguousarray(np.rot90(as_rgb(frame), turns))


def _open_bytes(data: bytes) -> Any:
    from io import BytesIO

    import av

    return av.open(BytesIO(data))


def _open_file(path: str) -> Any:
    import av

    found = Path(path)
    fix = "name a video file, a stream's address, or 'synthetic'"
    if not found.exists():
        raise SourceError("there is no such video", got=path, fix=fix)
    if found.is_dir():
        raise SourceError("a video is a file, not a folder", got=path, fix=fix)
    if found.stat().st_size == 0:
        raise SourceError("the video is empty", got=path, fix="copy or record it again")
    try:
        return av.open(path)
    except (av.FFmpegError, OSError) as error:
        expected = "a video that FFmpeg can read (mp4, mkv, avi, ...)"
        raise SourceError(
            "the video cannot be read", got=f"{path}: {error.strerror or error}", expected=expected
        ) from error


def _open_stream(address: str) -> Any:
    import av

    options = {"fflags": "nobuffer", "flags": "low_delay", **_FLAT_OUT.get(address.split("://")[0], {})}
    try:
        return av.open(address, options=options, timeout=(_OPEN_S, _READ_S))
    except (av.FFmpegError, OSError) as error:
        fix = "check the address, and that the camera answers"
        raise SourceError(
            "the stream cannot be opened", got=f"{address}: {error.strerror or error}", fix=fix
        ) from error


def _video_stream(container: Any, name: str) -> Any:
    if not container.streams.video:
        kinds = ", ".join(stream.type for stream in container.streams) or "nothing"
        raise SourceError("there is no video in it", got=f"{name}: {kinds}", expected="a video stream")
    stream = container.streams.video[0]
    stream.thread_type = "NONE"
    return stream


def _bytes(picture: Any) -> int:
    return picture.nbytes if isinstance(picture, np.ndarray) else sum(p.buffer_size for p in picture.planes)
