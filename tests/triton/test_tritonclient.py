"""Programs of people, with Triton's own client library: they pass with the real Triton, and with framepace's server."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.triton.pairs import Pair, pair
from tests.triton.server import cache

PROGRAMS = Path(__file__).resolve().parents[1] / "programs" / "triton"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Both servers with the same models."""
    cache("client")
    with pair(tmp_path_factory.mktemp("pair")) as running:
        yield running


def address(servers: Pair, server: str, transport: str) -> str:
    """Host and port."""
    http, grpc = servers.http, servers.grpc
    if server == "triton":
        http, grpc = servers.triton.url, servers.triton.grpc_url
    return urlsplit(http).netloc if transport == "http" else grpc


@pytest.mark.long
@pytest.mark.parametrize("transport", ["http", "grpc"])
@pytest.mark.parametrize("server", ["triton", "framepace"])
def test_programs_with_tritonclient_pass(servers: Pair, server: str, transport: str) -> None:
    """Questions, inferences, streams, shared memory, texts, errors in their wording, coroutines."""
    python = cache("client") / "client" / "bin" / "python"
    command = [str(python), str(PROGRAMS / f"{transport}_client.py"), address(servers, server, transport)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "PASS"
