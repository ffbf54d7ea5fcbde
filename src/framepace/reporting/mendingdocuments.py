"""The `--json` objects of what is asked of a precision."""

from __future__ import annotations

from framepace.facts.mending import Hunt, Mended, Ranking
from framepace.reporting.documents import Document, plain


def hunt_document(hunt: Hunt) -> Document:
    """framepace.hunt/1: the `faults`, the one to blame first; `passed` says that no output is NaN or infinite."""
    passed = not any(fault.at_output for fault in hunt.faults)
    return {"schema": "framepace.hunt/1", "passed": passed, **plain(hunt)}


def rank_document(ranking: Ranking) -> Document:
    """framepace.rank/1: the `nodes`, the one that costs most first, and the `blocks` in the order of the graph."""
    return {"schema": "framepace.rank/1", **plain(ranking)}


def mend_document(mended: Mended) -> Document:
    """framepace.mend/1: the nodes that are `kept` in FP32; `passed` says that the gate holds; `model` is its plan."""
    return {"schema": "framepace.mend/1", "passed": mended.holds, **plain(mended)}
