"""Servers of other people that tests start, each in a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "services.sh"
RECORDER = Path(__file__).parent / "rtsprecorder.py"
_LIMIT_S = 20.0


@lru_cache
def service(name: str) -> str:
    """The path of a server, see tools/services.sh; the test is skipped without it, except in CI."""
    done = subprocess.run(["sh", str(SCRIPT), name], capture_output=True, text=True, timeout=300)
    if done.returncode == 0:
        return done.stdout.strip().splitlines()[-1]
    pytest.fail(done.stderr) if os.environ.get("CI") else pytest.skip(f"no {name}: tools/services.sh {name}")
    raise AssertionError


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return int(unused.getsockname()[1])


class Broker:
    """A mosquitto on a port of its own, that can be killed, stopped and started again."""

    def __init__(self, folder: Path, password: str | None = None) -> None:
        self.port = free_port()
        self._folder = folder
        folder.chmod(0o755)  # it gives up root, and then reads the file of passwords
        lines = [f"listener {self.port} 127.0.0.1", f"allow_anonymous {'false' if password else 'true'}"]
        if password:
            file = folder / "passwords"
            tool = shutil.which("mosquitto_passwd") or "/usr/bin/mosquitto_passwd"
            subprocess.run([tool, "-b", "-c", str(file), "anna", password], check=True)
            file.chmod(0o644)
            lines.append(f"password_file {file}")
        (folder / "mosquitto.conf").write_text("\n".join([*lines, "user root", ""]))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        command = [service("mosquitto"), "-c", str(self._folder / "mosquitto.conf")]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + _LIMIT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < until, "mosquitto does not listen"
                assert self._process.poll() is None, "mosquitto has ended"
                time.sleep(0.01)

    def kill(self) -> None:
        """End it without a word."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_LIMIT_S)

    def hang(self) -> None:
        """Let it answer nothing any more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)


@contextmanager
def broker(folder: Path, password: str | None = None) -> Iterator[Broker]:
    """A running broker; with a password for the user anna nobody else is let in."""
    service("mosquitto")
    running = Broker(folder, password)
    running.start()
    try:
        yield running
    finally:
        running.kill()


@contextmanager
def rtsp_recorder() -> Iterator[tuple[int, Iterator[str]]]:
    """The port of an RTSP server that takes a stream at /live, and a line per picture that it decoded."""
    command = [service("rtsp"), str(RECORDER)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process.stdout
        finally:
            process.kill()
