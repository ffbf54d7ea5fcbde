"""How a program ends: by itself, or because its time is over, with the processes that it started."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

import psutil

from framepace.attaching.starting import Start

_PATIENCE_S = 5.0  # for a program to end after a signal
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


class Ended(NamedTuple):
    """How a program ended: its exit code, negative for a signal, and whether its time was over."""

    code: int
    by_time: bool = False

    @property
    def exit_code(self) -> int:
        """As a shell tells it: 128 + N for signal N; 0 where the program's time was over."""
        if self.by_time:
            return 0
        if self.code < 0:
            return 128 - self.code
        return self.code


def waited_for(process: subprocess.Popen[bytes], seconds: float | None, start: Start | None = None) -> Ended:
    """How a program ended that is interrupted after a time, as by Ctrl-C in a terminal: with all that it started.

    `seconds` count from its first inference on where its `start` is known.
    """
    with suppress(subprocess.TimeoutExpired):
        return Ended(_by_itself(process, seconds, start))
    others = list(_started_by(process))
    for number in _SIGNALS:
        _send([*others, process], number)
        until = time.monotonic() + _PATIENCE_S
        with suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE_S)
        _, others = psutil.wait_procs(others, timeout=max(0.0, until - time.monotonic()))
        if process.returncode is not None and not others:
            break
    return Ended(process.wait(), by_time=True)


def _by_itself(process: subprocess.Popen[bytes], seconds: float | None, start: Start | None) -> int:
    """Its exit code. Raises subprocess.TimeoutExpired where its time was over before."""
    if start is None:
        return process.wait(seconds)
    starting = start.wait(process)
    if seconds is None:
        return process.wait()
    return process.wait(max(0.0, starting + seconds - start.passed()))


def _started_by(process: subprocess.Popen[bytes]) -> Iterator[psutil.Process]:
    with suppress(psutil.Error):
        yield from psutil.Process(process.pid).children(recursive=True)


def _send(processes: Sequence[psutil.Process | subprocess.Popen[bytes]], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.Error):  # it has ended
            process.send_signal(number)
