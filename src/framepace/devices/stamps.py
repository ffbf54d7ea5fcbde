"""Moments that the device notes itself: kernels that write its clock into the host's memory.

An event that has a time and is followed by a copy, in a graph or before it, keeps graphs of other streams from running
beside that one: on an H200 (driver 580) three or four were under way at once, whatever the number of streams, and as
many as the device has room for without. Kernels do not, and what they wrote is read without a call of the driver's. A
request alone takes 6 to 12 us longer with them.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from framepace.devices.heldcalls import held
from framepace.devices.protocol import Event, Kernel, Stream

# The global timer counts ns, in steps of 32 on an H200 (PTX ISA, "Special Registers: %globaltimer").
TEXT = """
struct Place { unsigned long long* ns; };

extern "C" __global__ void note(Place place) {
    unsigned long long now;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
    *place.ns = now;
}
"""
_ONE = (1, 1, 1)
_ROUNDS = 3
_DRIFT = 20e-6  # of the time, at most; some 10 us per second were seen


class _Place(ctypes.Structure):
    """The argument of the kernel."""

    _fields_ = (("ns", ctypes.c_void_p),)


class CudaStamps:
    """See protocol.Stamps.

    Args:
        kernel: of TEXT.
        moments: page-locked, int64, an element for each place.
        offset: what to add to the device's clock for the host's, ns.
        library: a driver's library to use instead of the machine's.
    """

    def __init__(self, kernel: Kernel, moments: NDArray[Any], offset: Callable[[], int], library: Any = None) -> None:
        self._kernel = kernel
        self._moments = moments
        self._offset = offset
        self._places = [_Place(moments.ctypes.data + number * moments.itemsize) for number in range(len(moments))]
        self._record = held("cuEventRecord", ctypes.c_void_p, ctypes.c_void_p, library=library)
        self._handles: dict[int, int] = {}

    def note(self, place: int, stream: Stream) -> None:
        """See Stamps."""
        self._kernel.launch(_ONE, _ONE, self._places[place], stream)

    def end(self, event: Any, stream: Stream) -> None:
        """See Stamps; with the interpreter lock held, as it is called in every request."""
        handle = self._handles.get(id(event))
        if handle is None:
            handle = self._handles[id(event)] = int(event.handle)
        if self._record is None or self._record(handle, stream.handle) != 0:
            stream.record(event)

    def read(self) -> list[int]:
        """See Stamps."""
        offset = self._offset()
        return [moment + offset for moment in self._moments.tolist()]


class DeviceClock:
    """The device's clock held against the host's: `offset` (ns) is what to add to it.

    That of the quickest of a few rounds, exact to half their length. To be renewed now and then: the two drift. A round
    on a device that is busy waits for room there, and tells less than one before it, until that has grown old.

    Args:
        kernel: of TEXT.
        moment: page-locked, one int64.
        stream, event: taken for this.
    """

    def __init__(self, kernel: Kernel, moment: NDArray[Any], stream: Stream, event: Event) -> None:
        self._stamps = CudaStamps(kernel, moment, lambda: 0)
        self._stream = stream
        self._event = event
        self._renewing = threading.Lock()
        self._exact = 0  # ns
        self._at: int | None = None
        self.offset = 0
        self.renew()

    def renew(self) -> None:
        """Hold them against each other again."""
        with self._renewing:
            length, offset = min(self._round() for _ in range(_ROUNDS))
            now = time.perf_counter_ns()
            if self._at is None or length <= self._exact + (now - self._at) * _DRIFT:
                self._exact, self._at, self.offset = length, now, offset

    def _round(self) -> tuple[int, int]:
        """How long it took, and the offset."""
        before = time.perf_counter_ns()
        self._stamps.note(0, self._stream)
        self._stream.record(self._event)
        self._event.sync()
        after = time.perf_counter_ns()
        return after - before, (before + after) // 2 - self._stamps.read()[0]
