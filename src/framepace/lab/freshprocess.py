"""A measurement in a process of its own: its memory and start-up are its own, and nothing of other runs is left."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from framepace.engine.childprocess import ChildProcess, sendable
from framepace.facts.plan import Plan
from framepace.facts.trace import Trace
from framepace.facts.workload import Workload
from framepace.measure.session import measure
from framepace.store import load_trace


def measure_apart(plan: Plan, workload: Workload, folder: Path | None = None) -> Trace:
    """`measure` in a fresh process; a trace that is in `folder` is written over. Ctrl-C ends and keeps the run there.

    Raises what `measure` does, and BackendError when the process dies.
    """
    child = ChildProcess("the measuring process", _measure, plan, workload, folder, takes_interrupts=True, daemon=False)
    try:
        with _interrupts_passed_to(child):
            trace: Trace | None = child.channel.receive()
    except (KeyboardInterrupt, SystemExit):
        child.kill()
        raise
    finally:
        child.end()
    if trace is not None:
        return trace
    assert folder is not None
    return load_trace(folder)


def _measure(pipes: list[Connection], plan: Plan, workload: Workload, folder: Path | None) -> None:
    """The body of the process. A trace that is in `folder` is not sent."""
    try:
        trace = measure(plan, workload, folder=folder, overwrite=True)
        pipes[0].send(None if folder is not None else trace)
    except Exception as error:
        pipes[0].send(sendable(error))


@contextmanager
def _interrupts_passed_to(child: ChildProcess) -> Iterator[None]:
    """In the main thread, SIGINT goes to `child`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def forward(signum: int, frame: Any) -> None:
        child.interrupt()

    before = signal.signal(signal.SIGINT, forward)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
