"""The virtual clock: time that passes only when every thread of a run waits, so that threads are as exact as numbers.

Threads that joined run one at a time. A thread that waits names the time at which it wants to continue; the earliest
goes next, among equals the one with the lowest number, and time moves to it. Nothing depends on the system's scheduler
or the machine's speed. A thread on its own needs not join, and no threads are switched for it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from framepace.clock.system import When

NEVER = 1 << 62  # later than any time
_QUOTA_PERIOD_NS = 100_000_000
_STUCK = "on a virtual clock every thread waits for another one"


class _Thread:
    """The clock's record of one thread: the time it kept its core busy, and the time its core was halted (ns).

    `order` decides between threads that continue at the same time: workers before those beside them, then by number.
    """

    def __init__(self) -> None:
        self.order = (False, 0)
        self.cpu = 0
        self.halted = 0
        self.awake = False
        self.when: When | None = None
        self.turn = threading.Semaphore(0)


class VirtualClock:
    """Time in ns for one thread, or for several that join; see Clock.

    `oversleep` ns are added to every sleep, as a system's timer does. CPU time passes while spinning only.

    With a `quota` all threads together may spin for so many cores' time in each period of 100 ms, as in a container: a
    thread that spins beyond it stands still until the next period begins.
    """

    virtual = True

    def __init__(self, start: int = 0, oversleep: int = 0, quota: float | None = None) -> None:
        self._now = start
        self._quota = None if quota is None else Quota(quota)
        self._pages_read = -1
        self._is_memory_locked = False
        self.oversleep = oversleep
        self._local = threading.local()
        self._threads: list[_Thread] = []  # all threads that ever used this clock
        self._joining: list[_Thread] = []
        self._crew: list[_Thread] = []  # those that take part now, in order
        self._reserved = 0
        self._workers: int | None = None  # known once the first worker joins
        self._lock = threading.Lock()
        self._stuck = False
        self._abandoned = False

    def now(self) -> int:
        """Virtual time in ns."""
        return self._now

    def cpu(self) -> int:
        """Virtual CPU time of the calling thread in ns."""
        return self._current().cpu

    def halted(self) -> int:
        """Time in ns for which the calling thread's core had nothing to run and halted; never under `awake`."""
        return self._current().halted

    def process_cpu(self) -> int:
        """Virtual CPU time of all threads in ns."""
        with self._lock:
            return sum(thread.cpu for thread in self._threads)

    def throttled(self) -> int:
        """Virtual time in ns for which a quota held threads up; -1 without a quota."""
        if self._quota is None:
            return -1
        return self._quota.throttled

    def pages_read(self) -> int:
        """Pages that were read so far; -1 where none ever was."""
        return self._pages_read

    def read_page(self, ns: int) -> None:
        """Wait `ns` for a page, unless memory is locked."""
        if self._is_memory_locked:
            return
        self._pages_read = max(0, self._pages_read) + 1
        self.sleep_until(self._now + ns)

    @contextmanager
    def memory_locked(self) -> Iterator[None]:
        """Read no page meanwhile; the process's own memory stays as it is."""
        self._is_memory_locked = True
        try:
            yield
        finally:
            self._is_memory_locked = False

    def sleep_until(self, due: int) -> None:
        """Give up the core until `due` plus the oversleep."""
        if due > self._now:
            self._pass(lambda: due + self.oversleep, spins=False)

    def spin_until(self, due: int) -> None:
        """Keep the core busy until `due`."""
        if due <= self._now:
            return
        if self._quota is not None:
            due = self._quota.end_of(self._now, due)
        self._pass(lambda: due, spins=True)

    def pass_until(self, when: When, spins: bool) -> None:
        """See Clock. `when` is also called again whenever time has moved or another thread ran."""
        if when() > self._now:
            self._pass(when, spins)

    @contextmanager
    def joined(self, index: int, of: int) -> Iterator[None]:
        """See Clock. A worker on its own, with nobody beside it, does not join: its time is everybody's."""
        if of == 1 and not self._reserved:
            yield
            return
        with self._lock:
            self._workers = of
        with self._taking_part((False, index)):
            yield

    def reserve(self, count: int) -> Sequence[AbstractContextManager[None]]:
        """See Clock."""
        with self._lock:
            first = self._reserved
            self._reserved += count
        return [self._taking_part((True, number)) for number in range(first, first + count)]

    def begin(self) -> None:
        """See Clock."""
        with self._lock:
            self._abandoned = False
            self._reserved = 0
            self._workers = None

    def abandon(self) -> None:
        """See Clock."""
        with self._lock:
            self._abandoned = True
            for thread in self._joining:
                thread.turn.release()
            self._joining = []

    @contextmanager
    def awake(self) -> Iterator[None]:
        """The calling thread's core does not halt while the thread sleeps, as with a keeper beside it."""
        thread = self._current()
        before = thread.awake
        thread.awake = True
        try:
            yield
        finally:
            thread.awake = before

    def lock(self) -> VirtualLock:
        """A lock that threads may hold while time passes."""
        return VirtualLock(self)

    def condition(self) -> VirtualCondition:
        """A condition whose waiting threads count as waiting for the clock."""
        return VirtualCondition(self)

    @contextmanager
    def _taking_part(self, order: tuple[bool, int]) -> Iterator[None]:
        thread = self._current()
        self._join(thread, order)
        try:
            self._go_on(thread)
            yield
        finally:
            self._crew.remove(thread)
            if self._crew and not self._stuck:
                self._choose().turn.release()

    def _join(self, thread: _Thread, order: tuple[bool, int]) -> None:
        """Block until all have joined and it is the turn of `thread`. Raises BrokenBarrierError after `abandon`."""
        with self._lock:
            thread.order = order
            thread.turn = threading.Semaphore(int(self._abandoned))
            self._joining.append(thread)
            self._start_when_all_joined()
        thread.turn.acquire()
        if thread not in self._crew:
            raise threading.BrokenBarrierError

    def _start_when_all_joined(self) -> None:
        """Let the first thread go once every worker and every reserved thread is there; called with the lock held."""
        if self._abandoned:
            self._joining = []
        if self._workers is None or len(self._joining) < self._workers + self._reserved:
            return
        self._crew = sorted(self._joining, key=lambda thread: thread.order)
        self._joining = []
        self._reserved = 0
        self._workers = None
        self._stuck = False
        for thread in self._crew:
            thread.when = self.now
        self._choose().turn.release()

    def _current(self) -> _Thread:
        """The record of the calling thread."""
        try:
            thread: _Thread = self._local.thread
        except AttributeError:
            thread = self._local.thread = _Thread()
            with self._lock:
                self._threads.append(thread)
        return thread

    def _pass(self, when: When, spins: bool) -> None:
        thread = self._current()
        began = self._now
        if not self._crew:
            self._pass_alone(when)
        elif thread in self._crew:
            thread.when = when
            self._choose().turn.release()
            self._resume(thread)
        else:
            raise RuntimeError("a thread waits on a virtual clock without being one of its registered threads")
        if spins:
            thread.cpu += self._now - began
        elif not thread.awake:
            thread.halted += self._now - began

    def _pass_alone(self, when: When) -> None:
        while (due := when()) > self._now:
            if due >= NEVER:
                raise RuntimeError(_STUCK)
            self._now = due

    def _resume(self, thread: _Thread) -> None:
        """Block until it is the turn of `thread`, the calling one."""
        thread.turn.acquire()
        self._go_on(thread)

    def _go_on(self, thread: _Thread) -> None:
        """It is the turn of `thread`."""
        thread.when = None
        if self._stuck:
            raise RuntimeError(_STUCK)

    def _choose(self) -> _Thread:
        """The thread whose turn is next; time moves to it. The others' times are asked again at every step."""
        while True:
            waits = ((thread.when(), place) for place, thread in enumerate(self._crew) if thread.when is not None)
            due, place = min(waits)
            if due <= self._now:
                return self._crew[place]
            if due >= NEVER:
                return self._give_up()
            self._now = due

    def _give_up(self) -> _Thread:
        """Every thread waits for another one. All are released, to raise an error."""
        self._stuck = True
        for thread in self._crew[1:]:
            thread.turn.release()
        return self._crew[0]


class Quota:
    """The CPU time that a container may use: `cores` times each period of 100 ms."""

    def __init__(self, cores: float) -> None:
        self.throttled = 0
        self._allowed = round(cores * _QUOTA_PERIOD_NS)
        self._period = -1
        self._used = 0

    def end_of(self, now: int, due: int) -> int:
        """When a thread that wants to spin from `now` to `due` has done so, with the time it is held up (ns)."""
        remaining = due - now
        while True:
            period, passed = divmod(now, _QUOTA_PERIOD_NS)
            if period != self._period:
                self._period = period
                self._used = 0
            runs = min(remaining, self._allowed - self._used, _QUOTA_PERIOD_NS - passed)
            self._used += max(0, runs)
            now += max(0, runs)
            remaining -= max(0, runs)
            if remaining <= 0:
                return now
            if self._used >= self._allowed:
                self.throttled += (period + 1) * _QUOTA_PERIOD_NS - now
                now = (period + 1) * _QUOTA_PERIOD_NS


class VirtualLock:
    """A mutual exclusion between the threads of a virtual clock; a context manager. Not re-entrant."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._held = False

    def __enter__(self) -> VirtualLock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self, blocking: bool = True) -> bool:
        """Take it; false where it is held and is not to be waited for."""
        if blocking:
            self._clock.pass_until(self._free_at, spins=False)
        elif self._held:
            return False
        self._held = True
        return True

    def release(self) -> None:
        """Give it up."""
        self._held = False

    def _free_at(self) -> int:
        if self._held:
            return NEVER
        return self._clock.now()


class VirtualCondition:
    """A condition variable between the threads of a virtual clock, as threading.Condition; held only for moments.

    Threads that did not join (a signal handler, a flusher) may notify, and never hold the clock up.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._changes = 0

    def __enter__(self) -> VirtualCondition:
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def notify_all(self) -> None:
        """Let all that wait look again."""
        self._changes += 1

    def wait(self, timeout: float | None = None) -> bool:
        """Release the lock until notified or `timeout` virtual seconds have passed; whether it was notified."""
        clock = self._clock
        before = self._changes
        due = NEVER
        if timeout is not None:
            due = clock.now() + round(timeout * 1e9)

        def when() -> int:
            if self._changes != before:
                return clock.now()
            return due

        self._lock.release()
        try:
            clock.pass_until(when, spins=False)
        finally:
            self._lock.acquire()
        return self._changes != before
