"""Runs measured in a process of their own, so that one that fails takes nothing else along.

What a device's library does once (an illegal access, a graph that failed, an internal error of cuDNN or cuBLAS) makes
every later call in the process fail, and an abort in native code ends it. Both are gone with the process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar, cast

from framepace.clock.system import Clock, SystemClock
from framepace.clock.virtual import VirtualClock
from framepace.engine.childprocess import ChildProcess, Progress, serve_calls
from framepace.facts.plan import Plan
from framepace.facts.trace import Trace
from framepace.facts.workload import Workload
from framepace.interrupts import listening, signum, stopped_by
from framepace.lab.runs import Runs
from framepace.progress import Tell, silent
from framepace.store import load_trace

_Answer = TypeVar("_Answer")
_TITLE = "the measuring process"


class MeasuringProcess:
    """Measures as `Runs` does, in a process that is started when it is needed and kept for later runs.

    A run that raises ends it: the next one begins in a fresh process. Ctrl-C ends and keeps the run there.

    Args:
        engines, keep_workers, keep_videos: see Runs.
        virtual: whether time is virtual there, as it is in the caller's process.
    """

    loading = 0.0
    """Seconds spent on loading engines."""

    def __init__(
        self, engines: int, keep_workers: bool = False, keep_videos: bool = True, virtual: bool = False
    ) -> None:
        self._arguments = (engines, keep_workers, keep_videos, virtual)
        self._child: ChildProcess | None = None

    def measure(self, plan: Plan, workload: Workload, folder: Path | None = None, tell: Tell = silent) -> Trace:
        """`measure` of a session; a trace that is in `folder` is written over.

        Raises what that does, BackendError when the process dies, and KeyboardInterrupt after a Ctrl-C before anything
        was measured.
        """
        trace, loading = self._answer("measure", (plan, workload, folder), tell)
        self.loading += loading
        if trace is not None:
            return cast("Trace", trace)
        assert folder is not None
        return load_trace(folder)

    def call(self, function: Callable[..., _Answer], *arguments: Any) -> _Answer:
        """The answer of a function that is called there; all of it must survive pickling. Raises what it raises."""
        return cast("_Answer", self._answer("call", (function, arguments), silent))

    def clear(self) -> None:
        """End the process, and with it all that it keeps."""
        self.close()

    def close(self) -> None:
        """End the process, if there is one."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def _answer(self, method: str, arguments: tuple[Any, ...], tell: Tell) -> Any:
        """The answer to a call; one that fails ends the process."""
        try:
            with stopped_by(self._interrupt):
                return self._called(method, arguments, tell)
        except (KeyboardInterrupt, SystemExit):
            self._kill()
            raise
        except Exception:
            self.close()
            raise

    def _called(self, method: str, arguments: tuple[Any, ...], tell: Tell) -> Any:
        if self._child is None:
            self._child = ChildProcess(_TITLE, _serve, *self._arguments, takes_interrupts=True, daemon=False)
        if signum() is not None:  # it came while the process started
            self._interrupt()
        channel = self._child.channel
        channel.call(method, *arguments)
        return channel.answer(tell)

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


def _serve(pipes: list[Connection], engines: int, keep_workers: bool, keep_videos: bool, virtual: bool) -> None:
    """The body of the process."""
    clock: Clock = VirtualClock() if virtual else SystemClock()
    runs = Runs(clock, engines, keep_workers, keep_videos)
    methods = _Methods(pipes[0], runs)
    try:
        serve_calls(pipes[0], {"measure": methods.measure, "call": methods.call})
    finally:
        _end(runs)


class _Methods:
    """What the process does for the other one."""

    def __init__(self, pipe: Connection, runs: Runs) -> None:
        self._pipe = pipe
        self._runs = runs

    def measure(self, plan: Plan, workload: Workload, folder: Path | None) -> tuple[Trace | None, float]:
        """The trace, which is not sent where it is in a folder, and the seconds that loading took."""
        before = self._runs.loading
        with listening():
            trace = self._runs.measure(plan, workload, folder, self._tell)
        loading = self._runs.loading - before
        if folder is not None:
            return None, loading
        return trace, loading

    def call(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """What a function answers."""
        with listening():
            return function(*arguments)

    def _tell(self, text: str, share: float | None) -> None:
        self._pipe.send(Progress(text, share))


def _end(runs: Runs) -> None:
    """Close what is kept and end at once: a library that fails in its own clean-up has nobody to tell."""
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with suppress(Exception):
        runs.close()
    os._exit(0)
