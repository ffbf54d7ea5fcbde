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

_UNLIMITED = 1 << 30


@dataclass(eq=False, slots=True)
class Task:
    """Something that runs on the cores.

    Beside enough others to fill the cores it runs `slowdown` times longer and uses `cpu_factor` times the CPU time
    (shared caches and memory).

    Attributes:
        remaining: ns of work if it ran alone.
        demand: cores it runs on.
        cpu: CPU time per ns of its work.
        slows_others: a spinning thread does not: it takes cores, and neither caches nor memory.
        stretch: ns per ns of its work, as it runs now; set by `Cores`.
        cpu_rate: CPU time per ns of its work, as it runs now; set by `Cores`.
    """

    remaining: float
    demand: int = 1
    cpu: float = 1.0
    slowdown: float = 1.0
    cpu_factor: float = 1.0
    slows_others: bool = True
    stretch: float = 1.0
    cpu_rate: float = 1.0


class Cores:
    """Tasks on `count` cores (0: as many as are asked for). `cpu` is the CPU time used so far, ns."""

    def __init__(self, count: int, now: int) -> None:
        self._count = count or _UNLIMITED
        self._tasks: list[Task] = []
        self._ending: list[tuple[int, Task]] = []  # tasks nobody waits for, by their end (ns)
        self._at = now
        self.cpu = 0.0

    def add(self, task: Task, now: int) -> None:
        """Begin a task."""
        self._advance(now)
        self._tasks.append(task)
        self._share()

    def remove(self, task: Task, now: int) -> None:
        """End a task, finished or not."""
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
        if task.remaining < 0.5:
            return now
        end = now + math.ceil(task.remaining * task.stretch)
        if self._ending:
            end = min(end, self._ending[0][0])
        return end

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
                done = passed / task.stretch
                task.remaining -= done
                self.cpu += done * task.cpu_rate

    def _share(self) -> None:
        """Set the rates of all tasks, after one came or went."""
        stretch = max(1.0, sum(task.demand for task in self._tasks) / self._count)
        slowing = sum(task.demand for task in self._tasks if task.slows_others)
        for task in self._tasks:
            crowding = self._crowding(task, slowing)
            task.stretch = stretch * (1 + (task.slowdown - 1) * crowding)
            task.cpu_rate = task.cpu * (1 + (task.cpu_factor - 1) * crowding)

    def _crowding(self, task: Task, slowing: int) -> float:
        """0 (alone) to 1, at which `slowdown` was measured; `slowing` cores run tasks that slow others."""
        others = max(0, slowing - task.demand)
        return min(1.0, others / ((tasks_to_fill(self._count, task.demand) - 1) * task.demand))


def tasks_to_fill(cores: int, demand: int) -> int:
    """How many tasks of `demand` cores fill a machine; at least two."""
    return max(2, cores // demand)


def _spinning() -> Task:
    return Task(math.inf, slows_others=False)


class MachineClock(VirtualClock):
    """Virtual time on a machine with `cores` cores (0: as many as are asked for); see Clock.

    Args:
        wake_delay: draws how late (ns) a thread wakes when it is notified or its sleep is over.

    Attributes:
        cores: the cores and the tasks on them.
        background: CPU time per ns that passes whatever the workers do.
        feeding: numbers of the workers that prepare work for a device now.
    """

    def __init__(self, cores: int, wake_delay: Callable[[], int] = lambda: 0) -> None:
        super().__init__()
        self.cores = Cores(cores, self.now())
        self.background = 0.0
        self.feeding: set[int] = set()
        self._wake_delay = wake_delay

    def process_cpu(self) -> int:
        """CPU time of the whole process so far, ns: of the tasks, and of the threads that sample beside them."""
        return round(self.cores.cpu + self.background * self.now())

    def work(self, task: Task) -> None:
        """Run a task to its end."""
        if task.remaining > 0:
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
            awake = due + self._wake_delay()
            self._pass(lambda: awake, spins=False)

    def condition(self) -> VirtualCondition:
        """A condition whose threads wake as late as threads do here."""
        return _LateCondition(self, self._wake_delay)

    def _run(self, task: Task, when: Callable[[], int]) -> None:
        self.cores.add(task, self.now())
        self._pass(when, spins=True)
        self.cores.remove(task, self.now())


class _LateCondition(VirtualCondition):
    """A condition whose notified threads wake with a delay."""

    def __init__(self, clock: MachineClock, wake_delay: Callable[[], int]) -> None:
        super().__init__(clock)
        self._machine = clock
        self._wake_delay = wake_delay

    def wait(self, timeout: float | None = None) -> bool:
        """See VirtualCondition."""
        notified = super().wait(timeout)
        if notified:
            self._lock.release()
            try:
                awake = self._machine.now() + self._wake_delay()
                self._machine.pass_until(lambda: awake, spins=False)
            finally:
                self._lock.acquire()
        return notified
