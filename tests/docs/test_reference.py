"""Pages that are written from the code: nothing that a user may be told is missing there."""

from __future__ import annotations

import re
from pathlib import Path

from tools.reference import causes_page

SOURCES = Path(__file__).resolve().parents[2] / "src" / "framepace"


def test_every_code_of_a_finding_is_on_the_page_of_causes() -> None:
    """Also those that are certain without a trial."""
    codes = {
        code
        for room in ("explaining", "analyze", "attaching")
        for path in (SOURCES / room).rglob("*.py")
        for code in re.findall(r'"(FP\d{3})"', path.read_text(encoding="utf-8"))
    }
    page = causes_page()
    assert len(codes) > 30
    assert [code for code in sorted(codes) if f"## {code}: " not in page] == []
