"""Live streams: pictures as they come, and a connection that is opened again when it breaks."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from framepace.clock.system import Clock
from framepace.deadline import within
from framepace.errors import SourceError
from framepace.facts.address import shown
from framepace.inputfile import out_of_descriptors
from framepace.units import NS_PER_MS, NS_PER_S
from framepace.video.file import DECODER_OPTIONS, Upright, stream_fps, video_stream

TIMEOUT_S = (10.0, 5.0)  # to open, and to wait for data: a stream that hangs is a stream that broke
_BACKOFF_MAX_S = 30
_MARGIN_S = 0.5  # on the time to open, for FFmpeg to say itself what was missing
_SILENCE_S = 1.0  # without a picture, after which a note says so
_NAP_NS = 500 * NS_PER_MS  # how soon a waiting reader sees that it was closed
_LOW_DELAY = {"fflags": "nobuffer", "flags": "low_delay"}
# Protocols that read this machine instead of a network; an address may come from somebody else's plan.
_LOCAL = ("async", "cache", "concat", "concatf", "crypto", "data", "fd", "file", "md5", "pipe", "subfile", "tee")
_EXPECTED = "a stream that answers (rtsp, rtmp, http, udp, ...)"
_FIX = "check the address, and that the camera answers"
_OPTIONS = {"rtsp": {"rtsp_transport": "tcp"}, "rtsps": {"rtsp_transport": "tcp"}}


class LiveStream:
    """A stream from the network; a connection that breaks is opened again, after 1, 2, 4, ... 30 s.

    The first connection must succeed and bring a picture: SourceError names what is wrong with the address. Later ones
    are tried until `close`, which any thread may call: a `read` under way then returns None, within `timeout` (open,
    data; seconds). Damaged packets are skipped and counted. Nothing is dropped here: that is the buffer's decision.

    Args:
        patience_s: how long `read` waits for a picture, reconnecting meanwhile, before it raises SourceError; None
            waits until `close`.
    """

    live = True

    def __init__(
        self, address: str, clock: Clock, timeout: tuple[float, float] = TIMEOUT_S, patience_s: float | None = None
    ) -> None:
        self.name = public(address)
        self._address = address
        self._clock = clock
        self._timeout = timeout
        self._patience_s = patience_s
        self._closed = False
        self._failures = 0
        self._reconnects = 0
        self._damaged = 0
        self._pictures = 0
        self._waiting_since: float | None = None  # of the read that is under way, s
        self._why = ""
        self._upright = Upright()
        self._owner = threading.Lock()  # a container that is closed under a thread that reads it crashes the process
        self._connect()
        self.fps = stream_fps(self._stream)

    @property
    def notes(self) -> list[str]:
        """Breaks so far, and pictures that are missing now."""
        notes = []
        waiting_since = self._waiting_since
        if waiting_since is not None and time.monotonic() - waiting_since >= _SILENCE_S:
            notes.append(f"no picture came in the last {time.monotonic() - waiting_since:.0f} s{self._because()}")
        if self._reconnects:
            notes.append(f"reconnections: {self._reconnects}, the last because {self._why}")
        if self._damaged:
            notes.append(f"damaged packets skipped: {self._damaged}")
        return notes

    def read(self) -> Any:
        """See Source; None only after `close`. Raises SourceError when patience ends, or no picture ever came."""
        with self._owner:
            self._waiting_since = time.monotonic()
            frame = None
            while frame is None and not self._closed:
                frame = self._next()
                if frame is None:
                    self._check_patience()
                    self._reconnect()
            if self._closed:
                self._container.close()
                return None
            self._waiting_since = None
            self._pictures += 1
            return frame

    def close(self) -> None:
        """See Source. A thread that reads closes the connection itself when its read returns."""
        self._closed = True
        if self._owner.acquire(blocking=False):
            self._container.close()
            self._owner.release()

    def _check_patience(self) -> None:
        """Raises SourceError if trying again is useless."""
        assert self._waiting_since is not None
        waited = time.monotonic() - self._waiting_since
        if self._pictures and (self._patience_s is None or waited < self._patience_s):
            return
        if self._closed:
            return
        self._container.close()
        message = "the stream gives no picture"
        if self._pictures:
            message = "the stream gives no more pictures"
        got = f"{self.name}: none in {waited:.0f} s{self._because()}"
        raise SourceError(message, got=got, expected="a picture now and then", fix=_FIX)

    def _because(self) -> str:
        if not self._why:
            return ""
        return f", because {self._why}"

    def _connect(self) -> None:
        container = _open_stream(self._address, self._timeout)
        self._stream = video_stream(container, self.name)
        self._container = container
        self._packets = container.demux()  # of all streams: sound alone must not keep the wait for a picture going
        self._ready: deque[Any] = deque()

    def _next(self) -> Any:
        """The next picture; None when the connection is broken, or brings other things than pictures."""
        began = time.monotonic()
        while not self._ready:
            packet = self._packet()
            if packet is None:
                return None
            if packet.stream_index == self._stream.index:
                self._ready.extend(self._decoded(packet))
            if not self._ready and time.monotonic() - began > max(self._timeout):
                self._why = f"data came for {max(self._timeout):g} s, and no picture"
                return None
        self._failures = 0
        return self._upright(self._ready.popleft())

    def _packet(self) -> Any:
        import av

        try:
            packet = next(self._packets, None)
        except av.FFmpegError as error:
            self._why = f"of: {error.strerror or error}"
            if _timed_out(error):
                self._why = f"no data came for {self._timeout[1]:g} s"
            return None
        if packet is None:
            self._why = "the stream ended"
        return packet

    def _decoded(self, packet: Any) -> list[Any]:
        import av

        try:
            return list(packet.decode())
        except av.FFmpegError:
            self._damaged += 1
            return []

    def _reconnect(self) -> None:
        self._container.close()
        for pause in self._pauses():
            if not self._wait(pause):
                return
            try:
                self._connect()
            except SourceError:
                self._check_patience()
                continue
            self._reconnects += 1
            return

    def _pauses(self) -> Iterator[int]:
        """Seconds to wait before each try; only a picture, not a connection, starts them from the beginning."""
        while True:
            pause = min(_BACKOFF_MAX_S, 1 << min(self._failures, 5))
            self._failures += 1
            yield pause

    def _wait(self, seconds: int) -> bool:
        """Pass the time; False when closed meanwhile."""
        until = self._clock.now() + seconds * NS_PER_S
        while not self._closed and (now := self._clock.now()) < until:
            self._clock.sleep_until(min(until, now + _NAP_NS))
        return not self._closed


def public(address: str) -> str:
    """The address without its secret, fit for messages and traces."""
    return shown(address)


def _timed_out(error: Exception) -> bool:
    """PyAV's timeout interrupts FFmpeg, which then says 'exit requested'."""
    import av

    return isinstance(error, av.error.ExitError)


def _open_stream(address: str, timeout: tuple[float, float]) -> Any:
    """The container of a stream, within the first `timeout`. Raises SourceError."""
    import av

    scheme = address.partition("://")[0]
    _check_scheme(address, scheme)
    began = time.monotonic()
    try:
        return _open_in_time(address, _OPTIONS.get(scheme, {}), timeout)
    except (av.FFmpegError, OSError, ValueError) as error:
        late = time.monotonic() - began >= timeout[0]
        raise _unopened(address, error, late, timeout[0]) from error


def _open_in_time(address: str, of_scheme: dict[str, str], timeout: tuple[float, float]) -> Any:
    """The container of a stream. Raises what PyAV does, and SourceError where even that does not come in time."""
    import av

    options = {**_LOW_DELAY, **DECODER_OPTIONS, **of_scheme}
    # FFmpeg applies the timeout to connecting and again to finding the streams, but not while it resolves a name.
    return within(
        timeout[0] + _MARGIN_S,
        "the stream cannot be opened",
        lambda: av.open(address, options=options, timeout=timeout),
        got=public(address),
        fix=_FIX,
        error=SourceError,
        late=lambda container: container.close(),
    )


def _check_scheme(address: str, scheme: str) -> None:
    """Raises SourceError for a protocol of FFmpeg that reads this machine."""
    if any(protocol in _LOCAL for protocol in scheme.lower().replace("+", ",").split(",")):
        raise SourceError("the address is of no stream", got=public(address), expected=_EXPECTED, fix=_FIX)


def _unopened(address: str, error: Exception, late: bool, seconds: float) -> SourceError:
    """The error for a stream that did not open; `late`: because no answer came, whatever FFmpeg reports."""
    if out_of_descriptors(error):
        fix = "close some, or raise the limit (ulimit -n)"
        message = "the stream could not be opened: too many files are open"
        return SourceError(message, got=public(address), fix=fix)
    reason = getattr(error, "strerror", None) or error
    if late or _timed_out(error):
        reason = f"no answer in {seconds:g} s"
    got = f"{public(address)}: {reason}"
    return SourceError("the stream cannot be opened", got=got, expected=_EXPECTED, fix=_FIX)
