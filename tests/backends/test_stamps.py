"""Moments that the device notes, on doubles of the driver: what is launched, what is read, and the host's clock."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from framepace.devices import stamps
from framepace.devices.stamps import CudaStamps, DeviceClock


class Kernel:
    """Writes the device's clock where its argument says, at once."""

    def __init__(self) -> None:
        self.now = 0
        self.launched: list[Any] = []

    def launch(self, grid: Any, block: Any, argument: ctypes.Structure, stream: Any) -> None:
        """See Kernel."""
        assert grid == block == (1, 1, 1)
        self.launched.append(stream)
        address = ctypes.c_void_p.from_buffer(argument).value
        ctypes.c_int64.from_address(address or 0).value = self.now


class Library:
    """A driver whose cuEventRecord returns what it is told to."""

    def __init__(self, code: int) -> None:
        self.recorded: list[tuple[int, int]] = []

        def record(event: int, stream: int) -> int:
            self.recorded.append((event, stream))
            return code

        self.cuEventRecord = record


def made(count: int = 3, offset: int = 0, code: int = 0) -> tuple[CudaStamps, Kernel, Library]:
    """Stamps on doubles; the driver's record returns `code`."""
    kernel, library = Kernel(), Library(code)
    return CudaStamps(kernel, np.zeros(count, np.int64), lambda: offset, library), kernel, library


def test_each_moment_is_noted_at_its_own_place_and_read_on_the_hosts_clock() -> None:
    """The last one that was noted there, with what the clocks are apart."""
    noted, kernel, _ = made(offset=-1000)
    for place, now in ((2, 5000), (0, 6000), (2, 7000)):
        kernel.now = now
        noted.note(place, SimpleNamespace(handle=9))
    assert noted.read() == [5000, -1000, 6000]


def test_the_end_is_recorded_by_the_driver_itself() -> None:
    """With the handles of the event and the stream; the bindings are not asked."""
    noted, _, library = made()
    event = SimpleNamespace(handle=4)
    noted.end(event, SimpleNamespace(handle=9))
    noted.end(event, SimpleNamespace(handle=8))
    assert library.recorded == [(4, 9), (4, 8)]


def test_an_end_that_the_driver_refuses_is_left_to_the_bindings() -> None:
    """Whose words an error has."""
    noted, _, _ = made(code=700)
    asked: list[Any] = []
    event = SimpleNamespace(handle=4)
    noted.end(event, SimpleNamespace(handle=9, record=asked.append))
    assert asked == [event]


def test_the_devices_clock_is_held_against_the_middle_of_the_quickest_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three rounds, of 40, 10 and 30 ns: the second one's moment was noted at 105 on the host's clock."""
    times = iter([0, 40, 100, 110, 200, 230])
    monkeypatch.setattr(stamps, "time", SimpleNamespace(perf_counter_ns=lambda: next(times)))
    kernel = Kernel()
    moments = iter([7, 5, 9])

    def record(event: Any) -> None:
        kernel.now = next(moments, 0)

    kernel.now = next(moments)
    stream = SimpleNamespace(handle=1, record=record)
    clock = DeviceClock(kernel, np.zeros(1, np.int64), stream, SimpleNamespace(sync=lambda: None))
    assert clock.offset == 105 - 5
