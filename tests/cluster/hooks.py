"""Hooks that end the process of their place, as a host that fails does."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

MARK = Path("lost")  # in the folder of the test


def lose_once(*_: Any) -> None:
    """Kill the actor at the first call of a test."""
    if not MARK.exists():
        MARK.touch()
        lose()


def lose(*_: Any) -> None:
    """Kill the actor, which is the parent of the measuring process."""
    os.kill(os.getppid(), signal.SIGKILL)
    signal.pause()
