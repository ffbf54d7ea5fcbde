"""When a GPU had done what a call gave it: two CUDA events around the call, on the stream that it uses.

Standard library only: the driver's own library is called. A call of PyTorch or TensorRT returns before its kernels have
run. The time between the two events, from when the call began or the device had done the one before it, says when they
had: earlier than in truth by what else the stream was still busy with as the call began. Events are read when the same
thread makes its next call, so that nothing waits for the device, and the last call of a thread stays without.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from _framepace_marks import FRAME

if TYPE_CHECKING:
    from _framepace_probe import Probe

_NOT_READY = 600  # CUDA_ERROR_NOT_READY
_RELAXED = 2  # CU_STREAM_CAPTURE_MODE_RELAXED: a query does not break a graph that another thread captures
_MOST_OPEN = 256  # calls of a thread whose events have not come by
_NS_PER_MS = 1_000_000
StreamOf = Callable[[tuple[Any, ...], dict[str, Any]], "int | None"]


class Driver:
    """CUDA's driver, as far as it is needed. Raises OSError where it is not there or refuses."""

    def __init__(self) -> None:
        self._cuda = ctypes.CDLL("libcuda.so.1")

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._cuda, name)(*arguments)
        if code:
            raise OSError(f"{name} returned {code}")

    def event(self) -> ctypes.c_void_p:
        """A new event."""
        event = ctypes.c_void_p()
        self._call("cuEventCreate", ctypes.byref(event), 0)
        return event

    def record(self, event: ctypes.c_void_p, stream: int) -> None:
        """The event comes by when the stream has done what it was given."""
        self._call("cuEventRecord", event, ctypes.c_void_p(stream))

    def captures(self, stream: int) -> bool:
        """Whether the stream's work becomes a graph, and does not run now."""
        status = ctypes.c_int()
        self._call("cuStreamIsCapturing", ctypes.c_void_p(stream), ctypes.byref(status))
        return status.value != 0

    def elapsed_ns(self, first: ctypes.c_void_p, second: ctypes.c_void_p) -> int | None:
        """The time between two events; None where the second has not come by."""
        mode = ctypes.c_int(_RELAXED)
        self._call("cuThreadExchangeStreamCaptureMode", ctypes.byref(mode))
        try:
            return self._elapsed_ns(first, second)
        finally:
            self._call("cuThreadExchangeStreamCaptureMode", ctypes.byref(mode))

    def _elapsed_ns(self, first: ctypes.c_void_p, second: ctypes.c_void_p) -> int | None:
        if self._cuda.cuEventQuery(second) == _NOT_READY:
            return None
        elapsed = ctypes.c_float()
        self._call("cuEventElapsedTime", ctypes.byref(elapsed), first, second)
        return int(elapsed.value * _NS_PER_MS)


class _Thread(threading.local):
    """The calls of a thread whose events have not come by, events that are free, and when the device was last done."""

    def __init__(self) -> None:
        self.open: deque[tuple[int, int, Any, Any]] = deque()
        self.free: list[tuple[Any, Any]] = []
        self.done = 0


class Device:
    """Adds a row 'device' for each call: from its begin until the device had done it."""

    def __init__(self, probe: Probe, driver: Callable[[], Any] = Driver) -> None:
        self._probe = probe
        self._make = driver
        self._driver: Any = None
        self._given_up = False
        self._thread = _Thread()
        self._row = probe.number_of("device", "device")

    def around(self, call: Callable[..., Any], stream_of: StreamOf) -> Callable[..., Any]:
        """The call with events around it; `stream_of` gives its stream from its arguments, None for no device."""

        def observed(*arguments: Any, **options: Any) -> Any:
            stream = self._quietly(stream_of, arguments, options)
            if stream is None or self._given_up:
                return call(*arguments, **options)
            pair = self._quietly(self._begin, stream)
            begin = time.perf_counter_ns()
            result = call(*arguments, **options)
            if pair is not None:
                self._quietly(self._end, stream, begin, pair)
            return result

        return observed

    def _quietly(self, step: Callable[..., Any], *arguments: Any) -> Any:
        """An error of the probe is none of the program: there are no more events then."""
        if self._given_up:
            return None
        try:
            return step(*arguments)
        except Exception as error:
            self._given_up = True
            self._probe.note(f"when the device had done a call is not known: {error}")
            return None

    def _begin(self, stream: int) -> Any:
        self._driver = self._driver or self._make()
        if self._driver.captures(stream) or len(self._thread.open) >= _MOST_OPEN:
            return None
        self._read()
        if not self._thread.free:
            self._thread.free.append((self._driver.event(), self._driver.event()))
        pair = self._thread.free.pop()
        self._driver.record(pair[0], stream)
        return pair

    def _end(self, stream: int, begin: int, pair: tuple[Any, Any]) -> None:
        self._driver.record(pair[1], stream)
        self._thread.open.append((begin, FRAME.get(), *pair))

    def _read(self) -> None:
        """Rows of the calls that the device has done, in order."""
        thread = self._thread
        while thread.open:
            begin, frame, *pair = thread.open[0]
            took = self._driver.elapsed_ns(*pair)
            if took is None:
                return
            thread.open.popleft()
            thread.free.append(tuple(pair))
            thread.done = max(begin, thread.done) + took
            self._probe.add((self._row, begin, thread.done, threading.get_ident(), 0, frame))
