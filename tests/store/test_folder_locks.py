"""Output folders: who owns one while several want it."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from framepace.errors import StoreError
from framepace.store import OutputFolder, TraceWriter, load_trace
from tests.store.folders import DONE, RUNNING, trace
from tests.store.killed import row


def test_of_two_runs_with_one_folder_the_second_is_refused_and_the_first_loses_nothing(tmp_path: Path) -> None:
    """Also with `overwrite`: the rows of the first are whole."""
    writer = TraceWriter(tmp_path / "t", RUNNING)
    writer.append("requests", row(0))
    for overwrite in (False, True):
        with pytest.raises(StoreError, match="another run is writing"):
            TraceWriter(tmp_path / "t", RUNNING, overwrite)
    writer.append("requests", row(1))
    assert writer.close(DONE).requests["frame"].tolist() == [0, 1]
    assert load_trace(tmp_path / "t").requests["frame"].tolist() == [0, 1]


def test_the_lock_holds_between_processes_and_goes_with_them(tmp_path: Path) -> None:
    """A child that holds the folder: refused here. Once it is killed: free, and no lock file is left."""
    code = (
        "import sys, time; from pathlib import Path; from framepace.store import OutputFolder\n"
        "folder = OutputFolder(Path(sys.argv[1]), 'sweep'); folder.claim(); print(flush=True); time.sleep(20)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "s")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.read(1)
        with pytest.raises(StoreError, match="another run is writing"):
            OutputFolder(tmp_path / "s", "sweep").claim()
        holder.kill()
    with OutputFolder(tmp_path / "s", "sweep"):
        assert os.listdir(tmp_path / "s") == ["folder.json"]


def test_one_of_many_threads_gets_a_folder(tmp_path: Path) -> None:
    """Twenty at once: one owner, nineteen refusals."""
    results: list[str] = []
    folders = [OutputFolder(tmp_path / "s", "sweep") for _ in range(20)]

    def claim(folder: OutputFolder) -> None:
        try:
            folder.claim()
            results.append("owner")
        except StoreError as error:
            results.append(error.what)

    threads = [threading.Thread(target=claim, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for folder in folders:
        folder.release()
    assert sorted(results) == ["another run is writing to this folder"] * 19 + ["owner"]


def test_a_process_forked_meanwhile_does_not_keep_the_folder(tmp_path: Path) -> None:
    """A hook may start processes that live on: leaving frees the folder all the same."""
    context = multiprocessing.get_context("fork")
    end = context.Event()
    with OutputFolder(tmp_path / "s", "sweep"):
        child = context.Process(target=end.wait)
        child.start()
    try:
        with OutputFolder(tmp_path / "s", "sweep"):
            pass
    finally:
        end.set()
        child.join()


def test_where_folders_cannot_be_locked_a_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems lock files alone."""
    real = fcntl.flock

    def flock(handle: int, operation: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            raise OSError(errno.EBADF, "Bad file descriptor")
        real(handle, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with OutputFolder(tmp_path / "s", "sweep"), pytest.raises(StoreError, match="another run is writing"):
        OutputFolder(tmp_path / "s", "sweep").claim()
    with OutputFolder(tmp_path / "s", "sweep"):
        pass


def test_without_any_locks_the_checks_remain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has no locks is written to, and what is in a folder is still not replaced."""

    def flock(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    trace(tmp_path / "t")
    with pytest.raises(StoreError, match="already"):
        TraceWriter(tmp_path / "t", RUNNING)
