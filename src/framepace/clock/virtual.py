"""The virtual clock: time that passes only when every thread of a run waits, so that threads are as exact as numbers.

Threads that registered run one at a time. One that waits says when it wants to go on; the earliest goes next, of equal
ones the one with the lowest index, and time moves to it. Nothing depends on the system's scheduler or the machine's
speed. A thread on its own needs no registration and switches nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from framepace.clock.system import Clock

When = Callable[[], int]
NEVER = 1 << 62  # later than any time
_STUCK = "on a virtual clock every thread waits for another one"


class _Thread:
    """What the clock knows of one thread: the time it kept its core busy, and the time its core was halted (ns)."""

    def __init__(self) -> None:
        self.index, self.cpu, self.halted, self.awake = 0, 0, 0, False
        self.when: When | None = None
        self.turn = threading.Semaphore(0)


class VirtualClock:
    """Time in ns for one thread, or for several that register with `thread`; see Clock.

    `oversleep` ns are added to every sleep, as a system's timer does. CPU time passes while spinning only.
    """

    virtual = True

    def __init__(self, start: int = 0, oversleep: int = 0) -> None:
        self._now, self.oversleep = start, oversleep
        self._local = threading.local()
        self._joining: list[_Thread] = []
        self._crew: list[_Thread] = []
        self._known: list[_Thread] = []
        self._lock = threading.Lock()
        self._stuck = False

    def now(self) -> int:
        """Virtual time in ns."""
        return self._now

    def cpu(self) -> int:
        """Virtual CPU time of the calling thread in ns."""
        return self._mine().cpu

    def halted(self) -> int:
        """Time in ns for which the calling thread's core had nothing to run and halted; never under `awake`."""
        return self._mine().halted

    def process_cpu(self) -> int:
        """Virtual CPU time of all threads in ns."""
        with self._lock:
            return sum(thread.cpu for thread in self._known)

    def sleep_until(self, due: int) -> None:
        """Give up the core until `due` plus the oversleep."""
        if due > self._now:
            self._pass(lambda: due + self.oversleep, spins=False)

    def spin_until(self, due: int) -> None:
        """Keep the core busy until `due`."""
        if due > self._now:
            self._pass(lambda: due, spins=True)

    def pass_until(self, when: When, spins: bool) -> None:
        """Wait until the time that `when` tells (ns), which is asked again whenever time has moved or a thread ran."""
        if when() > self._now:
            self._pass(when, spins)

    @contextmanager
    def thread(self, index: int, of: int) -> Iterator[None]:
        """Register the calling thread as number `index` of `of` threads; none goes on before all have come.

        A thread that never comes would hold back the others: enter when nothing can fail any more before it.
        """
        me = self._mine()
        with self._lock:
            me.index, me.turn = index, threading.Semaphore(0)
            self._joining.append(me)
            if len(self._joining) == of:
                self._crew, self._joining, self._stuck = sorted(self._joining, key=lambda t: t.index), [], False
                for each in self._crew:
                    each.when = lambda: self._now
                self._choose().turn.release()
        try:
            self._resume(me)
            yield
        finally:
            self._crew.remove(me)
            if self._crew and not self._stuck:
                self._choose().turn.release()

    @contextmanager
    def awake(self) -> Iterator[None]:
        """The calling thread's core does not halt while the thread sleeps, as with a keeper beside it."""
        me = self._mine()
        before, me.awake = me.awake, True
        try:
            yield
        finally:
            me.awake = before

    def lock(self) -> VirtualLock:
        """A lock that registered threads may hold while time passes."""
        return VirtualLock(self)

    def condition(self) -> VirtualCondition:
        """A condition whose waiting threads count as waiting for the clock."""
        return VirtualCondition(self)

    def _mine(self) -> _Thread:
        try:
            mine: _Thread = self._local.thread
        except AttributeError:
            mine = self._local.thread = _Thread()
            with self._lock:
                self._known.append(mine)
        return mine

    def _pass(self, when: When, spins: bool) -> None:
        me, began = self._mine(), self._now
        if not self._crew:
            while (due := when()) > self._now:
                if due >= NEVER:
                    raise RuntimeError(_STUCK)
                self._now = due
        elif me in self._crew:
            self._wait(me, when)
        else:
            raise RuntimeError("a thread waits on a virtual clock without being one of its registered threads")
        if spins:
            me.cpu += self._now - began
        elif not me.awake:
            me.halted += self._now - began

    def _wait(self, me: _Thread, when: When) -> None:
        me.when = when
        self._choose().turn.release()
        self._resume(me)

    def _resume(self, me: _Thread) -> None:
        me.turn.acquire()
        me.when = None
        if self._stuck:
            raise RuntimeError(_STUCK)

    def _choose(self) -> _Thread:
        """The thread whose turn is next; time moves to it. The others' times are asked again at every step."""
        while True:
            due, _, chosen = min((t.when(), place, t) for place, t in enumerate(self._crew) if t.when is not None)
            if due <= self._now:
                return chosen
            if due >= NEVER:
                return self._give_up()
            self._now = due

    def _give_up(self) -> _Thread:
        """Every thread waits for another one. All are let go, to say so."""
        self._stuck = True
        first, *rest = self._crew
        for thread in rest:
            thread.turn.release()
        return first


class VirtualLock:
    """A mutual exclusion between the threads of a virtual clock; a context manager. Not re-entrant."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock, self._held = clock, False

    def __enter__(self) -> VirtualLock:
        clock = self._clock
        clock.pass_until(lambda: NEVER if self._held else clock.now(), spins=False)
        self._held = True
        return self

    def __exit__(self, *_: object) -> None:
        self._held = False


class VirtualCondition:
    """A condition variable between the threads of a virtual clock, as threading.Condition; held only for moments.

    Threads that are not registered (a signal handler, a flusher) may notify, and never hold the clock up.
    """

    def __init__(self, clock: VirtualClock) -> None:
        self._clock, self._lock, self._changes = clock, threading.RLock(), 0

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
        clock, seen = self._clock, self._changes
        due = NEVER if timeout is None else clock.now() + round(timeout * 1e9)
        self._lock.release()
        try:
            clock.pass_until(lambda: clock.now() if self._changes != seen else due, spins=False)
        finally:
            self._lock.acquire()
        return self._changes != seen


def pass_until(clock: Clock, when: When, spins: bool) -> None:
    """Wait on any clock until the time that `when` tells (ns), which is asked again whenever a wait ends."""
    own = getattr(clock, "pass_until", None)
    if own is not None:
        own(when, spins)
        return
    passed = clock.spin_until if spins else clock.sleep_until
    while (due := when()) > clock.now():
        passed(due)
