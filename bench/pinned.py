"""Programs side by side, each on cores of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from queue import SimpleQueue
from typing import TypeVar

from framepace.engine.corekeeper import usable_cores

Cores = Sequence[int]
_Task = TypeVar("_Task")
_Answer = TypeVar("_Answer")
# Pinned before anything is loaded: libraries count the cores as they start.
_PIN = "import os, sys; os.sched_setaffinity(0, map(int, sys.argv[1].split(','))); os.execv(sys.argv[2], sys.argv[2:])"


def shares(jobs: int) -> list[Cores]:
    """The cores of this machine in so many shares of neighbours; what is over is left alone."""
    cores = usable_cores()
    each = max(1, len(cores) // jobs)
    return [cores[first : first + each] for first in range(0, each * min(jobs, len(cores)), each)]


def run_on(cores: Cores, command: Sequence[str], timeout_s: float) -> str:
    """The standard output of a Python program that may use these cores only."""
    pin = [sys.executable, "-S", "-E", "-c", _PIN, ",".join(map(str, cores))]
    done = subprocess.run(
        [*pin, sys.executable, *command], stdout=subprocess.PIPE, text=True, timeout=timeout_s, check=False
    )
    return done.stdout


def side_by_side(tasks: Sequence[_Task], run: Callable[[_Task, Cores], _Answer], jobs: int) -> Iterator[_Answer]:
    """The answers as they come, of as many tasks at once as there are `jobs`; none is begun after Ctrl-C."""
    free: SimpleQueue[Cores] = SimpleQueue()
    for cores in shares(jobs):
        free.put(cores)

    def one(task: _Task) -> _Answer:
        cores = free.get()
        try:
            return run(task, cores)
        finally:
            free.put(cores)

    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(one, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)
