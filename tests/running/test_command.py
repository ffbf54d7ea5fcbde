"""The command: signals, exit codes, sources of every kind, and what is left on disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from framepace.errors import UsageError
from framepace.running.control import ask
from framepace.store import load_trace, segments
from tests.doubles.commands import Command
from tests.running.videos import PICTURES, video

RUN = ("run", "builtin:classifier", "--backend", "null", "--fps", "30", "--json")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A video of PICTURES pictures."""
    return video(tmp_path_factory.mktemp("videos") / "video.mp4")


@contextmanager
def going(folder: Path, *arguments: str) -> Iterator[tuple[Command, Path]]:
    """The command while it runs, with its control socket; killed at the end."""
    control = folder / "control"
    with Command(folder, *RUN, "--control", control, *arguments) as command:
        until(control, lambda status: all(source["delivered"] > 5 for source in status["sources"]))
        yield command, control


def until(control: Path, is_so: Callable[[dict[str, Any]], bool]) -> None:
    """Wait until the status is so."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            if is_so(ask(control, {"do": "status"})["status"]):
                return
        except UsageError:  # it does not listen yet
            pass
        time.sleep(0.05)
    raise AssertionError("it never was so")


def assert_accounted(document: dict[str, Any]) -> None:
    """Every picture is in exactly one count."""
    for source in document["sources"]:
        ended = source["delivered"] + source["skipped"] + source["failed"] + sum(source["dropped"].values())
        assert source["taken"] == ended
        assert source["waiting"] == 0


def test_files_folders_and_standard_input(path: str, tmp_path: Path) -> None:
    """Each to its end, every picture once; what is no picture in the folder is left out."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(5):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 40 * number, np.uint8), format="rgb24")
        frame.save(str(pictures / f"{number}.png"))
    (pictures / "broken.png").write_bytes(b"no picture")
    (pictures / "notes.txt").write_text("nothing")
    out = tmp_path / "results.jsonl"
    done = subprocess.run(
        [sys.executable, "-m", "framepace", *RUN, "-s", f"file={path}", "-s", f"folder={pictures}", "-s", "pipe=-",
         "--as-fast-as-possible", "--sink", f"jsonl:{out}"],
        input=_transport_stream(tmp_path), capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    document = json.loads(done.stdout)
    assert document["schema"] == "framepace.run/1"
    assert_accounted(document)
    delivered = {source["name"]: source["delivered"] for source in document["sources"]}
    assert delivered["file"] == PICTURES
    assert delivered["folder"] == 5
    assert delivered["pipe"] >= PICTURES - 2
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines) == sum(delivered.values())
    assert [line["number"] for line in lines if line["source"] == "folder"] == list(range(5))


def _transport_stream(folder: Path) -> bytes:
    file = folder / "pipe.ts"
    video(file)
    return file.read_bytes()


def test_sigterm_ends_a_run_in_order(path: str, tmp_path: Path) -> None:
    """Exit code 0: it is how services are ended. What was taken was delivered, the trace is whole, the socket gone."""
    arguments = ("-s", f"a={path}", "--loop", "--out", str(tmp_path / "out"))
    with going(tmp_path, *arguments) as (command, control):
        command.signal(signal.SIGTERM)
        assert command.wait() == 0
        assert not control.exists()
        document = json.loads(command.out)
    assert_accounted(document)
    (segment,) = segments(tmp_path / "out" / "trace")
    trace = load_trace(segment)
    assert trace.meta.stopped == "finished"
    assert (trace.requests["outcome"] == 0).sum() == document["sources"][0]["delivered"]


def test_ctrl_c_keeps_the_trace(path: str, tmp_path: Path) -> None:
    """Exit code 130; the status is printed all the same."""
    arguments = ("-s", f"a={path}", "--loop", "--out", str(tmp_path / "out"))
    with going(tmp_path, *arguments) as (command, _):
        command.signal(signal.SIGINT)
        assert command.wait() == 130
        assert_accounted(json.loads(command.out))
    (segment,) = segments(tmp_path / "out" / "trace")
    assert load_trace(segment).meta.stopped == "interrupted"


def test_a_killed_run_leaves_a_trace_that_can_be_read(path: str, tmp_path: Path) -> None:
    """All rows but those of its last second."""
    arguments = ("-s", f"a={path}", "--loop", "--out", str(tmp_path / "out"))
    with going(tmp_path, *arguments) as (command, control):
        delivered = ask(control, {"do": "status"})["status"]["sources"][0]["delivered"]
        until(control, lambda status: status["sources"][0]["delivered"] > delivered + 45)
        command.signal(signal.SIGKILL)
        command.wait()
    (segment,) = segments(tmp_path / "out" / "trace")
    trace = load_trace(segment)
    assert trace.meta.stopped == "killed"
    assert len(trace) >= delivered


def test_sigusr1_writes_a_recording(path: str, tmp_path: Path) -> None:
    """Into the folder of the run, which goes on."""
    arguments = ("-s", f"a={path}", "--loop", "--out", str(tmp_path / "out"))
    with going(tmp_path, *arguments) as (command, control):
        command.signal(signal.SIGUSR1)
        end = time.monotonic() + 20
        while not list((tmp_path / "out").glob("recording-*/requests.parquet")) and time.monotonic() < end:
            time.sleep(0.05)
        delivered = ask(control, {"do": "status"})["status"]["sources"][0]["delivered"]
        until(control, lambda status: status["sources"][0]["delivered"] > delivered)
    (recording,) = (tmp_path / "out").glob("recording-*")
    assert "SIGUSR1" in load_trace(recording).meta.notes[0]


def test_sigusr1_ends_no_run_that_is_still_loaded(path: str, tmp_path: Path) -> None:
    """Nothing can be recorded then, which is told; here a sink sends the signal while it is opened."""
    (tmp_path / "early.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGUSR1)\n\ndef take(result):\n    pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "framepace", *RUN, "-s", path, "--sink", "call:early:take"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "has not begun" in done.stderr


def test_a_file_of_sources_is_watched(path: str, tmp_path: Path) -> None:
    """What is added to it is read; what is removed from it is read no more."""
    file = tmp_path / "cameras.yaml"
    file.write_text(json.dumps([{"name": "a", "address": path, "loop": True}]))
    with going(tmp_path, "--sources", str(file)) as (_, control):
        other = file.with_suffix(".new")
        other.write_text(json.dumps([{"name": "b", "address": path, "loop": True, "every": 2}]))
        os.replace(other, file)
        until(control, lambda status: _states(status) == {"a": "removed", "b": "live"})


def _states(status: dict[str, Any]) -> dict[str, str]:
    return {source["name"]: source["state"] for source in status["sources"]}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "there is no source"),
        (["-s", "a=nowhere.mp4"], "no file for the source"),
        (["-s", "a=synthetic", "-s", "a=synthetic"], "same name"),
        (["-s", "a=synthetic", "--every", "0"], "--every"),
        (["-s", "a=synthetic", "--every", "often"], "--every"),
        (["-s", "a=synthetic", "--sink", "pigeon:roof"], "pigeon"),
        (["-s", "a=synthetic", "--overload", "panic"], "panic"),
        (["-s", "a=rtsp://${NO_SUCH_VARIABLE}@x/1"], "NO_SUCH_VARIABLE"),
        (["--sources", "nowhere.yaml"], "nowhere.yaml"),
        (["-s", "a=synthetic", "--set", "strategy=worker-processes"], "one engine"),
    ],
)
def test_what_can_never_run_is_refused_with_a_sentence(arguments: Sequence[str], said: str, tmp_path: Path) -> None:
    """Exit code 2, no traceback."""
    with Command(tmp_path, *RUN, *arguments) as command:
        assert command.wait() == 2
        assert said in command.err
        assert "Traceback" not in command.err


def test_a_reader_of_standard_output_that_leaves_ends_nothing(path: str, tmp_path: Path) -> None:
    """As `| head -1` does: the other sink gets all results, what is lost is told, and there is no traceback."""
    out = tmp_path / "results.jsonl"
    with subprocess.Popen(
        [sys.executable, "-m", "framepace", *RUN, "-s", f"a={path}", "--as-fast-as-possible", "--log", "text",
         "--sink", "stdout", "--sink", f"jsonl:{out}"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as run:  # fmt: skip
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.close()
        said = run.stderr.read()
        assert run.wait(60) == 0
    assert "Broken pipe" in said
    assert "Traceback" not in said
    assert len(out.read_text().splitlines()) == PICTURES
