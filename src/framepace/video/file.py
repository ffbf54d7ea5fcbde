"""Video files: every picture of them, upright, again and again.

Decoded with one thread. Frame threading returns a picture one frame later per additional thread: nobody notices with a
file (1280x720 H.264, paced: 0.1 ms per read, against 1.6 ms), but with a camera it costs a frame period.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, partial
from io import BytesIO
from typing import Any

from framepace.deadline import within
from framepace.errors import FramepaceError, SourceError
from framepace.inputfile import InputKind, file_size, out_of_descriptors, read_file, shown
from framepace.video.choice import Choice, drained
from framepace.video.decodingturns import decoding_turn
from framepace.video.device.decoder import fallen_back, turn
from framepace.video.device.decoder import options as decoder_options
from framepace.video.remarks import Evenness, about_format
from framepace.video.upright import Upright

OPEN_S = 10.0  # for a file to open and give its first picture
_LARGEST_PIXELS = 1 << 27  # of a picture: those of 16K video
DECODER_OPTIONS = {"max_pixels": str(_LARGEST_PIXELS)}
_FILE = InputKind(
    "the video",
    SourceError,
    expected="the path of a video file",
    fix="name a video file, a stream's address, or 'synthetic'",
)
_NO_ANSWER = "check that the disk or server it is on answers"
# Playlists and descriptions open what they name, which may be pipes, devices and addresses; 'tty' plays text.
_NO_VIDEOS = frozenset({"concat", "dash", "hls", "image2", "rtsp", "sdp", "tty"})
# By such a name FFmpeg takes a file for 'image2', a pattern of files' names; without one for what is in it.
PICTURES = frozenset(
    (".avif", ".bmp", ".exr", ".gif", ".jp2", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
_LISTS = frozenset((".ffconcat", ".m3u", ".m3u8", ".mpd", ".sdp"))
_LARGEST_PICTURE = 1 << 28  # bytes
_LEFT_OUT_OF_KEYS = 7  # pictures in a row, of a file that has no others, while it catches up
_READ_OVER = 60  # pictures that are sooner decoded than sought


class VideoFile:
    """A video file (or its bytes), from the start again at its end when `loop`. Display rotation is applied.

    With `gpu` (CUDA's number) that GPU decodes it, and pictures stay there; what it does not take is decoded
    on the host, with a note.

    Starting again costs up to 10 ms of seeking and decoding ahead, which no camera has: so two reels take turns, and
    the one that ended is wound back on its own thread while the other runs.
    """

    live = False

    def __init__(
        self,
        path: str,
        loop: bool = True,
        data: bytes | None = None,
        gpu: int | None = None,
        choice: Choice | None = None,
    ) -> None:
        self.name = path
        self._gpu = gpu
        self._choice = choice or Choice()
        self.left_out = 0  # pictures before the last one that were not decoded (see Choice)
        self.notes: list[str] = []
        self._reel = self._open(path, data)
        self.fps = self._reel.fps
        self._spare: _Reel | None = None
        if loop:
            self._spare = self._open(path, data)
        self._winding: threading.Thread | None = None

    def read(self) -> Any:
        """See Source. A damaged file gives what could be read, then ends (or starts again), with a note."""
        frame = self._reel.read()
        self.left_out = self._reel.left_out
        if frame is None and self._spare is not None:
            self._wait()
            ended = self._reel
            self._reel = self._spare
            self._spare = ended
            self._winding = threading.Thread(target=ended.rewind, name="rewind", daemon=True)
            self._winding.start()
            frame = self._reel.read()
            self.left_out += self._reel.left_out
        return frame

    def pass_over(self, count: int) -> None:
        """Begin with picture number `count` of a file of which none was read; looped as if it had run until there."""
        if self._spare is not None and self._reel.expected:
            count %= self._reel.expected
        self._reel.pass_over(count)

    def close(self) -> None:
        """See Source."""
        if self._winding is not None:
            self._winding.join(OPEN_S)
            if self._winding.is_alive():  # it holds a reel, which must not be closed under it
                return
        for reel in (self._reel, self._spare):
            if reel is not None:
                reel.close()

    def _open(self, path: str, data: bytes | None) -> _Reel:
        """A reel, ready to run; one that does not open in time is left behind: its file system does not answer."""
        with turn(self._gpu):
            return within(
                OPEN_S,
                "the video does not open",
                partial(_Reel, path, data, self._note, self._gpu, self._choice),
                got=shown(path),
                fix=_NO_ANSWER,
                error=SourceError,
                late=_Reel.close,
            )

    def _wait(self) -> None:
        if self._winding is None:
            return
        self._winding.join(OPEN_S)
        if self._winding.is_alive():
            got = f"{self.name}: no answer in {OPEN_S:g} s"
            raise SourceError("the video cannot be rewound", got=got, fix=_NO_ANSWER)

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


class _Reel:
    """One decoder on a file, its first picture decoded ahead."""

    def __init__(
        self, path: str, data: bytes | None, note: Callable[[str], None], gpu: int | None, choice: Choice
    ) -> None:
        self._path = path
        self._choice = choice
        self._keys_only = False
        self.left_out = 0
        self._gpu = gpu
        self._data = data
        self._note = note
        self._upright = Upright()
        self._turn: AbstractContextManager[None] = decoding_turn if gpu is None else nullcontext()
        self._ahead: Any = None
        self._open()
        if self._ahead is None:
            self.close()
            raise SourceError("the video holds no picture", got=path, fix="check it with a player")

    def read(self) -> Any:
        """The next picture; None at the end."""
        self.left_out = 0
        frame = self._ahead
        if frame is None:
            return self._next()
        self._ahead = None
        return frame

    def pass_over(self, count: int) -> None:
        """To picture number `count`: by the index where there are times, at the file's average rate."""
        first = self._time(self._ahead)
        if count > _READ_OVER and first is not None and self.fps:
            self._jump(first + count / self.fps, count)
        while self._ahead is not None and self._count <= count:
            self._ahead = self._next()

    def _jump(self, time_s: float, count: int) -> None:
        """To the first picture that is shown at `time_s` or later, as number `count`."""
        import av

        try:
            self._container.seek(int(time_s / self._tick_s), stream=self._stream)
        except av.FFmpegError:  # then every picture is decoded
            return
        self._begin()
        half_s = 0.5 / (self.fps or 1.0)
        if self._ahead is None or (self._time(self._ahead) or 0.0) > time_s + half_s:  # there is no good index
            self.close()
            self._open()
            return
        while self._ahead is not None and (self._time(self._ahead) or 0.0) < time_s - half_s:
            self._ahead = self._next()
        self._count = count + 1

    def _time(self, frame: Any) -> float | None:
        """When a picture is shown, s; None where the file does not say."""
        return None if frame.pts is None else float(frame.pts) * self._tick_s

    def rewind(self) -> None:
        """To the first picture; a file that cannot be wound back (raw H.264) is opened again."""
        import av

        try:
            self._container.seek(0)
            self._begin()
        except av.FFmpegError:
            self.close()
            self._reopen()
        except FramepaceError as error:
            self._note(f"cannot be read again: {error.what}")

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._container.close()

    def _reopen(self) -> None:
        try:
            self._open()
        except FramepaceError as error:
            self._note(f"cannot be read again: {error.what}")

    def _open(self) -> None:
        self._container = _open_container(self._path, self._data, self._gpu)
        self._stream = video_stream(self._container, self._path)
        self.expected = int(self._stream.frames or 0)
        self.fps = stream_fps(self._stream)
        self._is_intra_only = bool(self._stream.codec_context.codec.intra_only)
        self._tick_s = float(self._stream.time_base or 0)
        self._begin()

    def _begin(self) -> None:
        self._count = 0
        self._evenness = Evenness()
        self._frames = self._decode()
        self._ahead = self._next()

    def _next(self) -> Any:
        frame = next(self._frames, None)
        if frame is None:
            if self._count < self.expected:
                self._note(f"ends after {self._count} of {self.expected} frames: truncated")
            return None
        self._remark(frame)
        self._count += 1
        return self._upright(frame)

    def _remark(self, frame: Any) -> None:
        """Note what the reader of the results should know of a picture."""
        remarks = []
        if self._count == 0:
            remarks.append(about_format(frame, int(self._stream.codec_context.color_trc or 0)))
            if self._gpu is not None:
                remarks.append(fallen_back(self._stream, frame))
        if frame.pts is not None:
            remarks.append(self._evenness.add(float(frame.pts) * self._tick_s))
        for remark in filter(None, remarks):
            self._note(remark)

    def _decode(self) -> Iterator[Any]:
        import av

        try:
            for packet in self._container.demux(self._stream):
                if packet.size and self._is_left_out(packet):
                    self._leave_out()
                    continue
                with self._turn:
                    frames = packet.decode()
                    if self._keys_only:
                        frames += drained(self._stream)
                yield from frames
        except av.FFmpegError as error:
            if isinstance(error, MemoryError) or out_of_descriptors(error):
                raise _unreadable(self._path, error) from error
            self._note(f"damaged after {self._count} frames: {error.strerror or error}")

    def _is_left_out(self, packet: Any) -> bool:
        """Whether a packet is not given to the decoder; after key frames alone, the others can be from the next on."""
        if self._choice.catches_up:
            self._keys_only = True
            return not packet.is_keyframe or (self._is_intra_only and self.left_out < _LEFT_OUT_OF_KEYS)
        self._keys_only = self._keys_only and not packet.is_keyframe
        return self._keys_only

    def _leave_out(self) -> None:
        self._count += 1
        self.left_out += 1
        self._choice.lost()


def video_stream(container: Any, name: str) -> Any:
    """The first video stream, decoded by one thread.

    Raises SourceError, the container closed, when there is none, or its pictures are larger than any camera's.
    """
    stream = next((s for s in container.streams.video if s.codec_context is not None), None)
    if stream is None:
        kinds = ", ".join(str(s.type) for s in container.streams) or "nothing"
        container.close()
        raise SourceError(
            "there is no video in it",
            got=f"{name}: {kinds}",
            expected="a video stream of a known codec",
            fix="check it with a player",
        )
    _check_pixels(container, name, stream.codec_context)
    stream.thread_type = "NONE"
    stream.codec_context.options = DECODER_OPTIONS  # pictures may be larger than their container says
    return stream


def _check_pixels(container: Any, name: str, codec: Any) -> None:
    """Raises SourceError, the container closed, for pictures that are larger than any camera's."""
    if codec.width * codec.height > _LARGEST_PIXELS:
        container.close()
        got = f"{name}: {codec.width}x{codec.height}"
        expected = f"at most {_LARGEST_PIXELS:,} pixels"
        fix = "record or scale it smaller"
        raise SourceError("the pictures of the video are too large", got=got, expected=expected, fix=fix)


def stream_fps(stream: Any) -> float | None:
    """Frames per second as the container states them; None when it does not."""
    if not stream.average_rate:
        return None
    return float(stream.average_rate)


def open_file(path: str) -> tuple[Any, Any]:
    """The container of a video file and its first video stream. Raises SourceError."""
    container = _open_container(path, None)
    return container, video_stream(container, path)


def _open_container(path: str, data: bytes | None, gpu: int | None = None) -> Any:
    """The bytes of a video, or the file at `path` where there are none. Raises SourceError, UsageError for the GPU."""
    import av

    decoder = decoder_options(gpu)
    if data is not None:
        return av.open(BytesIO(data), **decoder)
    _check_file(path)
    options = {"format_whitelist": _formats(), "protocol_whitelist": "file,crypto,data", **DECODER_OPTIONS}
    try:
        return av.open(_source(path), options=options, **decoder)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _source(path: str) -> str | BytesIO:
    """What FFmpeg reads: the file, or the bytes of a picture."""
    if os.path.splitext(path)[1].lower() in PICTURES:
        return BytesIO(read_file(path, _FILE, _LARGEST_PICTURE))
    return f"file:{path}"  # or a name with a colon would be an address


@lru_cache(maxsize=1)
def _formats() -> str:
    """The kinds of file, as FFmpeg names them."""
    import av

    return ",".join(sorted(av.formats_available - _NO_VIDEOS))


def _check_file(path: str) -> None:
    """What can be said about a file without opening it; a pipe would never open, a device never end."""
    if not os.path.exists(path):
        raise SourceError("there is no such video", got=shown(path), expected=_FILE.expected, fix=_FILE.fix)
    if file_size(path, _FILE) == 0:
        raise SourceError("the video is empty", got=f"{path}: 0 bytes", expected="a video", fix="record it again")


def _unreadable(path: str, error: Exception) -> FramepaceError:
    if isinstance(error, MemoryError):
        return _FILE.no_memory(path)
    if out_of_descriptors(error):
        return _FILE.unreadable(path, error)
    got = f"{shown(path)}: {getattr(error, 'strerror', None) or error}"
    if isinstance(error, PermissionError):
        return SourceError("the video may not be read", got=got, expected="a readable file", fix=f"chmod a+r {path}")
    expected = "a video that FFmpeg can read (mp4, mkv, avi, ...)"
    fix = "check it with a player; an mp4 whose recording or download broke off has no index and cannot be read"
    if os.path.splitext(path)[1].lower() in _LISTS:
        fix = (
            "it lists other files, which are not opened: name one of them, or the address of a server that has the list"
        )
    return SourceError("the video cannot be read", got=got, expected=expected, fix=fix)
