"""What the tests of output folders put into them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from framepace.store import OutputFolder, TraceWriter
from framepace.store.folder import Kind
from framepace.testing import make_meta
from tests.store.killed import row

RUNNING = make_meta(stopped="running")
DONE = make_meta(stopped="finished")
COMPOSITE: tuple[Kind, ...] = ("sweep", "tuning", "explanation", "capacity")
CASE = {"plan": {"models": ["a.onnx"]}, "workload": {"seconds": 5.0, "seed": 0}}


def trace(folder: Path, rows: int = 3, **options: Any) -> None:
    """Write a finished trace."""
    writer = TraceWriter(folder, RUNNING, **options)
    for number in range(rows):
        writer.append("requests", row(number))
    writer.close(DONE)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def used(folder: Path, kind: Kind, case: Any = CASE) -> None:
    """A folder in which a run of that kind has left a trace, or its table."""
    names = {"sweep": "cell-0123456789ab", "tuning": "runs", "explanation": "stream", "capacity": "cameras-1"}
    with OutputFolder(folder, kind, case=case):
        trace(folder / names[kind])
