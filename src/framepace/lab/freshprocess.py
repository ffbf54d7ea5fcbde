"""A measurement in a fresh process, whose memory and start-up do not depend on other runs."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path

from framepace.engine.childprocess import ChildProcess, sendable
from framepace.facts.plan import Plan
from framepace.facts.trace import Trace
from framepace.facts.workload import Workload
from framepace.interrupts import listening, signum, stopped_by
from framepace.measure.session import measure
from framepace.store import load_trace


def measure_apart(plan: Plan, workload: Workload, folder: Path | None = None) -> Trace:
    """`measure` in a fresh process; a trace that is in `folder` is written over. Ctrl-C ends and keeps the run there.

    Raises what `measure` does, BackendError when the process dies, and KeyboardInterrupt after a Ctrl-C before
    anything was measured.
    """
    children: list[ChildProcess] = []

    def interrupt() -> None:
        for child in children:
            child.interrupt()

    with stopped_by(interrupt):
        child = ChildProcess(
            "the measuring process", _measure, plan, workload, folder, takes_interrupts=True, daemon=False
        )
        children.append(child)
        if signum() is not None:  # it came while the process started
            interrupt()
        try:
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
    """The body of the process. A trace that is in `folder` is not sent; nothing is when there is none."""
    try:
        with listening():
            trace = measure(plan, workload, folder=folder, overwrite=True)
        pipes[0].send(None if folder is not None else trace)
    except Exception as error:
        pipes[0].send(sendable(error))
