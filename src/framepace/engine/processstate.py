"""Garbage collection, locked memory and priority of this process while a run lasts, as the plan says."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from framepace.clock.system import Clock
from framepace.clock.usage import GC_CLOCK
from framepace.errors import UsageError
from framepace.facts.plan import EnginePlan

_GROUP = Path("/proc/self/autogroup")


@contextmanager
def interpreter(engine: EnginePlan, clock: Clock) -> Iterator[None]:
    """Garbage collection, locked memory and priority as `engine` says, undone at the end. Raises UsageError."""
    with ExitStack() as stack:
        stack.enter_context(_collection(engine.gc))
        if engine.lock_memory:
            stack.enter_context(clock.memory_locked())
        if engine.nice is not None:
            stack.enter_context(_priority(engine.nice))
        yield


@contextmanager
def _collection(mode: str) -> Iterator[None]:
    """Garbage collection as the plan says, with its time counted; earlier garbage is collected before the run."""
    gc.collect()
    GC_CLOCK.start()
    enabled = gc.isenabled()
    if mode == "off":
        gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
        GC_CLOCK.stop()


@contextmanager
def _priority(nice: int) -> Iterator[None]:
    """Set the nice value of all threads of this process; threads they start inherit it (setpriority(2), NOTES).

    Where the kernel groups tasks by login session, only the nice value of the group counts between groups (sched(7)).
    """
    before = _set_nice(dict.fromkeys(_threads(), nice))
    group = _set_group(nice)
    try:
        yield
    finally:
        _set_nice(before)
        _set_group(group)


def _set_group(nice: int | None) -> int | None:
    """Set the nice value of this process's group; returns the one before, None where there are no groups."""
    try:
        before = int(_GROUP.read_text().rpartition("nice")[2])
        if nice is not None:
            _GROUP.write_text(f"{nice}\n")
    except (OSError, ValueError):
        return None
    return before


def _threads() -> list[int]:
    """The ids of this process's threads: on Linux each has its own nice value."""
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        return [0]
    return [int(task.name) for task in tasks.iterdir()]


def _set_nice(wanted: Mapping[int, int]) -> dict[int, int]:
    """Set nice values by thread; returns those before, without threads that have ended meanwhile."""
    before: dict[int, int] = {}
    for thread, nice in wanted.items():
        try:
            before[thread] = os.getpriority(os.PRIO_PROCESS, thread)
            os.setpriority(os.PRIO_PROCESS, thread, nice)
        except PermissionError:
            _set_nice({t: n for t, n in before.items() if t != thread})
            fix = "run with CAP_SYS_NICE, or raise 'ulimit -e'"
            raise UsageError("the priority cannot be raised", got=f"nice {nice}", fix=fix) from None
        except ProcessLookupError:
            continue
    return before
