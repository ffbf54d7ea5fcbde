"""A host of a cluster is lost: two nodes of Ray on this machine, one of which is killed with all that it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="Ray is not installed (the extra 'ray')")
pytestmark = [pytest.mark.long, pytest.mark.xdist_group("ray"), pytest.mark.timeout(900)]

_QUICK = {  # to notice that a node is gone
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_worker_niceness": "0",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def said(what: str, folder: Path) -> dict[str, Any]:
    """What the program says (see lostnode)."""
    environment = {**os.environ, **_QUICK, "FRAMEPACE_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "tests.fleet.lostnode", what, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=850, env=environment)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return document


def test_cameras_of_a_lost_host_go_to_the_others_and_no_result_is_lost_or_doubled(tmp_path: Path) -> None:
    """Every result that was counted arrived once, in order; the others' cameras lose nothing; a sentence says it."""
    found = said("run", tmp_path)
    for source in found["sources"]:
        numbers = found["numbers"][source["name"]]
        assert numbers == sorted(set(numbers))
        assert len(numbers) == source["delivered"]
        assert source["taken"] == source["counted"]
        assert not (source["lost"] and source["name"] in found["undisturbed"])
    assert found["states"] == ["ended", "lost"]
    assert any("has left the cluster" in note for note in found["notes"])


def test_a_cell_whose_host_is_lost_is_measured_on_another(tmp_path: Path) -> None:
    """All cells are there, from the host that is left, and a note names the other."""
    found = said("sweep", tmp_path)
    assert found["measured"] == [True] * 4
    assert found["places"] == 1
    assert any("has left the cluster" in note for note in found["notes"])
