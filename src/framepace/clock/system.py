"""The clock is a parameter: everything that reads time, waits or locks takes one."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from operator import attrgetter
from typing import Any, Literal, Protocol

from framepace.errors import UsageError

When = Callable[[], int]
WaitPolicy = Literal["sleep", "spin", "hybrid"]
_MCL_CURRENT_FUTURE = 3  # mlockall(2)


class Condition(AbstractContextManager[Any], Protocol):
    """What is used of threading.Condition; within it the lock is held."""

    def notify_all(self) -> None:
        """Wake every thread that waits; called with the lock held."""

    def wait(self, timeout: float | None = None) -> bool:
        """Release the lock until notified or `timeout` seconds have passed; whether it was notified."""


class _Condition(threading.Condition):
    """One whose lock is taken and given up without a call of Python's: threading's own makes two, in every request."""

    __enter__: Any = property(attrgetter("lock.__enter__"))
    __exit__: Any = property(attrgetter("lock.__exit__"))

    def __init__(self) -> None:
        self.lock = threading.RLock()
        super().__init__(self.lock)


class Lock(AbstractContextManager[Any], Protocol):
    """What is used of threading.Lock."""

    def acquire(self, blocking: bool = True) -> bool:
        """Take it; false where it is held and `blocking` is false."""

    def release(self) -> None:
        """Give it up."""


class Clock(Protocol):
    """Time in ns, and what threads need to wait for each other in that time.

    A `virtual` clock advances only when every thread that takes part waits on it: locks and conditions that are held
    while time passes come from the clock, and threads say that they take part (`joined`, `reserve`). On the system's
    clock these are threading's, and nobody needs to say anything.
    """

    virtual: bool

    def now(self) -> int:
        """Monotonic time in ns; comparable between threads and processes of one machine."""

    def cpu(self) -> int:
        """CPU time of the calling thread in ns."""

    def process_cpu(self) -> int:
        """CPU time of all threads of the process in ns."""

    def halted(self) -> int:
        """Time in ns for which the core of the calling thread had nothing to run and halted."""

    def throttled(self) -> int:
        """Time in ns for which a CPU quota stopped the threads; -1 where the clock knows of none."""

    def pages_read(self) -> int:
        """Pages that the process had to wait for until they were read from a disk; -1 where the clock knows of none."""

    def read_page(self, ns: int) -> None:
        """Wait `ns` for a page that is not in memory, as a simulated device has it; not where memory is locked."""

    def memory_locked(self) -> AbstractContextManager[None]:
        """Lock all pages of the process in memory. Raises UsageError where that is not allowed."""

    def sleep_until(self, due: int) -> None:
        """Give up the core until `due` (ns); may return late, never early."""

    def spin_until(self, due: int) -> None:
        """Keep the core busy until `due` (ns)."""

    def pass_until(self, when: When, spins: bool) -> None:
        """Wait until the time `when()` (ns), spinning or sleeping. `when` is called again whenever a wait ends."""

    def lock(self) -> Lock:
        """A lock that may be held while time passes. Not re-entrant."""

    def condition(self) -> Condition:
        """A condition on which threads wait for each other."""

    def joined(self, index: int, of: int) -> AbstractContextManager[None]:
        """Within it the calling thread takes part as worker number `index` of `of`; none continues before all joined.

        A thread that never comes would hold back the others: enter when nothing can fail any more before it.
        """

    def reserve(self, count: int) -> Sequence[AbstractContextManager[None]]:
        """Places for `count` threads beside the workers, such as those of a feed; each thread enters its own.

        To be called before the workers join, who then also wait for these threads.
        """

    def begin(self) -> None:
        """A run begins, whose threads will join; what was reserved or abandoned before is forgotten."""

    def abandon(self) -> None:
        """A thread of the run will not join: who waits for it or joins later raises threading.BrokenBarrierError."""

    def awake(self) -> AbstractContextManager[None]:
        """Within it the core of the calling thread does not halt while the thread sleeps.

        Only a virtual clock can do this by itself: real cores are kept awake by engine.corekeeper.
        """


def _interpreter_lock_release() -> Callable[[float], object]:
    """A call that releases the interpreter lock and returns at once; poll objects are not shared between threads."""
    if hasattr(select, "poll"):
        return select.poll().poll
    return time.sleep


class SystemClock:
    """The machine's monotonic clock (CLOCK_MONOTONIC on Linux), with the locks of `threading`."""

    virtual = False
    now = staticmethod(time.perf_counter_ns)
    cpu = staticmethod(time.thread_time_ns)
    process_cpu = staticmethod(time.process_time_ns)
    lock = staticmethod(threading.Lock)

    def halted(self) -> int:
        """All time that is not CPU time of the calling thread."""
        return time.perf_counter_ns() - time.thread_time_ns()

    def throttled(self) -> int:
        """Unknown here: the telemetry of the host reads it from the control group."""
        return -1

    def pages_read(self) -> int:
        """Unknown here: the telemetry of the host counts major faults."""
        return -1

    def read_page(self, ns: int) -> None:
        """Sleep, whatever is locked: no page is missing here."""
        self.sleep_until(time.perf_counter_ns() + ns)

    @contextmanager
    def memory_locked(self) -> Iterator[None]:
        """By mlockall(2); Linux, needs the memlock limit."""
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mlockall(_MCL_CURRENT_FUTURE) != 0:
            raise UsageError("memory cannot be locked", got=f"errno {ctypes.get_errno()}", fix="raise 'ulimit -l'")
        try:
            yield
        finally:
            libc.munlockall()

    def sleep_until(self, due: int) -> None:
        """Sleep until `due`, again if the system woke the thread early."""
        while (remaining := due - time.perf_counter_ns()) > 0:
            time.sleep(remaining / 1e9)

    def spin_until(self, due: int) -> None:
        """Read the clock until `due`, letting other Python threads run.

        A bare loop would hold the interpreter lock for whole switch intervals: a second thread then wakes 5 ms late
        (measured). `poll` with no descriptors releases the lock, keeps the core, and costs 0.3 us.
        """
        release = _interpreter_lock_release()
        while time.perf_counter_ns() < due:
            release(0)

    def pass_until(self, when: When, spins: bool) -> None:
        """See Clock."""
        while (due := when()) > time.perf_counter_ns():
            if spins:
                self.spin_until(due)
            else:
                self.sleep_until(due)

    def condition(self) -> Condition:
        """See Clock."""
        return _Condition()

    def joined(self, index: int, of: int) -> AbstractContextManager[None]:
        """Nothing to do: time passes for every thread."""
        return nullcontext()

    def reserve(self, count: int) -> Sequence[AbstractContextManager[None]]:
        """Contexts that do nothing."""
        return [nullcontext() for _ in range(count)]

    def begin(self) -> None:
        """Nothing to do: nobody waits for others to join."""

    def abandon(self) -> None:
        """Nothing to do: nobody waits for others to join."""

    def awake(self) -> AbstractContextManager[None]:
        """Nothing: see engine.corekeeper."""
        return nullcontext()


def wait_until(clock: Clock, due: int, policy: WaitPolicy, spin_ns: int) -> None:
    """Pass the time until `due` by `policy`; 'hybrid' sleeps, then spins the last `spin_ns`.

    A sleeping thread wakes 50 to 200 us late on common systems, so the end of a hybrid wait is spun.
    """
    if policy == "sleep":
        clock.sleep_until(due)
    elif policy == "hybrid":
        clock.sleep_until(due - spin_ns)
    clock.spin_until(due)
