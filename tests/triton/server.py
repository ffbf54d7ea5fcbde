"""A real Triton on the loopback interface, for as long as a test needs it."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "triton.sh"
_BINARY = "pt/pytriton/tritonserver/bin/tritonserver"
_START_S = 60.0
_SET_UP_S = 600


class Triton:
    """A server that runs: its ports, and the file with what it logs. It can be started again where it ended."""

    def __init__(self, folder: Path, repository: Path, options: Sequence[str]) -> None:
        self.http, self.grpc, self.metrics = free_ports(3)
        self.log = repository.parent / f"{repository.name}.log"
        self._folder = folder
        self._command = [str(folder / _BINARY), *_arguments(folder, repository, self), *options]
        self.start()

    @property
    def url(self) -> str:
        """Its address for HTTP."""
        return f"http://127.0.0.1:{self.http}"

    @property
    def grpc_url(self) -> str:
        """Its address for gRPC, without a scheme."""
        return f"127.0.0.1:{self.grpc}"

    @property
    def ended(self) -> bool:
        """Whether its process has ended."""
        return self._process.poll() is not None

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        with self.log.open("a") as log:
            environment = _environment(self._folder)
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        _wait_until_ready(self)

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        if not self.ended:
            self._process.kill()
            self._process.wait()


@lru_cache
def cache(what: str = "server") -> Path:
    """The folder of tools/triton.sh, set up; the test is skipped where it cannot be had."""
    done = subprocess.run(["sh", str(SCRIPT), what], capture_output=True, text=True, timeout=_SET_UP_S)
    if done.returncode:
        pytest.skip(done.stderr.strip().splitlines()[-2] if done.stderr.strip() else "no Triton here")
    return Path(done.stdout.strip())


def free_ports(count: int) -> list[int]:
    """Ports on which nobody listens at the moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [open_socket.getsockname()[1] for open_socket in sockets]
    for open_socket in sockets:
        open_socket.close()
    return ports


@contextmanager
def triton(repository: Path, *options: str) -> Iterator[Triton]:
    """A Triton that serves `repository`, ready for all its models."""
    server = Triton(cache(), repository, options)
    try:
        yield server
    finally:
        server.stop()


def _arguments(folder: Path, repository: Path, server: Triton) -> Sequence[str]:
    local = [f"--{kind}-address=127.0.0.1" for kind in ("http", "grpc", "metrics")]
    return [
        f"--model-repository={repository}",
        f"--backend-directory={folder / 'backends'}",
        f"--cache-directory={folder / 'pt/pytriton/tritonserver/caches'}",
        "--cache-config=local,size=1048576",
        *local,
        f"--http-port={server.http}",
        f"--grpc-port={server.grpc}",
        f"--metrics-port={server.metrics}",
        "--allow-gpu-metrics=false",
        "--model-control-mode=explicit",
        "--load-model=*",
        "--exit-timeout-secs=5",
    ]


def _environment(folder: Path) -> dict[str, str]:
    """The variables with which Triton finds its libraries, and its python models their environment."""
    environment = folder / "env"
    kept = {name: os.environ[name] for name in ("HOME", "TMPDIR") if name in os.environ}
    [site] = (environment / "lib").glob("python3.*/site-packages")
    return {
        **kept,
        "LD_LIBRARY_PATH": f"{folder / 'pt/nvidia_pytriton.libs'}:{(folder / 'libpython').read_text().strip()}",
        "PATH": f"{environment / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(site),
        "VIRTUAL_ENV": str(environment),
    }


def _wait_until_ready(server: Triton) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and not server.ended:
        with suppress(OSError), urllib.request.urlopen(f"{server.url}/v2/health/ready", timeout=1):
            return
        time.sleep(0.05)
    server.stop()
    pytest.fail(f"Triton did not become ready:\n{server.log.read_text()[-4000:]}")
