"""A keeper: a process of SCHED_IDLE priority that spins on a core, so that the core never halts.

The kernel preempts a SCHED_IDLE task the moment another one wakes, so it costs only idle time and power.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from framepace.errors import UsageError

# Ends by itself when its parent is gone, however the parent ended.
_SPIN = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
parent = os.getppid()
core, begin, block, *spins = map(int, sys.argv[1:])
os.sched_setaffinity(0, {core})
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
os.write(1, b'.')
while os.getppid() == parent:
    number, past = divmod(time.perf_counter_ns() - begin, block)
    if spins[number % len(spins)]:
        for _ in range(100000):
            pass
    else:
        time.sleep(min(0.1, (block - past) / 1e9))
"""
_WITHOUT = "go without a keeper; in a plan, wait: spin does the same"


@dataclass(frozen=True)
class Windows:
    """In which blocks of time a keeper spins: block n, of `block_ns`, as `spins[n % len(spins)]` says.

    `begin_ns` is when block 0 began, on the clock of `time.perf_counter_ns`.
    """

    begin_ns: int = 0
    block_ns: int = 1 << 62
    spins: Sequence[bool] = (True,)


@contextmanager
def keeper(core: int, windows: Windows = Windows()) -> Iterator[None]:
    """Keep a core awake. Raises UsageError where the system has no SCHED_IDLE (it is Linux's), or it does not start."""
    if not hasattr(os, "SCHED_IDLE"):
        raise UsageError("the keeper needs Linux's SCHED_IDLE", got=sys.platform, fix=_WITHOUT)
    numbers = [core, windows.begin_ns, windows.block_ns, *map(int, windows.spins)]
    command = [sys.executable, "-S", "-E", "-c", _SPIN, *map(str, numbers)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        if process.stdout is None or process.stdout.read(1) != b".":
            raise UsageError("the keeper process did not start", got=process.poll(), fix=_WITHOUT)
        yield
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    if process.stdout is not None:
        process.stdout.close()
    process.wait()
