"""The device layer's protocol: all that framepace needs from a GPU. devices/cuda.py implements it.

Everything is asynchronous and ordered by streams and events; nothing here waits for the whole device.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Protocol

from numpy.typing import NDArray

from framepace.errors import FramepaceError


class Event(Protocol):
    """A point in a stream's order, with the device's time at which it was reached."""

    def sync(self) -> None:
        """Wait on the host until it is reached (spinning, or blocked if it was made so). Releases the interpreter."""


class Stream(Protocol):
    """Work in order. `handle` is the CUstream as an int, for libraries that take one."""

    handle: int

    def record(self, event: Event) -> None:
        """Put `event` behind what was enqueued so far."""

    def wait(self, event: Event) -> None:
        """Hold back what comes after until `event`, which may be of another stream; the host goes on."""


class Graph(Protocol):
    """Captured work that is launched as one."""

    def launch(self, stream: Stream) -> None:
        """Enqueue it."""

    def close(self) -> None:
        """Free it; nothing of it may run any more. Idempotent."""


class Memory(Protocol):
    """Device memory. `pointer` is its address as an int, `size` in bytes."""

    pointer: int
    size: int

    def close(self) -> None:
        """Free it. Idempotent."""


class Kernel(Protocol):
    """A function on the device that takes one argument."""

    def launch(
        self, grid: tuple[int, int, int], block: tuple[int, int, int], argument: ctypes.Structure, stream: Stream
    ) -> None:
        """Enqueue it for so many blocks of so many threads; the argument is copied before this returns."""


class Stamps(Protocol):
    """Moments that the device notes, each at a place of its own; graphs may hold that, and run beside each other."""

    def note(self, place: int, stream: Stream) -> None:
        """Have the device note the time when `stream` gets there."""

    def end(self, event: Event, stream: Stream) -> None:
        """Put `event` behind what was enqueued so far, for the host to wait for; its time is not asked for."""

    def read(self) -> list[int]:
        """The moments noted last, laid on the host's clock, ns; once the event behind them was reached."""


class Device(Protocol):
    """One GPU, or a part of its SMs, as one worker uses it. Made and used in the worker's thread.

    Raises BackendError, DeviceMemoryError (with what was needed and what was free) or DeviceLost.
    """

    index: int
    sms: int

    def stream(self) -> Stream:
        """A new stream, restricted to this device's SMs; independent of the default stream."""

    def shared_stream(self) -> Stream:
        """The one stream that all workers of this device may share; never closed."""

    def event(self, blocking: bool = False) -> Event:
        """A new event with timing; `blocking` gives the core up while waiting for it."""

    def is_reached(self, event: Event) -> bool:
        """Whether `event` was reached, asked without letting the interpreter go; False where that is not known."""

    def host(self, shape: tuple[int, ...], dtype: str, pinned: bool) -> NDArray[Any]:
        """A host array, page-locked or not."""

    def memory(self, size: int) -> Memory:
        """`size` bytes of device memory."""

    def upload(self, memory: Memory, array: NDArray[Any], size: int, stream: Stream) -> None:
        """Copy the first `size` bytes of `array` to the device."""

    def download(self, array: NDArray[Any], memory: Memory, size: int, stream: Stream) -> None:
        """Copy `size` bytes from the device into the start of `array`."""

    def elapsed(self, first: Event, second: Event) -> float:
        """Device time from one reached event to another, ns; exact to about 0.5 us, less over long spans."""

    def at(self, event: Event) -> int:
        """When `event`, reached a moment ago, was reached: the device's time laid on the host's clock, ns."""

    def capture(self, work: Callable[[Stream], object]) -> Graph:
        """The work that `work` enqueues on the stream it is given, captured in thread-local mode, one at a time.

        Each launch records the events of that work anew, and waits for those that it waits for.
        """

    def stamps(self, count: int) -> Stamps | None:
        """So many places for moments; None where kernels cannot be compiled."""

    def compile(self, text: str, name: str) -> Kernel:
        """The kernel called `name` of a text in CUDA C++; compiled once in a process."""

    def await_decoder(self, stream: Stream, event: Event) -> None:
        """Hold back what comes after on `stream` until what video decoders wrote so far is there; takes `event`."""

    def error(self, error: Exception, doing: str) -> FramepaceError:
        """What `error`, of the driver or of a library on top of it, means for framepace."""

    def sm_clock(self) -> int:
        """SM clock in MHz now, -1 where unknown."""

    def close(self) -> None:
        """Free streams and memory made here. Idempotent."""
