"""Live streams: pictures as they come, and a connection that is opened again when it breaks."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

from framepace.clock.system import Clock
from framepace.errors import SourceError
from framepace.units import NS_PER_MS, NS_PER_S
from framepace.video.file import Upright, stream_fps, video_stream

TIMEOUT_S = (10.0, 5.0)  # to open, and to wait for data: a stream that hangs is a stream that broke
_BACKOFF_MAX_S = 30
_NAP_NS = 500 * NS_PER_MS  # how soon a waiting reader sees that it was closed
_LOW_DELAY = {"fflags": "nobuffer", "flags": "low_delay"}
_OPTIONS = {"rtsp": {"rtsp_transport": "tcp"}, "rtsps": {"rtsp_transport": "tcp"}}


class LiveStream:
    """A stream from the network; a connection that breaks is opened again, after 1, 2, 4, ... 30 s.

    The first connection must succeed: SourceError names what is wrong with the address. Later ones are tried until
    `close`, which any thread may call: a `read` under way then returns None, within `timeout` (open, data; seconds).
    Damaged packets are skipped and counted. Nothing is dropped here: that is the buffer's decision.
    """

    live = True

    def __init__(self, address: str, clock: Clock, timeout: tuple[float, float] = TIMEOUT_S) -> None:
        self.name = public(address)
        self._address = address
        self._clock = clock
        self._timeout = timeout
        self._closed = False
        self._failures = 0
        self._reconnects = 0
        self._damaged = 0
        self._why = ""
        self._upright = Upright()
        self._owner = threading.Lock()  # a container that is closed under a thread that reads it crashes the process
        self._connect()
        self.fps = stream_fps(self._stream)

    @property
    def notes(self) -> list[str]:
        """What broke so far."""
        notes = []
        if self._reconnects:
            notes.append(f"reconnections: {self._reconnects}, the last because {self._why}")
        if self._damaged:
            notes.append(f"damaged packets skipped: {self._damaged}")
        return notes

    def read(self) -> Any:
        """See Source; None only after `close`."""
        with self._owner:
            frame = None
            while frame is None and not self._closed:
                frame = self._next()
                if frame is None:
                    self._reconnect()
            if self._closed:
                self._container.close()
                return None
            return frame

    def close(self) -> None:
        """See Source. A thread that reads closes the connection itself when its read returns."""
        self._closed = True
        if self._owner.acquire(blocking=False):
            self._container.close()
            self._owner.release()

    def _connect(self) -> None:
        container = _open_stream(self._address, self._timeout)
        self._stream = video_stream(container, self.name)
        self._container = container
        self._packets = container.demux(self._stream)
        self._ready: deque[Any] = deque()

    def _next(self) -> Any:
        """The next picture; None when the connection is broken."""
        while not self._ready:
            packet = self._packet()
            if packet is None:
                return None
            self._ready.extend(self._decoded(packet))
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
    """The address without its password, fit for messages and traces."""
    return re.sub(r"://([^/@:]*):[^/@]*@", r"://\1:***@", address)


def _timed_out(error: Exception) -> bool:
    """PyAV's timeout interrupts FFmpeg, which then says 'exit requested'."""
    import av

    return isinstance(error, av.error.ExitError)


def _open_stream(address: str, timeout: tuple[float, float]) -> Any:
    import av

    options = {**_LOW_DELAY, **_OPTIONS.get(address.partition("://")[0], {})}
    try:
        return av.open(address, options=options, timeout=timeout)
    except (av.FFmpegError, OSError) as error:
        reason = error.strerror or error
        if _timed_out(error):
            reason = f"no answer in {timeout[0]:g} s"
        got = f"{public(address)}: {reason}"
        fix = "check the address, and that the camera answers"
        expected = "a stream that answers (rtsp, rtmp, http, udp, ...)"
        raise SourceError("the stream cannot be opened", got=got, expected=expected, fix=fix) from error
