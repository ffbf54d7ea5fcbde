"""`--out` as a user types it: what is refused, with which words and exit code, and what comes out of a full disk."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from framepace import api
from framepace.errors import StoreError
from framepace.facts.trace import REQUEST_COLUMNS
from framepace.store import load_trace
from tests.doubles.commands import Command
from tests.doubles.processes import waited_for
from tests.store.test_faults import written

BENCH = ("bench", "null", "--backend", "null", "--scope", "model", "--fps", "200")


def ended(folder: Path, *arguments: object, largest: int | None = None) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command; no file of it grows over `largest` bytes."""
    limits = {} if largest is None else {"RLIMIT_FSIZE": largest}
    with Command(folder, *arguments, limits=limits, COLUMNS="100") as command:
        code = command.wait()
        assert "Traceback" not in command.err
        return code, command.out, " ".join(command.err.split())


def test_two_commands_with_one_folder_at_the_same_time(tmp_path: Path) -> None:
    """The second is refused with a sentence and exit code 2, even with --overwrite; the first has all its rows."""
    with Command(tmp_path, *BENCH, "--seconds", 100, "--out", "a", "--json") as first:
        journal = tmp_path / "a" / "requests.journal"
        waited_for(lambda: journal.exists() and journal.stat().st_size > 200 * len(REQUEST_COLUMNS) * 8)
        second = ended(tmp_path, *BENCH, "--count", 5, "--out", "a", "--overwrite")
        assert second[0] == 2
        assert second[2].startswith("error: another run is writing to this folder got: a what to do: wait")
        first.signal(signal.SIGINT)
        code = first.wait()
        out = first.out
    assert code in (0, 1, 130)
    rows = {row["model"]: row for row in json.loads(out)["rows"]}
    trace = load_trace(tmp_path / "a")
    assert trace.meta.stopped == "interrupted"
    assert len(trace) >= 200
    assert len(trace) >= rows["frames"]["requests"]  # which are none where Ctrl-C came in the warm-up


def test_a_trace_and_a_users_own_files_are_not_replaced_without_a_word(tmp_path: Path) -> None:
    """Exit code 2 and what to do; nothing is changed. With --overwrite the command does its work."""
    written(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "meta.json").write_text("mine")
    for name, words in (
        ("a", "the folder already holds a trace"),
        ("b", "files that this would replace got: b: meta.json"),
    ):
        before = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        code, _, error = ended(tmp_path, *BENCH, "--count", 5, "--out", name)
        assert code == 2
        assert words in error
        assert "--overwrite" in error
        assert before == {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
    assert ended(tmp_path, *BENCH, "--count", 5, "--out", "b", "--overwrite")[0] in (0, 1)
    assert len(load_trace(tmp_path / "b")) >= 5


def test_a_disk_that_fills_shows_the_numbers_and_says_so(tmp_path: Path) -> None:
    """The summary on standard output, the sentence on standard error, exit code 2."""
    code, out, error = ended(tmp_path, *BENCH, "--seconds", 30, "--out", "a", largest=60_000)
    assert code == 2
    assert "p50" in out
    assert "only part of the trace could be written to a" in error
    assert "the disk is full" in error
    assert len(load_trace(tmp_path / "a")) > 100


def test_a_command_that_fails_leaves_no_folder_of_its_own(tmp_path: Path) -> None:
    """Without --out a new folder is made; it goes again when nothing comes."""
    (tmp_path / "broken.onnx").write_text("no model")
    assert ended(tmp_path, "bench", "broken.onnx")[0] == 2
    assert not list((tmp_path / "framepace-out").glob("*"))


def test_a_report_does_not_replace_a_file_that_is_none(tmp_path: Path) -> None:
    """A page that framepace wrote is written anew; anything else stays unless told."""
    written(tmp_path / "t")
    page = api.report([tmp_path / "t"], out=tmp_path / "r.html")
    assert api.report([tmp_path / "t"], out=page) == page
    (tmp_path / "index.html").write_text("<p>mine</p>")
    with pytest.raises(StoreError, match=r"another file is already there\n.*index.html"):
        api.report([tmp_path / "t"], out=tmp_path / "index.html")
    assert (tmp_path / "index.html").read_text() == "<p>mine</p>"
    api.report([tmp_path / "t"], out=tmp_path / "index.html", overwrite=True)
    assert b"framepace" in (tmp_path / "index.html").read_bytes()
