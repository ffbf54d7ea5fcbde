"""Triton's own load generator in all of its load modes, against framepace's server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from framepace.serving.server import Server
from tests.serving.servers import add_model, ask, port, served
from tests.triton.server import cache

RATE = ["--request-rate-range", "100"]
MODES: dict[str, tuple[str, list[str]]] = {
    "concurrency": ("http", ["--concurrency-range", "1:2"]),
    "concurrency, without waiting": ("http", ["-a", "--concurrency-range", "4"]),
    "constant rate": ("http", [*RATE, "--request-distribution", "constant"]),
    "Poisson": ("http", [*RATE, "--request-distribution", "poisson"]),
    "intervals of a file": ("http", ["--request-intervals", "intervals"]),
    "shared memory": ("http", ["--shared-memory", "system", "--concurrency-range", "2"]),
    "batches": ("http", ["-b", "4", "--concurrency-range", "2"]),
    "concurrency over gRPC": ("grpc", ["--concurrency-range", "2"]),
    "rate over gRPC": ("grpc", [*RATE, "-a"]),
    "a stream": ("grpc", ["-a", "--streaming", "--concurrency-range", "2"]),
    "shared memory over gRPC": ("grpc", ["--shared-memory", "system", "--concurrency-range", "2"]),
}
_WINDOWS = ["--measurement-mode", "count_windows", "--measurement-request-count", "20", "-r", "3", "-s", "999"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a model that adds, in batches of up to 4, over HTTP and gRPC."""
    cache("perf")
    with served(add_model(tmp_path_factory.mktemp("model")), {"batch": 4, "threads": 1}, grpc_port=0) as running:
        yield running


def statistics(server: Server) -> Any:
    """What the server counted."""
    return ask(server, "GET", "/v2/models/simple/stats")[1]["model_stats"][0]["inference_stats"]


@pytest.mark.long
@pytest.mark.parametrize("mode", MODES)
def test_every_load_mode_is_answered(server: Server, mode: str, tmp_path: Path) -> None:
    """No request fails, on either side; that the times are stable is not asked of a busy machine (exit code 2)."""
    protocol, options = MODES[mode]
    (tmp_path / "intervals").write_text("20000\n10000\n5000\n")
    assert server.grpc is not None
    number = port(server) if protocol == "http" else server.grpc.port
    before = statistics(server)
    command = [str(cache("perf") / "perf" / "perf_analyzer"), "-m", "simple", "-i", protocol]
    command += ["-u", f"127.0.0.1:{number}", "--profile-export-file", "out.json", *_WINDOWS, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode in (0, 2), done.stdout + done.stderr
    after = statistics(server)
    assert after["fail"]["count"] == before["fail"]["count"]
    report = tmp_path / "out.json"
    assert report.exists(), done.stdout + done.stderr
    [first, *_] = json.loads(report.read_text())["experiments"]
    assert len(first["requests"]) >= 20
    assert all(len(request["response_timestamps"]) == 1 for request in first["requests"])
    assert after["success"]["count"] - before["success"]["count"] >= len(first["requests"])
