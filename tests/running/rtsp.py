"""RTSP cameras in a process of their own, and waiting for what a run shows."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from framepace.facts.running import RunStatus, SourceStatus
from framepace.running.run import Run
from tests.doubles import services

SCRIPT = Path(__file__).parents[1] / "doubles" / "rtspcamera.py"


class RtspCameras:
    """A server of cameras; `address` of one of them."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port = int(self._line())

    def address(self, path: str, user: str = "") -> str:
        """Where the camera `path` is."""
        return f"rtsp://{user + '@' if user else ''}127.0.0.1:{self.port}/{path}"

    def say(self, command: str) -> None:
        """Do one of the commands of tests/doubles/rtspcamera.py."""
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        assert self._line() == "ok"

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line, "the RTSP server has ended"
        return line


@contextmanager
def rtsp_cameras(port: int = 0, user: str = "") -> Iterator[RtspCameras]:
    """A server that runs inside; skips the test where there is none."""
    python = services.service("rtsp")
    process = subprocess.Popen(
        [python, str(SCRIPT), str(port), *([user] if user else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield RtspCameras(process)
    finally:
        process.kill()
        process.wait()


def until(run: Run, is_so: Callable[[RunStatus], bool], seconds: float = 30.0) -> RunStatus:
    """The status of a run as soon as `is_so`; fails after some seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        status = run.status()
        if is_so(status):
            return status
        time.sleep(0.05)
    raise AssertionError(f"it never was so: {run.status()}")


def of(status: RunStatus, name: str) -> SourceStatus:
    """One source of a status."""
    return next(source for source in status.sources if source.name == name)
