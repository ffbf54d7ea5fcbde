"""Blocks that the program names: `framepace.frame()` and `framepace.stage(name)`. Standard library only.

The number of the frame travels with the context: into tasks of asyncio, not into threads, which enter it again.
"""

from __future__ import annotations

import itertools
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _framepace_probe import Probe

NO_FRAME = 0
FRAME: ContextVar[int] = ContextVar("framepace_frame", default=NO_FRAME)
_OPEN: ContextVar[Any] = ContextVar("framepace_open", default=None)  # begin, the frame before, what is around it


class Marks:
    """What a program that is observed enters."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._numbers: dict[str, int] = {}
        self._frames = itertools.count(NO_FRAME + 1)
        self._frame_row = probe.number_of("frame", "framepace.frame")

    def frame(self) -> _Frame:
        """A new frame."""
        return _Frame(self._probe, self._frame_row, next(self._frames))

    def stage(self, name: str) -> _Stage:
        """A stage of that name."""
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = self._probe.number_of("stage", str(name))
        return _Stage(self._probe, number)


class _Frame:
    """May be entered several times, also by several threads at once: each block is in its own context."""

    __slots__ = ("_number", "_probe", "_row")

    def __init__(self, probe: Probe, row: int, number: int) -> None:
        self._probe = probe
        self._row = row
        self._number = number

    def __enter__(self) -> _Frame:
        _OPEN.set((time.perf_counter_ns(), FRAME.get(), _OPEN.get()))
        FRAME.set(self._number)
        return self

    def __exit__(self, *error: object) -> None:
        begin, before, around = _OPEN.get()
        self._probe.add_row(self._row, begin, time.perf_counter_ns())
        _OPEN.set(around)
        FRAME.set(before)


class _Stage:
    __slots__ = ("_begin", "_probe", "_row")

    def __init__(self, probe: Probe, row: int) -> None:
        self._probe = probe
        self._row = row
        self._begin = 0

    def __enter__(self) -> _Stage:
        self._begin = time.perf_counter_ns()
        return self

    def __exit__(self, *error: object) -> None:
        self._probe.add_row(self._row, self._begin, time.perf_counter_ns())
