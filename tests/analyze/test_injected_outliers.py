"""Outliers of known kinds in a real run, of which something is seen: the short form of bench/outliers.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

BENCH = Path(__file__).parents[2] / "bench" / "outliers.py"


@pytest.mark.long
def test_hardly_an_injected_outlier_goes_unexplained() -> None:
    """Collections, page faults, sleeps, locks and longer work: nothing seen of at most 1 in 10, and the stage named."""
    kinds = ("collection", "page faults", "sleep", "lock", "computing")
    command = [sys.executable, str(BENCH), "--json", "--seconds", "3", "--only", *kinds]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=BENCH.parent)
    rows: list[dict[str, Any]] = msgspec.json.decode(done.stdout)["rows"]
    assert [row["what"] for row in rows] == list(kinds)
    slow, unseen, staged = (sum(row[name] for row in rows) for name in ("slow", "nothing seen", "stage right"))
    assert slow >= 20
    assert unseen <= slow / 10
    assert staged >= 0.8 * slow
