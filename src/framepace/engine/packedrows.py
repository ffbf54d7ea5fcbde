"""Rows of facts.trace.REQUEST_COLUMNS as they come through a pipe: packed int64, one row after the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from framepace.facts.trace import REQUEST_COLUMNS, Mark

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
