"""What events say: times between them by the driver where it reads what cuda-core reads, else by cuda-core."""

from __future__ import annotations

import ctypes
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from framepace.devices.eventreader import EventReader


class Event:
    """An event at `ms`, below 0 one that was never reached; it counts cuda-core's readings. Its address is a number."""

    subtractions = 0
    made: dict[int, Event] = {}

    def __init__(self, ms: float) -> None:
        self.ms = ms
        self.handle = len(Event.made) + 1
        Event.made[self.handle] = self

    def __sub__(self, other: Event) -> float:
        if self.ms < 0:
            raise RuntimeError("One or both events have not completed")
        Event.subtractions += 1
        return ctypes.c_float(self.ms - other.ms).value


class Function:
    """The driver's function; `off` is how wrong it is."""

    def __init__(self, off: float = 0.0) -> None:
        self.off, self.calls = off, 0

    def __call__(self, out: Any, first: int, second: int) -> int:
        """See the driver API."""
        self.calls += 1
        if Event.made[second].ms < 0:
            return 600  # CUDA_ERROR_NOT_READY
        out._obj.value = Event.made[second].ms - Event.made[first].ms + self.off
        return 0


def times(off: float = 0.0) -> tuple[EventReader, Function]:
    """Readings by a double of the driver."""
    function = Function(off)
    Event.subtractions = 0
    return EventReader(SimpleNamespace(cuEventElapsedTime=function)), function


def test_after_one_that_agrees_the_driver_is_asked_alone() -> None:
    """Ten readings, one of them by cuda-core as well."""
    read, function = times()
    events = [Event(0.1 * i) for i in range(11)]
    found = [read.elapsed(first, second) for first, second in pairwise(events)]
    assert found == pytest.approx([1e5] * 10, rel=1e-5)
    assert (function.calls, Event.subtractions) == (10, 1)


def test_a_driver_that_reads_otherwise_is_not_asked_again() -> None:
    """All are cuda-core's; so are they where the driver has no such function."""
    read, function = times(off=0.5)
    events = [Event(float(i)) for i in range(5)]
    assert [read.elapsed(events[0], event) for event in events] == [0, 1e6, 2e6, 3e6, 4e6]
    assert (function.calls, Event.subtractions) == (1, 5)
    without = EventReader(SimpleNamespace())
    assert without.elapsed(events[0], events[2]) == 2e6


def test_an_event_that_was_not_reached_is_told_in_the_librarys_words() -> None:
    """Also after readings that were right; later ones are the driver's again."""
    read, function = times()
    first, second, never = Event(1.0), Event(2.0), Event(-1.0)
    assert read.elapsed(first, second) == 1e6
    with pytest.raises(RuntimeError, match="have not completed"):
        read.elapsed(first, never)
    assert read.elapsed(first, second) == 1e6
    assert (function.calls, Event.subtractions) == (3, 1)


def test_whether_an_event_was_reached_is_asked_of_the_driver() -> None:
    """An error is no answer, and neither is a driver without the function: both lead to a wait, which tells."""
    codes = {1: 0, 2: 600, 3: 700}
    read = EventReader(SimpleNamespace(cuEventQuery=lambda handle: codes[handle]))
    assert [read.is_reached(SimpleNamespace(handle=handle)) for handle in codes] == [True, False, False]
    assert not EventReader(SimpleNamespace()).is_reached(SimpleNamespace(handle=1))
