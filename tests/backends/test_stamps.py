"""Moments that the device notes, on doubles of the driver: what is launched, what is read, and the host's clock."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
import pytest

from framepace.devices import stamps
from framepace.devices.stamps import CudaStamps, DeviceClock
from framepace.devices.timeline import Timeline


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


def clock_of(rounds: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> DeviceClock:
    """The device's clock after as many rounds as one renewal takes; each begins at 1,000 times its number.

    Args:
        rounds: how long each takes, and the moment that is noted in it, ns.
    """
    times, moments = [], iter([moment for _, moment in rounds] + [0])
    for number, (length, _) in enumerate(rounds):
        times += [1000 * number, 1000 * number + length]
        if number % 3 == 2:
            times.append(1000 * number + length)  # when the renewal ended
    clock = iter(times)
    monkeypatch.setattr(stamps, "time", SimpleNamespace(perf_counter_ns=lambda: next(clock)))
    kernel = Kernel()
    kernel.now = next(moments)

    def record(event: Any) -> None:
        kernel.now = next(moments)

    return DeviceClock(
        kernel, np.zeros(1, np.int64), SimpleNamespace(record=record), SimpleNamespace(sync=lambda: None)
    )


def test_the_devices_clock_is_held_against_the_middle_of_the_quickest_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three rounds, of 40, 10 and 30 ns: the second one's moment was noted at 1,005 on the host's clock."""
    assert clock_of([(40, 7), (10, 5), (30, 9)], monkeypatch).offset == 1005 - 5


def test_a_renewal_on_a_busy_device_changes_nothing_until_the_last_one_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds that wait for room are longer, and their moments off by as much; exact ones are taken at once."""
    rounds = [(10, 5)] * 3 + [(400, 900)] * 3 + [(9, 4004)] * 3
    clock = clock_of(rounds, monkeypatch)
    first = clock.offset
    clock.renew()
    assert clock.offset == first
    clock.renew()
    assert clock.offset == min((1000 * number + 9 // 2) - 4004 for number in (6, 7, 8))


def test_a_device_that_is_opened_again_has_its_clock_held_against_the_hosts_anew() -> None:
    """Nobody renewed it in between."""
    renewed: list[int] = []
    timeline = Timeline(MagicMock())
    timeline.device_clock(lambda: SimpleNamespace(renew=lambda: renewed.append(1)))  # type: ignore[arg-type, return-value]
    fakes = {"_make": MagicMock(return_value=(None, None)), "_renew": MagicMock(), "_loop": MagicMock()}
    with patch.multiple(Timeline, **fakes):
        for _ in range(2):
            timeline.open()
            timeline.close()
    assert renewed == [1, 1]
