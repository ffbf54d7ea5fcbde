"""Runs measured in a process of their own, so that one that fails takes nothing else along.

What a device's library does once (an illegal access, a graph that failed, an internal error of cuDNN or cuBLAS) makes
every later call in the process fail, and an abort in native code ends it. Both are gone with the process.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from pathlib import Path

from framepace.clock.system import SystemClock
from framepace.engine.childprocess import ChildProcess, Progress, serve_calls
from framepace.facts.plan import Plan
from framepace.facts.trace import Trace
from framepace.facts.workload import Workload
from framepace.interrupts import listening, signum, stopped_by
from framepace.lab.runs import Runs
from framepace.progress import Tell, silent
from framepace.store import load_trace

_TITLE = "the measuring process"


class MeasuringProcess:
    """Measures as `Runs` does, in a process that is started when it is needed and kept for later runs.

    A run that raises ends it: the next one begins in a fresh process. Ctrl-C ends and keeps the run there.

    Args:
        engines, keep_workers, keep_videos: see Runs.
    """

    loading = 0.0
    """Seconds spent on loading engines."""

    def __init__(self, engines: int, keep_workers: bool = False, keep_videos: bool = True) -> None:
        self._arguments = (engines, keep_workers, keep_videos)
        self._child: ChildProcess | None = None

    def measure(self, plan: Plan, workload: Workload, folder: Path | None = None, tell: Tell = silent) -> Trace:
        """`measure` of a session; a trace that is in `folder` is written over.

        Raises what that does, BackendError when the process dies, and KeyboardInterrupt after a Ctrl-C before anything
        was measured.
        """
        try:
            with stopped_by(self._interrupt):
                trace = self._measured(plan, workload, folder, tell)
        except (KeyboardInterrupt, SystemExit):
            self._kill()
            raise
        except Exception:
            self.close()
            raise
        if trace is not None:
            return trace
        assert folder is not None
        return load_trace(folder)

    def clear(self) -> None:
        """End the process, and with it all that it keeps."""
        self.close()

    def close(self) -> None:
        """End the process, if there is one."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def _measured(self, plan: Plan, workload: Workload, folder: Path | None, tell: Tell) -> Trace | None:
        """The trace; None where it is in `folder`."""
        if self._child is None:
            self._child = ChildProcess(_TITLE, _serve, *self._arguments, takes_interrupts=True, daemon=False)
        if signum() is not None:  # it came while the process started
            self._interrupt()
        channel = self._child.channel
        channel.call("measure", plan, workload, folder)
        trace: Trace | None
        trace, loading = channel.answer(tell)
        self.loading += loading
        return trace

    def _interrupt(self) -> None:
        if self._child is not None:
            self._child.interrupt()

    def _kill(self) -> None:
        if self._child is not None:
            self._child.kill()
        self.close()


def measure_apart(plan: Plan, workload: Workload, folder: Path | None = None) -> Trace:
    """`measure` in a fresh process, whose memory and start-up do not depend on other runs.

    Raises what `MeasuringProcess.measure` does.
    """
    with closing(MeasuringProcess(engines=0, keep_videos=False)) as process:
        return process.measure(plan, workload, folder)


def _serve(pipes: list[Connection], engines: int, keep_workers: bool, keep_videos: bool) -> None:
    """The body of the process."""
    pipe = pipes[0]
    runs = Runs(SystemClock(), engines, keep_workers, keep_videos)

    def tell(text: str, share: float | None) -> None:
        pipe.send(Progress(text, share))

    def measured(plan: Plan, workload: Workload, folder: Path | None) -> tuple[Trace | None, float]:
        """The trace, which is not sent where it is in a folder, and the seconds that loading took."""
        before = runs.loading
        with listening():
            trace = runs.measure(plan, workload, folder, tell)
        return None if folder is not None else trace, runs.loading - before

    try:
        serve_calls(pipe, {"measure": measured})
    finally:
        _end(runs)


def _end(runs: Runs) -> None:
    """Close what is kept and end at once: a library that fails in its own clean-up has nobody to tell."""
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with suppress(Exception):
        runs.close()
    os._exit(0)
