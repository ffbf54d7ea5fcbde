"""Hooks with a cause built in."""

from __future__ import annotations

import time
from collections import deque
from typing import Any


def slow(picture: Any) -> Any:
    """Python work of about ten milliseconds that holds the interpreter lock."""
    end = time.perf_counter() + 0.010
    while time.perf_counter() < end:
        pass
    return picture


_live: list[list[int]] = []
_recent: deque[list[list[int]]] = deque(maxlen=60)


def garbage(model: str, outputs: Any, frame: int) -> None:
    """Keeps objects for two seconds, so that full collections come often, walk the many above and stall a frame."""
    if not _live:  # made by the first call: other tests import this module, too
        _live.extend([i] for i in range(400_000))
    _recent.append([[i] for i in range(4000)])


class Virtual:
    """The clock of the case that runs, on which `crowded` takes its time."""

    clock: Any = None


def crowded(model: str, outputs: Any, frame: int) -> None:
    """22 ms in 20 of 100 frames, as a suppression of boxes in a crowd; next to nothing in the others."""
    if frame % 100 >= 80:
        Virtual.clock.spin_until(Virtual.clock.now() + 22_000_000)


def steady(model: str, outputs: Any, frame: int) -> None:
    """4 ms in every frame."""
    Virtual.clock.spin_until(Virtual.clock.now() + 4_000_000)


def stalling_sink(model: str, outputs: Any, frame: int) -> None:
    """Writes to a disk that takes 60 ms for one frame in twenty."""
    if frame % 20 == 10:
        Virtual.clock.sleep_until(Virtual.clock.now() + 60_000_000)
