"""The threads of an engine's workers, and the workers parked between runs.

A worker's contexts, graphs and chosen algorithms belong to the thread that set them up, and setting them up may take
longer than a short run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from framepace.backends.base import Session, Worker

_Parked = dict[tuple[int, int], Worker]  # by id of the session and number of the worker


class WorkerThreads:
    """Threads by worker number, and parked workers by the thread that made them."""

    def __init__(self) -> None:
        self._executors: list[ThreadPoolExecutor] = []
        self._executor_of: dict[threading.Thread, ThreadPoolExecutor] = {}
        self._parked: dict[threading.Thread, _Parked] = {}

    @property
    def parked(self) -> int:
        """How many workers are parked."""
        return sum(len(workers) for workers in self._parked.values())

    def run(self, count: int, work: Callable[[int], None]) -> None:
        """Call `work` with each number below `count`, each in its own thread, the same one in every run."""
        while len(self._executors) < count:
            self._executors.append(ThreadPoolExecutor(1, f"worker-{len(self._executors)}"))
        futures = [
            executor.submit(self._work, executor, work, number)
            for number, executor in enumerate(self._executors[:count])
        ]
        for future in futures:
            future.result()

    def worker(self, session: Session, number: int) -> Worker:
        """Worker `number` of a model for the calling thread: the parked one, or a new one."""
        parked = self._parked.get(threading.current_thread(), {})
        return parked.pop((id(session), number), None) or session.worker(number)

    def park(self, session: Session, number: int, worker: Worker) -> None:
        """Park `worker` for this thread's next run."""
        self._parked.setdefault(threading.current_thread(), {})[id(session), number] = worker

    def close(self) -> None:
        """Free all parked workers, each in its own thread, and end the threads. Idempotent; later runs begin anew."""
        for thread, parked in self._parked.items():
            executor = self._executor_of.get(thread)
            if executor is None:
                _close_all(parked)
            else:
                executor.submit(_close_all, parked).result()
        self._parked.clear()
        self._executor_of.clear()
        while self._executors:
            self._executors.pop().shutdown()

    def _work(self, executor: ThreadPoolExecutor, work: Callable[[int], None], number: int) -> None:
        self._executor_of[threading.current_thread()] = executor
        work(number)


def _close_all(parked: _Parked) -> None:
    while parked:
        parked.popitem()[1].close()
