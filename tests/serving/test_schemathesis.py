"""Requests that schemathesis makes from a description of the protocol, in an environment of its own."""

from __future__ import annotations

import subprocess
from functools import lru_cache
from pathlib import Path

import pytest

from tests.serving.servers import add_model, ask, pair, port, served

ROOT = Path(__file__).resolve().parents[2]
DESCRIPTION = ROOT / "tests" / "programs" / "openinference" / "description.yaml"


@lru_cache
def program() -> str:
    """schemathesis; the test is skipped where it cannot be had."""
    done = subprocess.run(["sh", str(ROOT / "tools" / "schemathesis.sh")], capture_output=True, text=True, timeout=600)
    if done.returncode:
        pytest.skip(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no schemathesis here")
    return done.stdout.strip()


@pytest.mark.long
def test_the_server_does_what_the_description_says(tmp_path: Path) -> None:
    """Valid and invalid requests of every call: statuses, headers and bodies are those of the description.

    That valid requests are accepted is not asked: no schema says that a shape and its numbers agree.
    """
    options = ["--checks", "all", "--exclude-checks", "positive_data_acceptance", "--max-examples", "30", "--seed", "1"]
    phases = ["--phases", "examples,coverage,fuzzing", "--continue-on-failure", "--warnings", "off", "--no-color"]
    with served(add_model(tmp_path), {"batch": 4, "threads": 1}) as server:
        url = f"http://127.0.0.1:{port(server)}"
        command = [program(), "run", str(DESCRIPTION), "--url", url, *options, *phases]
        done = subprocess.run(command, capture_output=True, text=True, timeout=540, cwd=tmp_path)
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr
        assert "Tested: 23" in done.stdout
        assert ask(server, "POST", "/v2/models/simple/infer", pair())[0] == 200
