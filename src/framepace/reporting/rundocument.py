"""What `--json` prints of a run."""

from __future__ import annotations

from framepace.facts.running import RunStatus
from framepace.reporting.documents import Document, plain


def run_document(status: RunStatus) -> Document:
    """framepace.run/1: how a run stands; its end, or the moment in which `framepace control status` asked."""
    return {"schema": "framepace.run/1", **plain(status)}
