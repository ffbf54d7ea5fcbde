"""Annotated video: to files, as HLS and to an RTSP server, one stream per source, with the times of the pictures."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import chain, count
from pathlib import Path
from typing import Any

from av.error import FFmpegError, HTTPClientError, HTTPError
from av.video.frame import PictureType

from framepace import values
from framepace.errors import SinkError, SinkUnavailable, UsageError
from framepace.facts.address import Address
from framepace.facts.running import Result
from framepace.sinks.base import ResultSink
from framepace.sinks.drawing import drawing
from framepace.sinks.files import failed
from framepace.sinks.pictures import Pictures
from framepace.sinks.sinktext import SinkText
from framepace.video.prepare import as_frame

_TICKS = 90_000  # per second, as MPEG has it
_NOMINAL_FPS = 30  # what encoders plan with; the pictures have their own times
_KEY_EVERY_S = 2
_LONGEST_GAP_S = 10.0  # between two pictures; a longer one is a break in the source, or its clock was set
_SOURCE = "{source}"
_DRAWN_BY = ("auto", "own", "supervision", "none")
_PRESETS = ("veryfast", "ultrafast", "superfast", "faster", "fast", "medium")
_OPTIONS = ("draw", "preset", "crf")
_FILE = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}  # what a killed process leaves can be played
_HLS = {"hls_time": str(_KEY_EVERY_S), "hls_list_size": "6", "hls_flags": "delete_segments+independent_segments"}
_ROOM = 1 << 20  # bytes on a disk that is not full: a segment or two
_CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".ts": "mpegts"}


class Encoder:
    """One source's pictures on their way into a container, opened with the first of them.

    Pictures of another size are scaled to that of the first. `pictures` counts those that were taken, `place` is where.
    """

    def __init__(self, place: str, format: str, options: Mapping[str, str], codec: Mapping[str, str]) -> None:
        import av

        self.place = place
        self._container = av.open(place, "w", format=format, options={"flush_packets": "1", **options})
        self._codec = codec
        self._stream: Any = None
        self._began = 0.0
        self._last = -1
        self._next_key = 0
        self.pictures = 0
        self._has_header = False

    def write(self, picture: Any, time: float) -> None:
        """Encode an RGB array or frame that was taken at `time` (seconds)."""
        frame = as_frame(picture)
        if self._stream is None:
            self._begin(frame, time)
        frame = frame.reformat(self._stream.width, self._stream.height, "yuv420p", threads=1)
        frame.pts = self._ticks(time)
        frame.time_base = Fraction(1, _TICKS)
        if frame.pts >= self._next_key:  # by time: sources may have any rate
            frame.pict_type = PictureType.I
            self._next_key = frame.pts + _KEY_EVERY_S * _TICKS
        self._mux(frame)
        self.pictures += 1

    def close(self) -> None:
        """Write what the encoder holds, and the end of the file."""
        try:
            if self._has_header:
                self._mux(None)
        finally:
            self._container.close()

    def _mux(self, frame: Any) -> None:
        """Write what comes of a frame, or with None of those that the encoder holds.

        Where the header could not be written, another attempt would have FFmpeg read freed memory.
        """
        packets = self._stream.encode(frame)
        if not self._has_header:
            self._container.start_encoding()
            self._has_header = True
        self._container.mux(packets)

    def _begin(self, frame: Any, time: float) -> None:
        stream = self._container.add_stream("libx264", rate=_NOMINAL_FPS, options=dict(self._codec))
        stream.width = max(2, frame.width & ~1)  # colour has half the resolution
        stream.height = max(2, frame.height & ~1)
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, _TICKS)
        stream.codec_context.time_base = Fraction(1, _TICKS)
        stream.codec_context.thread_count = 2
        self._stream = stream
        self._began = time

    def _ticks(self, time: float) -> int:
        """The picture's time in the stream, later than the one before it, whatever the camera's clock does."""
        ticks = round((time - self._began) * _TICKS)
        if self._last >= 0 and not 0 < ticks - self._last <= _LONGEST_GAP_S * _TICKS:
            step = _TICKS // _NOMINAL_FPS
            self._began += (ticks - self._last - step) / _TICKS
            ticks = self._last + step
        self._last = max(0, ticks)
        return self._last


class _Video(ResultSink):
    """Draws answers into pictures, and encodes those of each source on their own."""

    batch = 1  # so that none is encoded a second time when another failed
    linger_s = 0.0
    capacity = 32
    wants_pictures = True

    def __init__(self, text: SinkText) -> None:
        text.check_options(_OPTIONS)
        self.name = text.name
        self._draw = drawing(text.choice("draw", _DRAWN_BY))
        self._codec = {"preset": text.choice("preset", _PRESETS), "crf": str(text.whole("crf", 23, 0, 51))}
        self._encoders: dict[str, Encoder] = {}
        self._pictures = Pictures()

    def write(self, results: Sequence[Result]) -> None:
        """Encode the pictures of all results; those without one are left out. Raises SinkError, SinkUnavailable."""
        for result in results:
            if result.picture is not None:
                self._write(result)

    def close(self) -> None:
        """End all streams. Raises SinkError, SinkUnavailable."""
        encoders = tuple(self._encoders.items())
        self._encoders.clear()
        for source, encoder in encoders:
            try:
                encoder.close()
            except (OSError, FFmpegError) as error:
                raise self._failed(source, error) from error

    def _write(self, result: Result) -> None:
        picture = self._draw(self._pictures(result.picture), result.answers)
        try:
            if result.source not in self._encoders:
                self._encoders[result.source] = self._encoder(result.source)
            self._encoders[result.source].write(picture, result.time)
        except (OSError, FFmpegError) as error:
            self._give_up(result.source)
            raise self._failed(result.source, error) from error

    def _give_up(self, source: str) -> None:
        """Forget a stream that failed; what can be saved of its file is saved."""
        encoder = self._encoders.pop(source, None)
        if encoder is not None:
            with suppress(OSError, FFmpegError):  # it was told already
                encoder.close()

    def _encoder(self, source: str) -> Encoder:
        raise NotImplementedError

    def _failed(self, source: str, error: OSError | FFmpegError) -> SinkError:
        return failed("written", f"{self.name}: {source}", error)


class VideoFile(_Video):
    """Annotated video to a file per source.

    '{source}' in the path stands for the source's name; without it the first source that comes has the file of that
    name, and others one with their name behind it.
    """

    def __init__(self, text: SinkText) -> None:
        super().__init__(text)
        self._path = values.path(text.place, "--sink video")
        suffix = self._path.suffix.lower()
        if suffix not in _CONTAINERS:
            expected = ", ".join(_CONTAINERS)
            fix = "name a file with one of these suffixes"
            raise UsageError("the video's format is not known", got=text.name, expected=expected, fix=fix)
        self._format = _CONTAINERS[suffix]
        self._first: str | None = None  # the source whose file has no name of a source
        self._written: set[Path] = set()

    def open(self) -> None:
        """See that the folder is there. Raises SinkError."""
        folder = self._path.parent
        if not folder.is_dir():
            raise SinkError("the video's folder does not exist", got=folder, fix=f"make it: mkdir -p {folder}")

    def _encoder(self, source: str) -> Encoder:
        options = _FILE if self._format in ("mp4", "mov") else {}
        return Encoder(str(self._new_path(source)), self._format, options, self._codec)

    def _new_path(self, source: str) -> Path:
        """A file that this run has not written yet: a stream that failed goes on in another one."""
        path = self._path.with_name(self._path.name.replace(_SOURCE, file_name(source)))
        self._first = self._first or source
        if path == self._path and source != self._first:
            path = path.with_name(f"{path.stem}-{file_name(source)}{path.suffix}")
        numbered = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))
        new = next(one for one in chain([path], numbered) if one not in self._written)
        self._written.add(new)
        return new

    def _give_up(self, source: str) -> None:
        """An empty file, as a full disk leaves one, goes: with every attempt there would be one more."""
        encoder = self._encoders.get(source)
        super()._give_up(source)
        path = None if encoder is None else Path(encoder.place)
        if path is not None and path.is_file() and not path.stat().st_size:
            path.unlink()
            self._written.discard(path)


class Hls(_Video):
    """Annotated video as HLS: FOLDER/SOURCE.m3u8 with the last 12 s in segments, for any web server and browser."""

    def __init__(self, text: SinkText) -> None:
        super().__init__(text)
        self._codec["tune"] = "zerolatency"
        self._folder = values.path(text.place, "--sink hls")

    def open(self) -> None:
        """Make the folder. Raises SinkError, SinkUnavailable."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise failed("opened", self._folder, error) from error

    def write(self, results: Sequence[Result]) -> None:
        """Encode the pictures of all results. Raises SinkError, SinkUnavailable, also where the disk is full.

        FFmpeg writes segments without a word about what did not fit.
        """
        try:
            disk = os.statvfs(self._folder)
            if disk.f_bavail * disk.f_frsize < _ROOM:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise failed("written", self.name, error) from error
        super().write(results)

    def _encoder(self, source: str) -> Encoder:
        name = file_name(source)
        options = {**_HLS, "hls_segment_filename": str(self._folder / f"{name}-%06d.ts")}
        return Encoder(str(self._folder / f"{name}.m3u8"), "hls", options, self._codec)


class RtspOut(_Video):
    """Annotated video published to an RTSP server; '{source}' in the address stands for the source's name.

    Without it the first source that comes has the address, and others have '-NAME' behind it.
    """

    def __init__(self, text: SinkText) -> None:
        super().__init__(text)
        self._codec["tune"] = "zerolatency"
        self._address = Address(text.place)
        self._first: str | None = None  # the source whose address has no name of a source

    def open(self) -> None:
        """Nothing yet: what a stream looks like is known with its first picture."""

    def _encoder(self, source: str) -> Encoder:
        address = self._address.whole
        self._first = self._first or source
        if _SOURCE in address:
            address = address.replace(_SOURCE, file_name(source))
        elif source != self._first:
            address = f"{address}-{file_name(source)}"
        return Encoder(address, "rtsp", {"rtsp_transport": "tcp"}, self._codec)

    def _failed(self, source: str, error: OSError | FFmpegError) -> SinkError:
        got = f"{self.name}: {source}: {error.strerror or error}"
        if type(error).__name__ in ("HTTPUnauthorizedError", "HTTPForbiddenError"):
            return SinkError("the RTSP server refuses the stream", got=got, fix="correct the address and its user")
        if isinstance(error, (HTTPClientError, HTTPError)):
            return SinkUnavailable("the RTSP server does not take the stream", got=got, fix="correct the address")
        return SinkUnavailable("the RTSP server is not reached", got=got, fix="start it, or correct the address")


def file_name(source: str) -> str:
    """A source's name as a part of a path; where letters had to go, it ends in a number of its own."""
    plain = re.sub(r"[^\w.-]", "_", source).lstrip(".")[:100]
    if plain == source:
        return plain
    return f"{plain}-{hashlib.sha256(source.encode()).hexdigest()[:6]}"
