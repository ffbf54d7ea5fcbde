"""What `--json` prints of an export and of an import."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from framepace.facts.exported import Exported
from framepace.facts.plan import Plan
from framepace.reporting.documents import Document, plain


def export_document(exported: Exported) -> Document:
    """framepace.export/1: the folder, its models and files, and a row per setting."""
    fields: dict[str, Any] = {name: plain(getattr(exported, name)) for name in exported.__struct_fields__}
    return {"schema": "framepace.export/1", **fields}


def import_document(plan: Plan, notes: Sequence[str], path: str) -> Document:
    """framepace.plan-from-triton/1: the plan, where it was written, and what it cannot say."""
    return {"schema": "framepace.plan-from-triton/1", "path": path, "plan": plain(plan), "notes": list(notes)}
