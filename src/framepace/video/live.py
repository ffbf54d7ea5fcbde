"""Live streams: pictures as they come, and a connection that is opened again when it breaks."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Literal

from framepace.clock.system import Clock
from framepace.deadline import within
from framepace.errors import SourceError, one_line
from framepace.facts.address import shown
from framepace.inputfile import out_of_descriptors
from framepace.video.backoff import Backoff, pause
from framepace.video.choice import Choice, LeavesOut, drained
from framepace.video.decodingturns import decoding_turn
from framepace.video.device.decoder import fallen_back
from framepace.video.device.decoder import options as decoder_options
from framepace.video.file import DECODER_OPTIONS, stream_fps, video_stream
from framepace.video.upright import Upright

TIMEOUT_S = (10.0, 5.0)  # to open, and to wait for data: a stream that hangs is a stream that broke
_MARGIN_S = 0.5  # on the time to open, for FFmpeg to say itself what was missing
_SILENCE_S = 1.0  # without a picture, after which a note says so
_LOW_DELAY = {"fflags": "nobuffer", "flags": "low_delay"}
# Protocols that read this machine instead of a network; an address may come from somebody else's plan.
_LOCAL = ("async", "cache", "concat", "concatf", "crypto", "data", "fd", "file", "md5", "pipe", "subfile", "tee")
_EXPECTED = "a stream that answers (rtsp, rtmp, http, udp, ...)"
_FIX = "check the address, and that the camera answers"
_RTSP = ("rtsp", "rtsps")

Connection = Literal["connecting", "live", "lost"]
"""'lost': it broke or did not open, and is tried again."""
Open = Callable[[], Any]
"""Opens a container of PyAV. Raises SourceError."""


class LiveStream:
    """A stream from the network; a connection that breaks is opened again, after 1, 2, 4, ... 30 s.

    The first connection must succeed and bring a picture: SourceError names what is wrong with the address. Later ones
    are tried until `close`, which any thread may call: a `read` under way then returns None, within `timeout` (open,
    data; seconds). Damaged packets are skipped and counted. Nothing is dropped here: that is the buffer's decision.

    Args:
        patience_s: how long `read` waits for a picture, reconnecting meanwhile, before it raises SourceError; None
            waits until `close`.
        must_answer: false: the first connection is made by `read`, and tried again like any other.
        opens: opens the stream, instead of the address.
        reopens: false: it cannot be opened a second time, and ends where it breaks.
        backoff: the waits between attempts.
        choice: which pictures need not be decoded. Of a stream with B-frames only key frames can be chosen: leaving
            others out would delay those that are left.
        gpu: `opens` has it decoded by that GPU (see VideoFile).

    Attributes:
        state: see Connection.
        why: what was wrong the last time.
        reconnections: how often it was opened again.
    """

    live = True

    def __init__(
        self,
        address: str,
        clock: Clock,
        timeout: tuple[float, float] = TIMEOUT_S,
        patience_s: float | None = None,
        *,
        must_answer: bool = True,
        opens: Open | None = None,
        reopens: bool = True,
        backoff: Backoff | None = None,
        choice: Choice | None = None,
        gpu: int | None = None,
    ) -> None:
        self.name = public(address)
        self.state: Connection = "connecting"
        self.why = ""
        self.reconnections = 0
        self.fps: float | None = None
        self._reopens = reopens
        self._opens = opens or partial(open_stream, address, timeout, gpu=gpu)
        self._gpu = gpu
        self._turn: AbstractContextManager[None] = decoding_turn if gpu is None else nullcontext()
        self._fallen_back = ""
        self._clock = clock
        self._timeout = timeout
        self._patience_s = patience_s
        self._must_answer = must_answer
        self._backoff = backoff or Backoff()
        self._choice = choice or Choice()
        self._applied: LeavesOut = "NONE"
        self._closed = False
        self._damaged = 0
        self._pictures = 0
        self._waiting_since: float | None = None  # of the read that is under way, s
        self._upright = Upright()
        self._owner = threading.Lock()  # a container that is closed under a thread that reads it crashes the process
        self._container: Any = None
        if must_answer:
            self._connect()

    @property
    def notes(self) -> list[str]:
        """Breaks so far, and pictures that are missing now."""
        notes = []
        waiting_since = self._waiting_since
        if waiting_since is not None and time.monotonic() - waiting_since >= _SILENCE_S:
            notes.append(f"no picture came in the last {time.monotonic() - waiting_since:.0f} s{self._because()}")
        if self.reconnections:
            notes.append(f"reconnections: {self.reconnections}, the last because {self.why}")
        if self._fallen_back:
            notes.append(self._fallen_back)
        return [*notes, *self.remarks]

    @property
    def remarks(self) -> list[str]:
        """What is wrong with what comes."""
        return [f"damaged packets skipped: {self._damaged}"] if self._damaged else []

    def read(self) -> Any:
        """See Source; None only after `close`, or where it is not opened again.

        Raises SourceError when patience ends, or no picture ever came.
        """
        with self._owner:
            self._waiting_since = time.monotonic()
            if self._container is None and not self._try_to_connect():
                self._end_unless_reopened()
                self._reconnect()
            frame = None
            while frame is None and not self._closed:
                frame = self._next()
                if frame is None:
                    self._end_unless_reopened()
                    self._check_patience()
                    self._reconnect()
            if self._closed:
                self._disconnect()
                return None
            self._waiting_since = None
            self._pictures += 1
            self.state = "live"
            return frame

    def close(self) -> None:
        """See Source. A thread that reads closes the connection itself when its read returns."""
        self._closed = True
        if self._owner.acquire(blocking=False):
            self._disconnect()
            self._owner.release()

    def _end_unless_reopened(self) -> None:
        if not self._reopens:
            self._closed = True

    def _check_patience(self) -> None:
        """Raises SourceError if trying again is useless."""
        assert self._waiting_since is not None
        waited = time.monotonic() - self._waiting_since
        is_known = self._pictures > 0 or not self._must_answer
        if is_known and (self._patience_s is None or waited < self._patience_s):
            return
        if self._closed:
            return
        self._disconnect()
        message = "the stream gives no picture"
        if self._pictures:
            message = "the stream gives no more pictures"
        got = f"{self.name}: none in {waited:.0f} s{self._because()}"
        raise SourceError(message, got=got, expected="a picture now and then", fix=_FIX)

    def _because(self) -> str:
        if not self.why:
            return ""
        return f", because {self.why}"

    def _connect(self) -> None:
        container = self._opens()
        self._stream = video_stream(container, self.name)
        self._container = container
        self._packets = container.demux()  # of all streams: sound alone must not keep the wait for a picture going
        self._ready: deque[Any] = deque()
        self._applied = "NONE"
        self._is_intra_only = bool(self._stream.codec_context.codec.intra_only)
        self.fps = stream_fps(self._stream)

    def _try_to_connect(self) -> bool:
        try:
            self._connect()
        except SourceError as error:
            self.why = one_line(error)
            return False
        return True

    def _disconnect(self) -> None:
        if self._container is not None:
            self._container.close()

    def _next(self) -> Any:
        """The next picture; None when the connection is broken, or brings other things than pictures."""
        began = time.monotonic()
        while not self._ready and not self._closed:
            packet = self._packet()
            if packet is None:
                return None
            if packet.stream_index == self._stream.index:
                self._ready.extend(self._decoded(packet))
                if self._applied != "NONE":
                    began = time.monotonic()
            if not self._ready and time.monotonic() - began > max(self._timeout):
                self.why = f"data came for {max(self._timeout):g} s, and no picture"
                return None
        if not self._ready:
            return None
        self._backoff.reset()
        picture = self._ready.popleft()
        if self._gpu is not None and not self._pictures:
            self._fallen_back = fallen_back(self._stream, picture)
        return self._upright(picture)

    def _packet(self) -> Any:
        import av

        try:
            packet = next(self._packets, None)
        except (av.FFmpegError, OSError) as error:
            self.why = f"reading failed: {getattr(error, 'strerror', None) or error}"
            if _timed_out(error):
                self.why = f"no data came for {self._timeout[1]:g} s"
            return None
        if packet is None:
            self.why = "the stream ended"
        return packet

    def _decoded(self, packet: Any) -> list[Any]:
        """The pictures of a packet; none where it is left out."""
        import av

        if self._pictures and packet.size and self._is_left_out(packet):
            self._choice.left_out(bool(packet.is_keyframe))
            return []
        try:
            with self._turn:
                pictures = list(packet.decode())
                if self._applied == "NONKEY":
                    pictures += drained(self._stream)
        except av.FFmpegError:
            self._damaged += 1
            return []
        if not pictures and packet.size and self._applied == "NONREF":
            self._choice.left_out(is_key=False)
        return pictures

    def _is_left_out(self, packet: Any) -> bool:
        """Whether a packet is not given to the decoder, which then cannot miss it."""
        self._apply(self._choice.leaves_out, packet)
        if self._applied == "NONKEY":
            return not packet.is_keyframe or not self._choice.wants()
        return self._is_intra_only and not self._choice.wants()

    def _apply(self, wanted: LeavesOut, packet: Any) -> None:
        """Leave these out from now on; after key frames alone, the others can be decoded from the next one on."""
        codec = self._stream.codec_context
        if wanted == "NONREF" and codec.has_b_frames:
            wanted = "NONE"
        if wanted != self._applied and (self._applied != "NONKEY" or packet.is_keyframe):
            self._applied = wanted
            codec.skip_frame = "NONREF" if wanted == "NONREF" else "DEFAULT"

    def _reconnect(self) -> None:
        self._disconnect()
        self.state = "lost"
        while pause(lambda: self._closed, self._clock, self._backoff.next_s()):
            if self._try_to_connect():
                self.reconnections += 1
                return
            self._check_patience()


def public(address: str) -> str:
    """The address without its secret, fit for messages and traces."""
    return shown(address)


def _timed_out(error: Exception) -> bool:
    """PyAV's timeout interrupts FFmpeg, which then says 'exit requested'."""
    import av

    return isinstance(error, av.error.ExitError)


def open_stream(address: str, timeout: tuple[float, float], transport: str = "tcp", *, gpu: int | None = None) -> Any:
    """The container of a stream, within the first `timeout`; `transport` is that of RTSP. Raises SourceError."""
    scheme = address.partition("://")[0]
    _check_scheme(address, scheme)
    options = {}
    if scheme.lower() in _RTSP:
        options["rtsp_transport"] = transport
    return open_container(address, {**_LOW_DELAY, **options}, timeout, gpu=gpu)


def open_container(
    address: str,
    options: dict[str, str],
    timeout: tuple[float, float],
    kind: str | None = None,
    *,
    name: str = "",
    gpu: int | None = None,
) -> Any:
    """The container of anything that FFmpeg opens, within the first `timeout`; `kind` is the format, if given.

    `name` is for messages, where it is not the address.

    With `gpu` that GPU decodes it.

    Raises SourceError.
    """
    import av

    began = time.monotonic()
    try:
        return _open_in_time(address, options, timeout, kind, decoder_options(gpu))
    except (av.FFmpegError, OSError, ValueError) as error:
        late = time.monotonic() - began >= timeout[0]
        raise _unopened(name or public(address), error, late, timeout[0]) from error


def _open_in_time(
    address: str, options: dict[str, str], timeout: tuple[float, float], kind: str | None, decoder: dict[str, Any]
) -> Any:
    """The container of a stream. Raises what PyAV does, and SourceError where even that does not come in time."""
    import av

    options = {**DECODER_OPTIONS, **options}
    # FFmpeg applies the timeout to connecting and again to finding the streams, but not while it resolves a name.
    return within(
        timeout[0] + _MARGIN_S,
        "the stream cannot be opened",
        lambda: av.open(address, options=options, timeout=timeout, format=kind, **decoder),
        got=public(address),
        fix=_FIX,
        error=SourceError,
        late=lambda container: container.close(),
    )


def _check_scheme(address: str, scheme: str) -> None:
    """Raises SourceError for a protocol of FFmpeg that reads this machine."""
    if any(protocol in _LOCAL for protocol in scheme.lower().replace("+", ",").split(",")):
        raise SourceError("the address is of no stream", got=public(address), expected=_EXPECTED, fix=_FIX)


def _unopened(name: str, error: Exception, late: bool, seconds: float) -> SourceError:
    """The error for a stream that did not open; `late`: because no answer came, whatever FFmpeg reports."""
    if out_of_descriptors(error):
        fix = "close some, or raise the limit (ulimit -n)"
        message = "the stream could not be opened: too many files are open"
        return SourceError(message, got=name, fix=fix)
    reason = getattr(error, "strerror", None) or error
    if late or _timed_out(error):
        reason = f"no answer in {seconds:g} s"
    got = f"{name}: {reason}"
    return SourceError("the stream cannot be opened", got=got, expected=_EXPECTED, fix=_FIX)
