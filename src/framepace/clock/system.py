"""The clock is a parameter: everything that reads or passes time takes one."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Time in ns. `virtual` clocks advance only when someone waits on them."""

    virtual: bool

    def now(self) -> int:
        """Monotonic time in ns; comparable between threads and processes of one machine."""

    def cpu(self) -> int:
        """CPU time of the calling thread in ns."""

    def process_cpu(self) -> int:
        """CPU time of all threads of the process in ns."""

    def sleep_until(self, due: int) -> None:
        """Give up the core until `due` (ns); may return late, never early."""

    def spin_until(self, due: int) -> None:
        """Keep the core busy until `due` (ns)."""


def _release_lock() -> Callable[[float], object]:
    """A call that releases the interpreter lock and returns at once; poll objects are not shared between threads."""
    return select.poll().poll if hasattr(select, "poll") else time.sleep


class SystemClock:
    """The machine's monotonic clock (CLOCK_MONOTONIC on Linux)."""

    virtual = False
    now = staticmethod(time.perf_counter_ns)
    cpu = staticmethod(time.thread_time_ns)
    process_cpu = staticmethod(time.process_time_ns)

    def sleep_until(self, due: int) -> None:
        """Sleep until `due`, again if the system woke the thread early."""
        while (left := due - time.perf_counter_ns()) > 0:
            time.sleep(left / 1e9)

    def spin_until(self, due: int) -> None:
        """Read the clock until `due`, letting other Python threads run.

        A bare loop would hold the interpreter lock for whole switch intervals: a second thread then wakes 5 ms late
        (measured). `poll` with no descriptors releases the lock, keeps the core, and costs 0.3 us.
        """
        release = _release_lock()
        while time.perf_counter_ns() < due:
            release(0)


def wait_until(clock: Clock, due: int, wait: str, spin_ns: int) -> None:
    """Pass the time until `due` by policy `wait`: 'sleep', 'spin', or 'hybrid' (sleep, then spin the last `spin_ns`).

    A sleeping thread wakes 50 to 200 us late on common systems, so the end of a hybrid wait is spun.
    """
    if wait != "spin":
        clock.sleep_until(due if wait == "sleep" else due - spin_ns)
    clock.spin_until(due)
