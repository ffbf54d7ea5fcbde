"""The keeper: a spinning process of SCHED_IDLE priority beside a pinned worker, so that the worker's core never halts.

The kernel preempts a SCHED_IDLE task the moment the worker wakes, so the keeper costs only idle time and power.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from framepace.errors import UsageError

# Ends by itself when its parent is gone, however the parent ended.
_SPIN = """
import os, sys
parent = os.getppid()
os.sched_setaffinity(0, {int(sys.argv[1])})
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
os.write(1, b'.')
while os.getppid() == parent:
    for _ in range(100000):
        pass
"""


def usable_cores() -> list[int]:
    """Cores this process may run on."""
    if not hasattr(os, "sched_getaffinity"):
        return list(range(os.cpu_count() or 1))
    return sorted(os.sched_getaffinity(0))


@contextmanager
def kept_awake(core: int) -> Iterator[None]:
    """Pin the calling thread to `core` and keep that core awake; both are undone at the end.

    Raises UsageError where the system has no SCHED_IDLE (it is Linux's), or the keeper does not start.
    """
    if not hasattr(os, "SCHED_IDLE"):
        raise UsageError("the keeper needs Linux's SCHED_IDLE", got=sys.platform, fix="use wait: spin")
    before = os.sched_getaffinity(0)
    with ExitStack() as stack:
        process = subprocess.Popen([sys.executable, "-S", "-E", "-c", _SPIN, str(core)], stdout=subprocess.PIPE)
        stack.callback(_end, process)
        if process.stdout is None or process.stdout.read(1) != b".":
            raise UsageError("the keeper process did not start", got=process.poll(), fix="use wait: spin")
        os.sched_setaffinity(0, {core})
        stack.callback(os.sched_setaffinity, 0, before)
        yield


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    if process.stdout is not None:
        process.stdout.close()
    process.wait()
