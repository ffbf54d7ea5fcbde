"""A trace that is in memory, written as one that was measured into its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from framepace.facts.trace import Column, Trace
from framepace.store.traces import COLUMNS, TraceWriter


def save_trace(trace: Trace, folder: Path) -> Trace:
    """Write a trace to `folder`, over one that is there. Returns it, with notes of the writer.

    Raises StoreError when the folder cannot be written or is another run's.
    """
    writer = TraceWriter(folder, trace.meta, overwrite=True)
    try:
        for name, columns in zip(COLUMNS, (trace.requests, trace.telemetry), strict=True):
            writer.append(name, packed_rows(name, columns))
    except BaseException:
        writer.abort()
        raise
    return writer.close(trace.meta)


def packed_rows(name: str, columns: Mapping[str, Column]) -> bytes:
    """The columns of 'requests' or 'telemetry' as packed rows; the inverse of `rows_to_columns`."""
    return np.stack([columns[column] for column in COLUMNS[name]], axis=1).astype("<i8", copy=False).tobytes()
