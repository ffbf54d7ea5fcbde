"""Where a program's threads wait: for the time, for each other, and for other processes. Standard library only."""

from __future__ import annotations

import time
from types import ModuleType
from typing import TYPE_CHECKING, Any

from _framepace_patching import patch_each
from _framepace_timing import looks_like

if TYPE_CHECKING:
    from _framepace_probe import Patch, Probe

_RECEIVING = ("recv", "recv_bytes", "poll")  # of a connection to another process


def _time(probe: Probe, module: ModuleType) -> None:
    patch_each(probe, module, "time", {"sleep": "wait"})


def _queue(probe: Probe, module: ModuleType) -> None:
    library = module.__name__.partition(".")[0]
    waits = ["Queue.get", "Queue.put"]
    if library != "queue":  # there it is a type of C, which cannot be changed
        waits += ["SimpleQueue.get", "SimpleQueue.put"]
    patch_each(probe, module, library, dict.fromkeys(waits, "wait"))


def _threading(probe: Probe, module: ModuleType) -> None:
    waits = ("Condition.wait", "Event.wait", "Thread.join")
    patch_each(probe, module, "threading", dict.fromkeys(waits, "wait"))


def _executor(probe: Probe, module: ModuleType) -> None:
    """A thread of a pool waits in C for its task: that it has one is told by a wait that ends as it begins."""
    original = module._WorkItem.run
    number = probe.number_of("wait", "concurrent.futures.ThreadPoolExecutor")

    def run(*arguments: Any, **options: Any) -> Any:
        now = time.perf_counter_ns()
        probe.add_row(number, now, now)
        return original(*arguments, **options)

    module._WorkItem.run = looks_like(run, original)


def _connection(probe: Probe, module: ModuleType) -> None:
    """Where a worker waits for another process."""
    library = module.__name__.partition(".")[0]
    waits = {f"_ConnectionBase.{name}": "wait" for name in _RECEIVING}
    patch_each(probe, module, library, {**waits, "wait": "wait"})


def _billiard_locks(probe: Probe, module: ModuleType) -> None:
    """Of Celery's workers, one waits for a task, and the others for their turn to."""
    patch_each(probe, module, "billiard", {"SemLock.__enter__": "wait"})


def _select(probe: Probe, module: ModuleType) -> None:
    patch_each(probe, module, "select", {"select": "wait"})


def _selectors(probe: Probe, module: ModuleType) -> None:
    """Where coroutines wait."""
    waits = ("EpollSelector.select", "KqueueSelector.select", "SelectSelector.select")
    patch_each(probe, module, "selectors", dict.fromkeys(waits, "wait"))


WAITS: dict[str, Patch] = {
    "time": _time,
    "queue": _queue,
    "threading": _threading,
    "concurrent.futures.thread": _executor,
    "select": _select,
    "selectors": _selectors,
    "multiprocessing.queues": _queue,
    "multiprocessing.connection": _connection,
    "billiard.queues": _queue,
    "billiard.connection": _connection,
    "billiard.synchronize": _billiard_locks,
}
