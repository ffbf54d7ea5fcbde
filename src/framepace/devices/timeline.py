"""The device's clock on the host's time line."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from framepace.devices.stamps import DeviceClock

_ANCHOR_S = 0.5


class Timeline:
    """The device's clock laid on the host's: an event whose host time is known, renewed twice per second.

    Devices drift by some 10 us per second against the host, and an event's distance is a float of milliseconds, so the
    anchor must be near. Its host time is that of the quickest of a few record-and-wait rounds, half their length exact.
    """

    def __init__(self, device: Any) -> None:
        self._device = device
        self._users = 0
        self._lock = threading.Lock()
        self._end = threading.Event()
        self.anchor: tuple[Any, int] = (None, 0)
        self._clock: DeviceClock | None = None

    def open(self) -> None:
        """Start renewing; the first anchor is there on return."""
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._end = threading.Event()
                stream, events = self._make()
                self._renew(stream, events)
                if self._clock is not None:  # of the time before, when somebody had it open
                    self._clock.renew()
                args = (self._end, stream, events)
                threading.Thread(target=self._loop, args=args, name="device-clock", daemon=True).start()

    def close(self) -> None:
        """Stop renewing when nobody is left."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._end.set()

    def device_clock(self, make: Callable[[], DeviceClock]) -> DeviceClock:
        """The device's own clock, made once, which is held against the host's as often as events are."""
        with self._lock:
            self._clock = self._clock or make()
            return self._clock

    def _make(self) -> tuple[Any, deque[Any]]:
        from cuda.core import EventOptions

        # Several events in turn: a reader may hold the one before while the next is recorded.
        events = deque(self._device.create_event(EventOptions(timing_enabled=True)) for _ in range(8))
        return self._device.create_stream(), events

    def _loop(self, end: threading.Event, stream: Any, events: deque[Any]) -> None:
        with suppress(Exception):  # a lost device is the workers' to report
            self._device.set_current()
            _allow_captures_elsewhere()
            while not end.wait(_ANCHOR_S):
                self._renew(stream, events)
                if self._clock is not None:
                    self._clock.renew()

    def _renew(self, stream: Any, events: deque[Any]) -> None:
        best: tuple[int, Any, int] | None = None
        for _ in range(3):
            event = events[0]
            events.rotate(-1)
            before = time.perf_counter_ns()
            stream.record(event)
            event.sync()
            after = time.perf_counter_ns()
            if best is None or after - before < best[0]:
                best = (after - before, event, (before + after) // 2)
        assert best is not None
        self.anchor = best[1:]


def _allow_captures_elsewhere() -> None:
    """Let this thread wait for events while another captures in 'global' mode, as ONNX Runtime does.

    A thread in that mode, which all begin with, may not: its call fails and breaks the capture (CUDA driver API,
    cuThreadExchangeStreamCaptureMode).
    """
    from cuda.bindings import driver

    driver.cuThreadExchangeStreamCaptureMode(driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED)
