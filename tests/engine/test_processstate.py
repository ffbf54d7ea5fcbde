"""What a run changes of its process, and that it is undone."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from framepace.clock.system import SystemClock
from framepace.engine.processstate import interpreter
from framepace.errors import UsageError
from framepace.facts.plan import EnginePlan

TASKS = Path("/proc/self/task")


def nices() -> set[int]:
    """The nice values of all threads of this process."""
    return {os.getpriority(os.PRIO_PROCESS, int(task.name)) for task in TASKS.iterdir()}


def may_raise() -> bool:
    """Whether this process may raise its priority."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) - 1)
        os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + 1)
    except PermissionError:
        return False
    return True


@pytest.mark.skipif(not TASKS.is_dir() or not may_raise(), reason="priorities may not be raised here")
def test_priority_is_that_of_all_threads_and_is_given_back() -> None:
    """A thread that was there before has the new nice value during the run, and its own after it."""
    over = threading.Event()
    other = threading.Thread(target=over.wait)
    other.start()
    before = nices()
    with interpreter(EnginePlan(nice=-5), SystemClock()):
        assert nices() == {-5}
    assert nices() == before
    over.set()
    other.join()


def test_a_priority_that_may_not_be_raised_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the capability the run does not begin."""

    def refused(which: int, who: int, nice: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refused)
    with pytest.raises(UsageError, match="CAP_SYS_NICE"), interpreter(EnginePlan(nice=-5), SystemClock()):
        pass


def test_without_a_nice_value_priorities_stay() -> None:
    """The default changes none."""
    before = nices() if TASKS.is_dir() else set()
    with interpreter(EnginePlan(), SystemClock()):
        assert (nices() if TASKS.is_dir() else set()) == before
