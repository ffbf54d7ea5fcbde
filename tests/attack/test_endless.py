"""Commands given what never ends: each ends by itself, in time, with a sentence that says what did not answer."""

from __future__ import annotations

import os
import re
import socketserver
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.doubles.commands import Command
from tests.video.test_live import broadcast, camera

START_S = 120.0  # for a command that waits for nothing, on a machine that does much else: over it, it hangs
OPEN_S = 10.5  # LiveStream's deadline to open
# Warm-up, the grace on the run's time, and the patience with reads that are under way (feeds/runstate.py, stream.py).
END_S = 3.0 + 3.0 + 6.0
BENCH = ("bench", "null", "--set", "backend=null", "--scope", "stream")
BLOCK = 1316


class Ended(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str


def framepace(folder: Path, *arguments: str, timeout: float = START_S) -> Ended:
    """The command, within `timeout`; a hang is a failure of the test."""
    with Command(folder, *arguments) as command:
        code = command.wait(timeout)
        assert "Traceback" not in command.err + command.out
        return Ended(code, command.out, command.err)


def words(text: str) -> str:
    """What a terminal broke into lines, in one."""
    return re.sub(r"\s+", " ", text)


def refused(run: Ended) -> str:
    """The error of a command that failed as a user's mistake, in one line."""
    assert run.code == 2, run.out + run.err
    assert run.err.startswith("error: ")
    return words(run.err)


def a_pipe(folder: Path) -> str:
    """A pipe that nobody writes to."""
    os.mkfifo(folder / "pipe")
    return "pipe"


def a_bomb(folder: Path) -> str:
    """An exported program of a hundred kilobytes that unpacks to a hundred megabytes."""
    with zipfile.ZipFile(folder / "bomb.pt2", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("m/models/model.json", "{}")
        file.writestr("m/data/weights/weight_0", bytes(100 << 20))
    return "bomb.pt2"


@pytest.mark.parametrize("make", [a_pipe, a_bomb, lambda _: "/dev/zero", lambda _: "x" * 5000])
def test_a_model_that_never_ends_is_refused(tmp_path: Path, make: Callable[[Path], str]) -> None:
    """A pipe, a device, a bomb, a name that no file system has."""
    refused(framepace(tmp_path, "bench", make(tmp_path)))


@pytest.mark.parametrize("make", [a_pipe, lambda _: "/dev/zero", lambda _: "pipe://0"])
def test_a_video_that_never_ends_is_refused(tmp_path: Path, make: Callable[[Path], str]) -> None:
    """A pipe, a device, the command's own standard input."""
    refused(framepace(tmp_path, *BENCH, "--video", make(tmp_path)))


def test_a_plan_in_a_pipe_is_refused(tmp_path: Path) -> None:
    """Whoever asks for a plan gets a sentence instead of a wait."""
    os.mkfifo(tmp_path / "plan.yaml")
    for command in ("bench", "explain"):
        refused(framepace(tmp_path, command, "plan.yaml"))
    refused(framepace(tmp_path, "plan", "show", "plan.yaml"))


def test_a_built_in_model_of_absurd_size_is_refused(tmp_path: Path) -> None:
    """Before anything is made."""
    assert "99999x99999" in refused(framepace(tmp_path, "bench", "builtin:classifier@99999x99999"))


class Silent:
    """Servers that send a few bytes and then nothing, and count the clients that wait for more at the same time."""

    def __init__(self) -> None:
        self.at_once = 0
        self._waiting = 0
        self._lock = threading.Lock()

    @contextmanager
    def server(self, sent: bytes) -> Iterator[int]:
        """One of them; yields its port."""
        silent = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                silent.note(1)
                with suppress(OSError):
                    self.request.sendall(sent)
                    while self.request.recv(BLOCK):  # until the client gives up
                        pass
                silent.note(-1)

        with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield server.server_address[1]
            server.shutdown()

    def note(self, more: int) -> None:
        """A client has come, or gone."""
        with self._lock:
            self._waiting += more
            self.at_once = max(self.at_once, self._waiting)


@pytest.mark.long
def test_cameras_that_connect_and_never_send_are_named_after_one_deadline(tmp_path: Path) -> None:
    """All three are waited for at the same time, each with its deadline; each is in the error."""
    silent = Silent()
    with silent.server(b"") as first, silent.server(b"HTTP/1.1 200 OK\r\nConte") as second:
        addresses = [f"http://127.0.0.1:{first}/a", f"rtsp://127.0.0.1:{first}/b", f"http://127.0.0.1:{second}/c"]
        videos = [argument for address in addresses for argument in ("--video", address)]
        error = refused(framepace(tmp_path, *BENCH, *videos, "--seconds", "3", timeout=START_S + OPEN_S))
    assert silent.at_once == 3
    assert all(address in error for address in addresses)
    assert "no answer in 10 s" in error


class Cameras:
    """A good camera and one that sends a second of pictures and then nothing, at '/camera' of their servers."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def good(self, _: int, file: BufferedIOBase) -> None:
        """Send for ever, as fast as a camera."""
        data = broadcast()
        try:
            while not self.over.is_set():
                for place in range(0, len(data), BLOCK):
                    file.write(data[place : place + BLOCK])
                    file.flush()
                    self.over.wait(1 / (len(data) / BLOCK))
        except OSError:  # the command has ended
            return

    def stalled(self, number: int, file: BufferedIOBase) -> None:
        """The first connection brings pictures, then none; the others never bring any."""
        if number == 0:
            file.write(broadcast())
            file.flush()
        self.over.wait(60)


@pytest.mark.long  # waits for its deadlines, one after the other
def test_a_camera_that_falls_silent_ends_a_run_with_the_time_and_is_named(tmp_path: Path) -> None:
    """With the time and the deadlines after it; where nothing was measured, that is an error."""
    cameras = Cameras()
    with camera(cameras.stalled) as (address, _):
        run = framepace(tmp_path, *BENCH, "--video", address, "--seconds", "2", timeout=START_S + 2 + END_S)
        cameras.over.set()
    assert run.code == 2 or "effective for the median" in run.out
    assert f"{address}: no picture came in the last " in words(run.out + run.err)


@pytest.mark.long
def test_a_run_with_other_cameras_goes_on_without_the_silent_one(tmp_path: Path) -> None:
    """The others are measured to the end of the time, and a note names the one that gave no picture."""
    cameras = Cameras()
    with camera(cameras.good) as (good, _), camera(cameras.stalled) as (stalled, _):
        sources = ("--video", good, "--video", stalled)
        run = framepace(tmp_path, *BENCH, *sources, "--seconds", "5", timeout=START_S + 5 + OPEN_S + END_S)
        cameras.over.set()
    assert run.code == 0, run.err
    assert f"{stalled}: no picture came in the last " in words(run.out)
    assert f"{good}: no picture" not in words(run.out)
