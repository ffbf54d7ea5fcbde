"""What `--json` prints of tables of loads."""

from __future__ import annotations

from framepace.facts.loads import LoadComparison, LoadExplanation, LoadPoint
from framepace.reporting.documents import Document, plain

_RENAMED = {"throughput": "throughput_fps", "mean": "mean_ns", "percentiles": "percentiles_ns", "parts": "parts_ns"}


def loads_document(explanation: LoadExplanation) -> Document:
    """framepace.explain-loads/1: the loads, the smallest that gives nearly all, and what is suspected."""
    table = explanation.table
    return {
        "schema": "framepace.explain-loads/1",
        "file": table.file,
        "tool": table.tool,
        "loads": [_point(point) for point in table.points],
        "knee": None if explanation.knee is None else _point(explanation.knee),
        "grown": explanation.grown,
        "growth_ns": plain(explanation.growth),
        "suspected": plain(explanation.suspected),
        "notes": list(table.notes),
    }


def loads_comparison_document(comparison: LoadComparison) -> Document:
    """framepace.compare-loads/1: b/a at each load that both have."""
    fields = {name: plain(getattr(comparison, name)) for name in comparison.__struct_fields__}
    return {"schema": "framepace.compare-loads/1", **fields}


def _point(point: LoadPoint) -> Document:
    return {_RENAMED.get(name, name): plain(getattr(point, name)) for name in point.__struct_fields__}
