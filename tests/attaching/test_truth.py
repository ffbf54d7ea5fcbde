"""Programs of one known cause, as `bench/attach.py` runs all of them; here two that need no OpenCV."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "attach.py"


@pytest.mark.long
def test_the_cause_of_an_ill_program_is_named_and_a_healthy_one_is_left_alone() -> None:
    """Boxes in pure Python; a session per frame."""
    command = [sys.executable, str(BENCH), "--only", "yolo_boxes", "loaded_each_time", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    verdicts = {(row["program"], row["form"]): row["verdict"] for row in json.loads(done.stdout)["explanations"]}
    assert verdicts == {
        ("yolo_boxes", "healthy"): "silent",
        ("yolo_boxes", "ill"): "right",
        ("loaded_each_time", "healthy"): "silent",
        ("loaded_each_time", "ill"): "right",
    }
