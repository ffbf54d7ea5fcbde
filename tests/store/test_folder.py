"""Output folders: what is refused, what --overwrite replaces, and what stays whatever happens."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import pytest

from framepace.errors import StoreError
from framepace.store import OutputFolder, TraceWriter, is_trace, load_trace, new_folder, save_json, write_atomic
from framepace.store.folder import Kind
from tests.store.folders import CASE, COMPOSITE, RUNNING, contents, trace, used
from tests.store.killed import row


def test_a_folder_that_was_made_for_nothing_is_gone(tmp_path: Path) -> None:
    """One that was there before stays, whether anything was written or not."""
    (tmp_path / "before").mkdir()
    for name in ("before", "new"):
        for kind in ("trace", *COMPOSITE):
            with OutputFolder(tmp_path / name, kind, case=CASE):
                assert (tmp_path / name).is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["before"]
    assert not list((tmp_path / "before").iterdir())


# What is refused


def test_a_trace_is_replaced_by_nothing_but_overwrite(tmp_path: Path) -> None:
    """Finished or killed, its rows stay; with `overwrite` the new ones are there alone."""
    trace(tmp_path / "t", rows=3)
    killed = TraceWriter(tmp_path / "k", RUNNING)
    killed.append("requests", row(7))
    killed.abort()
    for name in "tk":
        before = contents(tmp_path / name)
        with pytest.raises(StoreError, match=r"already holds .*\n.*\n.*--overwrite"):
            TraceWriter(tmp_path / name, RUNNING)
        assert contents(tmp_path / name) == before
        trace(tmp_path / name, rows=1, overwrite=True)
        assert len(load_trace(tmp_path / name)) == 1


def test_a_run_that_ended_before_its_first_row_is_in_nobodys_way(tmp_path: Path) -> None:
    """Nothing was measured, so nothing is lost: the same command may be given again."""
    TraceWriter(tmp_path / "t", RUNNING).abort()
    trace(tmp_path / "t", rows=0)
    trace(tmp_path / "t", rows=2)
    assert len(load_trace(tmp_path / "t")) == 2


@pytest.mark.parametrize("name", ["meta.json", "requests.parquet", "telemetry.journal"])
@pytest.mark.parametrize("content", [b"", b"{}", b'{"mine": 1}', b'{"format": ["framepace.trace/2"]}', b"\xff\0" * 40])
def test_files_of_other_origin_are_not_replaced(tmp_path: Path, name: str, content: bytes) -> None:
    """A user's own meta.json, or whatever else has the name of a file of a trace; --overwrite replaces it."""
    path = tmp_path / "t" / name
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StoreError, match=f"would replace\n.*{name}"):
        TraceWriter(tmp_path / "t", RUNNING)
    assert path.read_bytes() == content
    trace(tmp_path / "t", overwrite=True)
    assert len(load_trace(tmp_path / "t")) == 3


def test_other_files_beside_stay(tmp_path: Path) -> None:
    """Notes in the folder are no reason to refuse it, and nothing touches them, not even --overwrite."""
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "net.onnx").write_text("mine, too")
    for kind in COMPOSITE:
        with OutputFolder(tmp_path, kind, overwrite=True, case=CASE):
            pass
    trace(tmp_path)
    trace(tmp_path, overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "model" / "net.onnx").read_text() == "mine, too"


@pytest.mark.parametrize("kind", COMPOSITE)
def test_the_same_case_goes_on_in_its_folder(tmp_path: Path, kind: Kind) -> None:
    """Nothing is removed, so that what was measured can be used."""
    used(tmp_path / "o", kind)
    before = contents(tmp_path / "o")
    with OutputFolder(tmp_path / "o", kind, case=CASE):
        pass
    assert contents(tmp_path / "o") == before


@pytest.mark.parametrize("kind", COMPOSITE)
def test_another_case_is_refused_with_what_differs(tmp_path: Path, kind: Kind) -> None:
    """The setting, what it was and what it is; with `overwrite` the old one is removed."""
    used(tmp_path / "o", kind)
    before = contents(tmp_path / "o")
    other = {**CASE, "workload": {"seconds": 2.0, "seed": 0}}
    with pytest.raises(StoreError, match=r"another case\n.*workload.seconds: 5.0 there, 2.0 now\n.*--overwrite"):
        OutputFolder(tmp_path / "o", kind, case=other).claim()
    assert contents(tmp_path / "o") == before
    with OutputFolder(tmp_path / "o", kind, overwrite=True, case=other):
        assert os.listdir(tmp_path / "o") == ["folder.json"]


@pytest.mark.parametrize("kind", COMPOSITE)
@pytest.mark.parametrize("other", [*COMPOSITE, "trace"])
def test_a_result_of_another_kind_is_refused(tmp_path: Path, kind: Kind, other: Kind) -> None:
    """A sweep in the folder of a tuning, a trace in that of a sweep, and so on, in both orders."""
    if kind == other:
        return
    used(tmp_path / "o", kind)
    with pytest.raises(StoreError, match=r"already holds .*\n.*\n.*--overwrite"):
        OutputFolder(tmp_path / "o", other, case=CASE).claim()
    trace(tmp_path / "t")
    with pytest.raises(StoreError, match="already holds a trace"):
        OutputFolder(tmp_path / "t", kind, case=CASE).claim()


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("explanation", "plan.yaml"),
        ("tuning", "report.html"),
        ("sweep", "sweep.json"),
        ("tuning", "runs"),
        ("explanation", "model"),
    ],
)
def test_files_with_names_that_a_verb_writes_are_not_replaced(tmp_path: Path, kind: Kind, name: str) -> None:
    """`explain plan.yaml --out .` would write over the plan it was given."""
    if "." in name:
        (tmp_path / name).write_text("models: []")
    else:
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(StoreError, match=f"would replace\n.*{name}"):
        OutputFolder(tmp_path, kind, case=CASE).claim()
    assert contents(tmp_path) == before


def test_overwriting_removes_traces_and_no_folder_of_somebody_else(tmp_path: Path) -> None:
    """In a folder that a verb would write to, what is no trace of ours stays, and links are not followed."""
    used(tmp_path / "o", "explanation")
    (tmp_path / "o" / "model").mkdir()
    (tmp_path / "o" / "model" / "net.onnx").write_text("mine")
    (tmp_path / "o" / "stream" / "notes.txt").write_text("mine")
    trace(tmp_path / "elsewhere")
    (tmp_path / "o" / "gapless").symlink_to(tmp_path / "elsewhere")
    with OutputFolder(tmp_path / "o", "explanation", overwrite=True, case={"other": 1}):
        pass
    assert {"model/net.onnx", "stream/notes.txt"} == contents(tmp_path / "o").keys() - {"folder.json"}
    assert len(load_trace(tmp_path / "elsewhere")) == 3


def test_sweeps_and_tunings_from_before_folders_had_a_marker_go_on(tmp_path: Path) -> None:
    """They are known by their tables; explanations, which have nothing to go on from, are not replaced."""
    write_atomic(tmp_path / "s" / "sweep.json", b'{"grid": {}, "cells": []}')
    write_atomic(tmp_path / "t" / "tuning.json", b'{"goal": {}, "candidates": []}')
    write_atomic(tmp_path / "e" / "explanation.json", b'{"plan": {}}')
    with OutputFolder(tmp_path / "s", "sweep", case=CASE), OutputFolder(tmp_path / "t", "tuning", case=CASE):
        pass
    with pytest.raises(StoreError, match=r"would replace\n.*explanation.json"):
        OutputFolder(tmp_path / "e", "explanation", case=CASE).claim()


def test_a_damaged_marker_counts_as_none(tmp_path: Path) -> None:
    """The folder is judged by what else is in it; beside a result, whatever it is, it is written anew."""
    (tmp_path / "sweep.json").write_bytes(b'{"grid": {}, "cells": []}')
    for content in (b"[]", b'{"format": 3}', b"[" * 100_000, b"", b'{"format":"framepace.folder/1","ki'):
        (tmp_path / "folder.json").write_bytes(content)
        with OutputFolder(tmp_path, "sweep", case=CASE):
            marker = json.loads((tmp_path / "folder.json").read_bytes())
            assert "sweep" in marker.values()


@pytest.mark.parametrize("content", [b"[]", b'{"mine": 1}', b"text"])
def test_a_users_own_file_called_like_the_marker_is_not_replaced(tmp_path: Path, content: bytes) -> None:
    """Nor a folder of that name; with `overwrite` the file is."""
    (tmp_path / "folder.json").write_bytes(content)
    with pytest.raises(StoreError, match=r"would replace\n.*folder.json"):
        OutputFolder(tmp_path, "sweep", case=CASE).claim()
    assert (tmp_path / "folder.json").read_bytes() == content
    with OutputFolder(tmp_path, "sweep", overwrite=True, case=CASE):
        assert json.loads((tmp_path / "folder.json").read_bytes())["kind"] == "sweep"
    (tmp_path / "o" / "folder.json").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"would replace\n.*folder.json"):
        OutputFolder(tmp_path / "o", "tuning", case=CASE).claim()


def test_no_secret_is_in_the_marker(tmp_path: Path) -> None:
    """The address of a camera is kept without its user and password; changing them is no other case."""
    for password in ("hunter2", "swordfish"):
        case = {"workload": {"videos": [f"rtsp://me:{password}@camera/1"]}}
        with OutputFolder(tmp_path, "sweep", case=case):
            assert password not in (tmp_path / "folder.json").read_text()
            trace(tmp_path / "cell-0123456789ab", overwrite=True)


def test_parts_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    """Nothing else that ends in .part is."""
    (tmp_path / ".framepace-123-4.part").write_text("half")
    (tmp_path / "my.part").write_text("mine")
    with OutputFolder(tmp_path, "sweep", case=CASE):
        assert sorted(os.listdir(tmp_path)) == ["folder.json", "my.part"]


# What a file system can answer


def in_the_way(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    """Paths that cannot be folders, and a word of the sentence that says why."""
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone" / "too")
    os.mkfifo(tmp_path / "pipe")
    return {
        "long": (tmp_path / ("x" * 256), "255 bytes"),
        "long parent": (tmp_path / ("x" * 3000) / "t", "255 bytes"),
        "file": (tmp_path / "file", "file is where a folder"),
        "below a file": (tmp_path / "file" / "t", "file is where a folder"),
        "loop": (tmp_path / "loop", "circle"),
        "below a loop": (tmp_path / "loop" / "t", "circle"),
        "dangling": (tmp_path / "nowhere", "No such file"),
        "pipe": (tmp_path / "pipe", "file is where a folder"),
        "zero byte": (tmp_path / "a\0b", "null"),
        "kernel": (Path("/proc/self/t"), "No such file"),
    }


@pytest.mark.parametrize(
    "name",
    ["long", "long parent", "file", "below a file", "loop", "below a loop", "dangling", "pipe", "zero byte", "kernel"],
)
@pytest.mark.parametrize("kind", ["trace", "sweep"])
def test_a_path_that_cannot_be_a_folder_is_a_sentence(tmp_path: Path, name: str, kind: Kind) -> None:
    """What is in the way, and no more letters of the path than a person reads."""
    path, words = in_the_way(tmp_path)[name]
    with pytest.raises(StoreError, match=words) as refusal:
        OutputFolder(path, kind, case=CASE).claim()
    assert len(str(refusal.value)) < 600
    assert not is_trace(path)
    with pytest.raises(StoreError):
        load_trace(path)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EMFILE, errno.EIO])
def test_a_folder_that_cannot_be_written_to_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Full, read-only, without permission: known before anything is loaded, and the folder is free again."""

    def refuse(path: Path, data: bytes) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(StoreError, match=os.strerror(code)):
        TraceWriter(tmp_path / "t", RUNNING)
    monkeypatch.undo()
    assert not (tmp_path / "t").exists()
    trace(tmp_path / "t")


# New names


def test_default_folders_get_new_names_by_themselves(tmp_path: Path) -> None:
    """Runs within a second of each other, from several threads: each has a folder of its own."""
    made: list[Path] = []
    threads = [threading.Thread(target=lambda: made.append(new_folder(tmp_path / "o", "bench-1"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {path.name for path in made} == {"bench-1", *(f"bench-1-{number}" for number in range(2, 9))}
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        new_folder(tmp_path / "file", "bench-1")


# Files


def test_the_longest_name_a_file_can_have_is_written(tmp_path: Path) -> None:
    """What is written on the way to it has a short name of its own."""
    path = tmp_path / ("x" * 250 + ".json")
    save_json({"a": 1}, path)
    assert json.loads(path.read_text()) == {"a": 1}
    with pytest.raises(StoreError, match="255 bytes"):
        save_json({"a": 1}, tmp_path / ("x" * 256))


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    """A report that is a link to elsewhere is written there."""
    (tmp_path / "there").mkdir()
    (tmp_path / "report.html").symlink_to(tmp_path / "there" / "r.html")
    write_atomic(tmp_path / "report.html", b"page")
    assert (tmp_path / "report.html").is_symlink()
    assert (tmp_path / "there" / "r.html").read_bytes() == b"page"


def test_devices_and_pipes_are_written_to_and_not_replaced(tmp_path: Path) -> None:
    """/dev/null stays what it is; a pipe that nobody reads is a sentence instead of a wait."""
    write_atomic(Path("/dev/null"), b"page")
    assert Path("/dev/null").is_char_device()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreError, match="cannot write"):
        write_atomic(tmp_path / "pipe", b"page")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_atomic(tmp_path / "pipe", b"page")
    assert os.read(reader, 10) == b"page"
    os.close(reader)
