"""A measurement in a process of its own, so that its memory and start-up are its own and nothing is left of others."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from framepace.engine.modelprocess import GUARD, sendable
from framepace.errors import BackendError
from framepace.facts.plan import Plan
from framepace.facts.trace import Trace
from framepace.facts.workload import Workload
from framepace.measure.session import measure
from framepace.store import load_trace


def measure_apart(plan: Plan, workload: Workload, folder: Path | None = None) -> Trace:
    """`measure` in a fresh process; a trace that is in `folder` is written over. Ctrl-C ends and keeps the run there.

    Raises what `measure` does, and BackendError when the process dies.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(theirs, plan, workload, folder), name="measurement")
    process.start()
    theirs.close()
    try:
        with _forwarded(process), ours:
            found = ours.recv()
    except EOFError:
        process.join()
        fix = f"see its message above; {GUARD}"
        raise BackendError("the measuring process died", got=f"exit code {process.exitcode}", fix=fix) from None
    finally:
        process.join()
    if isinstance(found, BaseException):
        raise found
    return load_trace(folder) if folder is not None else found


def _measure(pipe: Connection, plan: Plan, workload: Workload, folder: Path | None) -> None:
    """The body of the process."""
    if hasattr(os, "setpgid"):  # Ctrl-C is the parent's, which passes it on: twice would end the run without its trace
        os.setpgid(0, 0)
    try:
        trace = measure(plan, workload, folder=folder, overwrite=True)
        pipe.send(None if folder is not None else trace)
    except Exception as error:
        pipe.send(sendable(error))


@contextmanager
def _forwarded(process: Any) -> Iterator[None]:
    """Ctrl-C goes to `process`, from the main thread; whatever else ends the wait ends the process."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT) if main else None

    def forward(signum: int, frame: Any) -> None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGINT)

    if main:
        signal.signal(signal.SIGINT, forward)
    try:
        yield
    except EOFError:
        raise
    except BaseException:
        process.kill()
        raise
    finally:
        if main:
            signal.signal(signal.SIGINT, before)
