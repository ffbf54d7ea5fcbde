"""Logs from strangers: no secret of an address is shown, and whatever is in them is read or refused soon."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from framepace import explain_log
from framepace.errors import StoreError
from framepace.logs.reading import read_log

CANARY = "CaNaRy77"
CAMERA = f"rtsp://me:{CANARY}@camera/1?token={CANARY}"
ROWS = [{"source": CAMERA, "model": CAMERA, "latency_ms": 5 + i % 7, f"{CAMERA}_ms": i % 5} for i in range(60)]


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl", "log.json"])
def test_no_secret_of_an_address_is_read(tmp_path: Path, name: str) -> None:
    """Neither from cells nor from the names of columns."""
    lines = [json.dumps(row) for row in ROWS]
    if name == "log.csv":
        lines = [",".join(ROWS[0]), *(",".join(map(str, row.values())) for row in ROWS)]
    text = "\n".join(lines)
    if name == "log.json":
        text = json.dumps(ROWS)
    (tmp_path / name).write_text(text)
    assert CANARY not in repr(read_log(tmp_path / name))
    assert CANARY not in repr(explain_log(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cell.csv", "a" * 1_000_000),
        ("quote.csv", '"' * 200_001),
        ("spaces.log", " " * 500_000 + "a=1"),
        ("word.log", "a" * 3_000_000),
        ("names.log", "a=b " * 100_000),
        ("colons.log", ("1" * 1000 + ":") * 1000),
    ],
)
def test_a_line_without_end_is_refused_soon(tmp_path: Path, name: str, text: str) -> None:
    """In time that grows with its length, not with its square: three million letters took minutes."""
    (tmp_path / name).write_text(text)
    with pytest.raises(StoreError, match="cannot be understood"):
        read_log(tmp_path / name)
