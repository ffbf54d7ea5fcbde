"""A machine in virtual time: cores that are shared by what runs on them.

Between two events every task progresses at a constant rate (processor sharing): when more cores are wanted than there
are, all are slowed alike; beyond that each is slowed by its neighbours (caches, memory) as much as was measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from framepace.clock.system import When
from framepace.clock.virtual import VirtualClock, VirtualCondition


@dataclass(eq=False, slots=True)
class Task:
    """Something that runs: `left` ns of work if it were alone, on `demand` cores.

    `cpu` is the CPU time it takes a ns of its work. Beside as many others as fill the cores it takes `crowded` times as
    long and `dearer` times the CPU time, for no other reason than that they are there; one that does not `press` (a
    spinning thread) takes cores and does nothing else to others.
    """

    left: float
    demand: int = 1
    cpu: float = 1.0
    crowded: float = 1.0
    dearer: float = 1.0
    press: bool = True
    slow: float = 1.0
    rate: float = 1.0


class Cores:
    """Tasks on `count` cores (0: as many as are wanted). `cpu` is the CPU time used so far, ns."""

    def __init__(self, count: int, now: int) -> None:
        self._count = count or 1 << 30
        self._tasks: list[Task] = []
        self._ending: list[tuple[int, Task]] = []
        self._at = now
        self.cpu = 0.0

    def add(self, task: Task, now: int) -> None:
        """Begin a task."""
        self._advance(now)
        self._tasks.append(task)
        self._share()

    def remove(self, task: Task, now: int) -> None:
        """End a task, whatever is left of it."""
        self._advance(now)
        self._tasks.remove(task)
        self._share()

    def idle(self, task: Task, now: int, until: int) -> None:
        """Begin a task that nobody waits for (a spinning thread), which ends at `until` (ns) or when it is removed."""
        self.add(task, now)
        self._ending = sorted([*self._ending, (until, task)], key=lambda pair: pair[0])

    def end_idle(self, task: Task, now: int) -> None:
        """End such a task, if it has not ended."""
        self._advance(now)
        if task in self._tasks:
            self._ending = [pair for pair in self._ending if pair[1] is not task]
            self.remove(task, now)

    def due(self, task: Task, now: int) -> int:
        """When the task will be over, or the next moment at which to ask again (ns)."""
        self._advance(now)
        if task.left < 0.5:
            return now
        over = now + math.ceil(task.left * task.slow)
        return min(over, self._ending[0][0]) if self._ending else over

    def _advance(self, now: int) -> None:
        while self._ending and self._ending[0][0] <= now:
            until, task = self._ending.pop(0)
            self._progress(until)
            self._tasks.remove(task)
            self._share()
        self._progress(now)

    def _progress(self, now: int) -> None:
        passed = now - self._at
        if passed:
            self._at = now
            for task in self._tasks:
                done = passed / task.slow
                task.left -= done
                self.cpu += done * task.rate

    def _share(self) -> None:
        stretch = max(1.0, sum(task.demand for task in self._tasks) / self._count)
        pressing = sum(task.demand for task in self._tasks if task.press)
        for task in self._tasks:
            beside = self._beside(task, pressing)
            task.slow = stretch * (1 + (task.crowded - 1) * beside)
            task.rate = task.cpu * (1 + (task.dearer - 1) * beside)

    def _beside(self, task: Task, pressing: int) -> float:
        """How crowded it is beside a task, 1 being the situation in which `crowded` was measured."""
        others = max(0, pressing - task.demand)
        return min(1.0, others / ((crowd(self._count, task.demand) - 1) * task.demand))


def crowd(cores: int, demand: int) -> int:
    """How many tasks of `demand` cores fill a machine, two at least."""
    return max(2, cores // demand)


def _spinning() -> Task:
    return Task(math.inf, press=False)


class MachineClock(VirtualClock):
    """Virtual time on a machine with `cores` cores (0: as many as are wanted); see Clock.

    `wake` gives the time (ns) after which a thread that was notified or whose sleep is over is awake; `background` is
    CPU time a ns that passes whatever the workers do; `feeding` are the workers that are at work for a device.
    """

    def __init__(self, cores: int, wake: Callable[[], int] = lambda: 0) -> None:
        super().__init__()
        self._wake, self.cores, self.background = wake, Cores(cores, self.now()), 0.0
        self.feeding: set[int] = set()

    def process_cpu(self) -> int:
        """CPU time of the whole process so far, ns: of what ran, and of the threads that watch it."""
        return round(self.cores.cpu + self.background * self.now())

    def work(self, task: Task) -> None:
        """Run a task to its end."""
        if task.left > 0:
            self._run(task, lambda: self.cores.due(task, self.now()))

    def spin_until(self, due: int) -> None:
        """Keep a core busy until `due` (ns)."""
        if due > self.now():
            self._run(_spinning(), lambda: due)

    def pass_until(self, when: When, spins: bool) -> None:
        """See VirtualClock; a thread that spins keeps a core busy."""
        if not spins:
            super().pass_until(when, spins)
        elif when() > self.now():
            self._run(_spinning(), when)

    def sleep_until(self, due: int) -> None:
        """Sleep until `due` (ns) and wake as late as threads do here."""
        if due > self.now():
            late = self._wake()
            self._pass(lambda: due + late, spins=False)

    def condition(self) -> VirtualCondition:
        """A condition whose threads wake as late as threads do here."""
        return _Condition(self, self._wake)

    def _run(self, task: Task, when: Callable[[], int]) -> None:
        self.cores.add(task, self.now())
        self._pass(when, spins=True)
        self.cores.remove(task, self.now())


class _Condition(VirtualCondition):
    """Notified threads need a moment."""

    def __init__(self, clock: MachineClock, wake: Callable[[], int]) -> None:
        super().__init__(clock)
        self._machine, self._late = clock, wake

    def wait(self, timeout: float | None = None) -> bool:
        """See VirtualCondition."""
        notified = super().wait(timeout)
        if notified:
            self._lock.release()
            try:
                now = self._machine.now()
                late = now + self._late()
                self._machine.pass_until(lambda: late, spins=False)
            finally:
                self._lock.acquire()
        return notified
