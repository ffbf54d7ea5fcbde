"""Processes that write until they are killed. `python -m tests.store.killed` forks one per line of its input.

A line is 'trace FOLDER' or 'sweep FOLDER'; the answer is the process's id. What a fork has behind it when it is killed
stands in the file FOLDER.done: one line per row or cell.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import numpy as np

from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.settings import Case
from framepace.facts.trace import REQUEST_COLUMNS
from framepace.facts.workload import Paced, Stop, Warmup, Workload
from framepace.store import TraceWriter
from framepace.sweeping import sweep
from framepace.testing import make_meta

WIDTH = len(REQUEST_COLUMNS)
ROWS = 40
GRID = {"batch": (1, 2, 4), "workers": (1, 2)}


def row(number: int) -> bytes:
    """A packed row that holds `number` in every column."""
    return np.full(WIDTH, number, "<i8").tobytes()


def case() -> Case:
    """A short case on a simulated device."""
    model = ModelPlan(name="net", model="null", backend="simulated", options={"device": "ideal"})
    workload = Workload(load=Paced(fps=100), scope="model", stop=Stop(count=30), warmup=Warmup(seconds_max=0.05))
    return Case(plan=Plan(models=(model,)), workload=workload)


def write_traces(folder: Path, done: int) -> None:
    """One trace after the other into folder/0, folder/1, ..., each of ROWS rows; rows are reported when they are in."""
    for number in count():
        writer = TraceWriter(folder / str(number), make_meta(stopped="running"))
        for index in range(ROWS):
            writer.append("requests", row(index))
            os.write(done, b"row\n")
        writer.close(make_meta(stopped="finished"))


def write_sweep(folder: Path, done: int) -> None:
    """A sweep; every cell is reported when it begins."""

    def tell(text: str, share: float | None) -> None:
        os.write(done, b"cell\n")

    sweep(case(), GRID, folder=folder, tell=tell)
    os.write(done, b"over\n")


BODIES: dict[str, Callable[[Path, int], None]] = {"trace": write_traces, "sweep": write_sweep}


class Killer:
    """Starts processes that write and kills them."""

    def __init__(self, parent: subprocess.Popen[str]) -> None:
        self._parent = parent

    def kill(self, what: str, folder: Path, after_s: float) -> int:
        """Let a process write to `folder`, kill it `after_s` seconds later; how many lines it reported."""
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(f"{what} {folder}\n")
        self._parent.stdin.flush()
        process = int(self._parent.stdout.readline())
        time.sleep(after_s)
        with suppress(ProcessLookupError):  # which is how it says that the process is gone
            while True:
                os.kill(process, signal.SIGKILL)
                time.sleep(0.001)
        return reported(folder).count(b"\n")


@contextmanager
def killer() -> Iterator[Killer]:
    """A Killer, whose processes share what they import."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-m", __name__], stdin=pipe, stdout=pipe, text=True) as parent:
        yield Killer(parent)
        assert parent.stdin is not None
        parent.stdin.close()


def reported(folder: Path) -> bytes:
    """What the processes that wrote to `folder` reported."""
    return folder.with_suffix(".done").read_bytes()


def main() -> None:
    """Fork for every line."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        what, _, path = line.strip().partition(" ")
        folder = Path(path)
        done = os.open(folder.with_suffix(".done"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        process = os.fork()
        if not process:
            BODIES[what](folder, done)
            os._exit(0)
        os.close(done)
        print(process, flush=True)


if __name__ == "__main__":
    main()
