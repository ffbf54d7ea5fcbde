"""Outliers of known kinds in a real run, of which something is seen: the short form of bench/outliers.py."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

BENCH = Path(__file__).parents[2] / "bench" / "outliers.py"


KINDS = ("collection", "page faults", "sleep", "lock", "computing")
FEWEST = 20  # slow frames of which a share says something


def counted() -> Iterator[dict[str, Any]]:
    """The rows of runs of each kind, until there are enough: a busy machine loses frames before they are struck."""
    command = [sys.executable, str(BENCH), "--json", "--seconds", "3", "--only", *KINDS]
    slow = 0
    while slow < FEWEST:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=BENCH.parent)
        assert done.returncode == 0, done.stderr
        rows: list[dict[str, Any]] = msgspec.json.decode(done.stdout)["rows"]
        assert [row["what"] for row in rows] == list(KINDS)
        slow += sum(row["slow"] for row in rows)
        yield from rows


@pytest.mark.long
@pytest.mark.timing
@pytest.mark.timeout(1200)
def test_hardly_an_injected_outlier_goes_unexplained() -> None:
    """Collections, page faults, sleeps, locks and longer work: nothing seen of at most 1 in 10, the stage of most."""
    rows = list(counted())
    slow, unseen, staged = (sum(row[name] for row in rows) for name in ("slow", "nothing seen", "stage right"))
    assert unseen <= slow / 10
    assert staged > slow / 2  # a busy machine stalls other stages for longer than what was injected
