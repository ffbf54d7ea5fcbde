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


_live: list[list[int]] = [[i] for i in range(400_000)]
_recent: deque[list[list[int]]] = deque(maxlen=60)


def garbage(model: str, outputs: Any, frame: int) -> None:
    """Keeps objects for two seconds, so that full collections come often, walk the many above and stall a frame."""
    _recent.append([[i] for i in range(4000)])
