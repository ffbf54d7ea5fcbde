"""Hooks with a cause built in."""

from __future__ import annotations

import time
from typing import Any


def slow(picture: Any) -> Any:
    """Python work of about ten milliseconds that holds the interpreter lock."""
    end = time.perf_counter() + 0.010
    while time.perf_counter() < end:
        pass
    return picture


_live: list[list[int]] = [[i] for i in range(400_000)]
_calls = 0


def garbage(model: str, outputs: Any, frame: int) -> None:
    """Makes cyclic garbage; every full collection walks the objects above and stalls a frame."""
    global _calls
    _calls += 1
    for _ in range(300):
        cycle: list[Any] = []
        cycle.append(cycle)
