"""Sinks that keep what they get, and do what a test wants."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from framepace.facts.answers import Answer, Crops
from framepace.facts.running import Result
from framepace.sinks.base import ResultSink


def result(number: int = 0, source: str = "door", **fields: Any) -> Result:
    """A result with an answer of nothing."""
    given: dict[str, Any] = {"time": 1000.0 + number / 30, "age_ms": 12.5, "late": False, "answers": {}, **fields}
    return Result(source=source, number=number, **given)


def crops(*answers: Any) -> Answer:
    """What a model says about the first boxes of a detector, 10 pixels high, one below the other."""
    boxes = [(5, 10 * place, 45, 10 * place + 10) for place, _ in enumerate(answers)]
    places = np.arange(len(answers))
    return Crops("detector", places, np.array(boxes, np.float32).reshape(-1, 4), answers)


class KeptResults(ResultSink):
    """Keeps the numbers of the results; `on_open` and `on_write` may raise, wait, or pass time."""

    def __init__(
        self,
        on_open: Callable[[], object] = lambda: None,
        on_write: Callable[[Sequence[Result]], object] = lambda results: None,
    ) -> None:
        self.name = "kept"
        self.kept: list[int] = []
        self.pictures: list[Any] = []
        self.opened = self.closed = 0
        self._on_open = on_open
        self._on_write = on_write

    def open(self) -> None:
        """Count it."""
        self.opened += 1
        self._on_open()

    def write(self, results: Sequence[Result]) -> None:
        """Keep what was not refused."""
        self._on_write(results)
        self.kept += [item.number for item in results]
        self.pictures += [item.picture for item in results]

    def close(self) -> None:
        """Count it."""
        self.closed += 1


class Gate:
    """Where a sink hangs until the test opens it."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._opened = threading.Event()

    def __call__(self, *_: object) -> None:
        """Hang."""
        self.reached.set()
        assert self._opened.wait(20)

    def open(self) -> None:
        """Let it go on."""
        self._opened.set()
