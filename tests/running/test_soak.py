"""The soak in its short form: a minute with cameras that are lost, watched all the time."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.docs.pages import ROOT


@pytest.mark.long
def test_a_minute_with_lost_cameras_loses_no_count() -> None:
    """Every picture and every result is accounted for, in order, and each camera comes back by itself."""
    command = [sys.executable, str(ROOT / "bench" / "soak.py"), "--seconds", "60", "--cameras", "3", "--json"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    rows = {row["what"]: row for row in json.loads(told.stdout)["rows"]}
    judged = {what: row["got"] for what, row in rows.items() if row.get("met") is False}
    assert judged == {}
    assert rows["cameras lost"]["got"].startswith("3, ")
    assert told.returncode == 0
