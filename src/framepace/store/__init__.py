"""Reading and writing facts: traces, plans, explanations. Versioned, atomic, readable by other tools."""

from framepace.store.files import check_replaceable, load_explanation, save_json, write_atomic
from framepace.store.folder import OutputFolder, new_folder
from framepace.store.plans import load_plan, save_plan
from framepace.store.rotation import RotatingWriter, Rotation, segments
from framepace.store.saving import save_trace
from framepace.store.traces import (
    MIGRATIONS,
    MemoryWriter,
    TraceWriter,
    is_trace,
    load_trace,
    rows_to_columns,
    trace_id,
)

__all__ = [
    "MIGRATIONS",
    "MemoryWriter",
    "OutputFolder",
    "RotatingWriter",
    "Rotation",
    "TraceWriter",
    "check_replaceable",
    "is_trace",
    "load_explanation",
    "load_plan",
    "load_trace",
    "new_folder",
    "rows_to_columns",
    "save_json",
    "save_plan",
    "save_trace",
    "segments",
    "trace_id",
    "write_atomic",
]
