"""What `--json` prints of an export, of an import and of a verification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from framepace.facts.exported import Exported
from framepace.facts.plan import Plan
from framepace.facts.verified import Verification, VerifiedSide
from framepace.reporting.documents import Document, plain


def export_document(exported: Exported) -> Document:
    """framepace.export/1: the folder, its models and files, and a row per setting."""
    fields: dict[str, Any] = {name: plain(getattr(exported, name)) for name in exported.__struct_fields__}
    return {"schema": "framepace.export/1", **fields}


def import_document(plan: Plan, notes: Sequence[str], path: str) -> Document:
    """framepace.plan-from-triton/1: the plan, where it was written, and what it cannot say."""
    return {"schema": "framepace.plan-from-triton/1", "path": path, "plan": plain(plan), "notes": list(notes)}


def verification_document(result: Verification) -> Document:
    """framepace.verification/1: the answers, both sides, and what was predicted; durations in ns."""
    fields: dict[str, Any] = {name: plain(getattr(result, name)) for name in result.__struct_fields__}
    sides = {name: _side(getattr(result, name)) for name in ("here", "there", "predicted")}
    return {
        "schema": "framepace.verification/1", "passed": result.passed, "largest": result.largest, **fields, **sides,
    }  # fmt: skip


def _side(side: VerifiedSide | None) -> Document | None:
    """One side, the units in its keys."""
    if side is None:
        return None
    numbers = {"throughput_fps": side.throughput, "p50": side.p50, "p99": side.p99, "stages_ns": side.stages}
    return {name: plain(value) for name, value in numbers.items()}
