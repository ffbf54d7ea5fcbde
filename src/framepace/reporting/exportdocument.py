"""What `--json` prints of an export and of an import."""

from __future__ import annotations

from typing import Any

from framepace.facts.exported import Exported
from framepace.reporting.documents import Document, plain


def export_document(exported: Exported) -> Document:
    """framepace.export/1: the folder, its models and files, and a row per setting."""
    fields: dict[str, Any] = {name: plain(getattr(exported, name)) for name in exported.__struct_fields__}
    return {"schema": "framepace.export/1", **fields}
