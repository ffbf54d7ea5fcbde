"""Seats: the threads of an engine's workers, and what stays with them from run to run.

What a worker has set up (contexts, graphs, chosen algorithms) belongs to its thread, and setting it up may take longer
than a short run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from framepace.backends.base import Session, Worker


class Seats:
    """Threads by worker number, and the workers of models that nobody uses now, by the thread that made them."""

    def __init__(self) -> None:
        self._threads: list[ThreadPoolExecutor] = []
        self._homes: dict[threading.Thread, ThreadPoolExecutor] = {}
        self._idle: dict[threading.Thread, dict[tuple[int, int], Worker]] = {}

    def run(self, count: int, work: Callable[[int], None]) -> None:
        """Call `work` with each number below `count`, each in its own thread, the same in every run."""
        while len(self._threads) < count:
            self._threads.append(ThreadPoolExecutor(1, f"worker-{len(self._threads)}"))
        running = [thread.submit(self._seated, thread, work, i) for i, thread in enumerate(self._threads[:count])]
        for each in running:
            each.result()

    def worker(self, session: Session, number: int) -> Worker:
        """Worker `number` of a model for the calling thread: the one that it left, or a new one."""
        left = self._idle.get(threading.current_thread(), {})
        return left.pop((id(session), number), None) or session.worker(number)

    def leave(self, session: Session, number: int, worker: Worker) -> None:
        """The calling thread does not use the worker any more."""
        self._idle.setdefault(threading.current_thread(), {})[id(session), number] = worker

    def close(self) -> None:
        """Free all that was left, each in its own thread, and end the threads. Idempotent; a next run begins anew."""
        for thread, left in self._idle.items():
            home = self._homes.get(thread)
            if home is None:
                _free(left)
            else:
                home.submit(_free, left).result()
        self._idle.clear()
        self._homes.clear()
        while self._threads:
            self._threads.pop().shutdown()

    def _seated(self, home: ThreadPoolExecutor, work: Callable[[int], None], number: int) -> None:
        self._homes[threading.current_thread()] = home
        work(number)


def _free(left: dict[tuple[int, int], Worker]) -> None:
    while left:
        left.popitem()[1].close()
