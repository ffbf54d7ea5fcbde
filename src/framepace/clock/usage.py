"""A thread's resource usage: CPU time, context switches, page faults, garbage collection."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

from framepace.clock.system import Clock

Usage = tuple[int, int, int, int, int]
"""A reading of a thread's counters: CPU time (ns), voluntary and involuntary switches, page faults, GC time (ns).

Differences count. A plain tuple: several are made in every inference.
"""

NOTHING: Usage = (0, 0, 0, 0, 0)


class GcClock:
    """Counts Python's garbage collections and their time through gc.callbacks; `start` and `stop` nest."""

    def __init__(self) -> None:
        self.ns = 0
        self.count = 0
        self._began = 0
        self._users = 0

    def start(self) -> None:
        """Begin counting."""
        self._users += 1
        if self._users == 1:
            gc.callbacks.append(self._note)

    def stop(self) -> None:
        """End counting when the last user stops."""
        self._users -= 1
        if self._users == 0:
            gc.callbacks.remove(self._note)

    def _note(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter_ns()
        else:
            self.ns += time.perf_counter_ns() - self._began
            self.count += 1


GC_CLOCK = GcClock()


def thread_usage(clock: Clock) -> Callable[[], Usage]:
    """A function that reads the calling thread's counters in about 1 us; a virtual clock has CPU time only."""
    cpu = clock.cpu
    if clock.virtual:
        return lambda: (cpu(), 0, 0, 0, 0)
    try:
        from resource import RUSAGE_THREAD, getrusage
    except ImportError:  # not Linux
        return lambda: (cpu(), 0, 0, 0, GC_CLOCK.ns)

    def read() -> Usage:
        used = getrusage(RUSAGE_THREAD)
        return (cpu(), used.ru_nvcsw, used.ru_nivcsw, used.ru_minflt + used.ru_majflt, GC_CLOCK.ns)

    return read
