"""KServe's own client, in an environment of its own."""

from __future__ import annotations

import subprocess
from functools import lru_cache
from pathlib import Path

import pytest

from tests.serving.servers import add_model, port, served

ROOT = Path(__file__).resolve().parents[2]


@lru_cache
def python() -> str:
    """The Python that has the client; the test is skipped where it cannot be had."""
    done = subprocess.run(["sh", str(ROOT / "tools" / "kserve.sh")], capture_output=True, text=True, timeout=600)
    if done.returncode:
        pytest.skip(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no client of KServe here")
    return done.stdout.strip()


@pytest.mark.long
def test_the_client_of_kserve_gets_its_answers(tmp_path: Path) -> None:
    """Health and inference over HTTP and gRPC, numbers and bytes."""
    program = ROOT / "tests" / "programs" / "kserve" / "client.py"
    with served(add_model(tmp_path), grpc_port=0) as server:
        assert server.grpc is not None
        command = [python(), str(program), str(port(server)), str(server.grpc.port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1:] == ["PASS"], done.stdout + done.stderr
