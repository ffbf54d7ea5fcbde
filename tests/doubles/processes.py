"""Looking at processes from outside."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import psutil

_T = TypeVar("_T")
_PATIENCE_S = 120.0  # on a machine that does much else


def runs(process: psutil.Process) -> bool:
    """Whether it runs; one that is dead and not collected yet does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def waited_for(condition: Callable[[], _T]) -> _T:
    """What the condition gives once it is true. Fails when it never is."""
    end = time.monotonic() + _PATIENCE_S
    while not (outcome := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return outcome
