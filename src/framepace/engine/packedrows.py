"""Packed rows of facts.trace.REQUEST_COLUMNS: int64, one row after the other, as they go to sinks and through pipes."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from framepace.clock.system import Clock
from framepace.facts.trace import REQUEST_COLUMNS, Mark, Outcome
from framepace.feeds.runstate import RunState
from framepace.video.frame import Frame

Sink = Callable[[bytes], None]
"""Receives packed rows, from any thread."""
ROW = struct.Struct(f"<{len(REQUEST_COLUMNS)}q")
_MARKS = tuple(REQUEST_COLUMNS).index("marks")


def unpacked(packed: bytes) -> NDArray[np.int64]:
    """A table (rows, columns) that may be written to."""
    return np.frombuffer(packed, np.int64).reshape(-1, len(REQUEST_COLUMNS)).copy()


def mark_warmup(table: NDArray[np.int64]) -> None:
    """Mark every row of `table` as one of the warm-up, which only the parent of processes can tell."""
    table[:, _MARKS] |= Mark.WARMUP


def marked_warmup(packed: bytes) -> bytes:
    """The rows, marked."""
    table = unpacked(packed)
    mark_warmup(table)
    return table.tobytes()


def dropped_row(frame: Frame, model: int, cause: int, now: int, warming: bool) -> bytes:
    """The packed row of a frame that was discarded at `now` before any inference: later stamps are `now`."""
    marks = Mark.WARMUP if warming else 0
    head = (frame.number, frame.source, model, -1, -1, 0)
    stamps = (frame.due, frame.available, frame.captured, frame.decoded, frame.queued or now)
    device = [-1] * 10
    return ROW.pack(*head, *stamps, *([now] * 5), *device, 0, 0, 0, 0, 0, Outcome.DROPPED, cause, marks)


def drop_rows(models: int, sink: Sink, clock: Clock, state: RunState) -> Callable[[Frame, int], None]:
    """A receiver of dropped frames and their DropCause (see feeds.feed.OnDrop): one row per model goes to `sink`."""

    def drop(frame: Frame, cause: int) -> None:
        for model in range(models):
            sink(dropped_row(frame, model, cause, clock.now(), state.warming))

    return drop
