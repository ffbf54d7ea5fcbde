"""Every operation of a file system fails once: what was written is there, what is missing is said, nothing is wrong."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from framepace.errors import FramepaceError, StoreError
from framepace.facts.device import SIMULATED
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.settings import Case
from framepace.facts.sweep import Sweep
from framepace.facts.trace import Trace
from framepace.facts.workload import Paced, Stop, Warmup, Workload
from framepace.measure.session import measure
from framepace.sizing import find_capacity
from framepace.store import OutputFolder, TraceWriter, load_trace, write_atomic
from framepace.sweeping import sweep
from framepace.testing import make_meta
from tests.store.killed import case, row
from tests.store.limits import largest_file, no_room_for_parquet

ROWS = 5
OPERATIONS = ("mkdir", "write_bytes", "replace", "open", "unlink")
FAULTS = 12
CODES = (errno.ENOSPC, errno.EACCES, errno.EIO, errno.ENOENT)


class Faults:
    """Fails one call of one method of Path, by its number."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, failing: int, code: int) -> None:
        self.calls = 0
        real: Callable[..., Any] = getattr(Path, name)

        def operation(path: Path, *arguments: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls == failing:
                raise OSError(code, os.strerror(code), str(path))
            return real(path, *arguments, **options)

        monkeypatch.setattr(Path, name, operation)


def written(folder: Path) -> Trace:
    """A trace of five rows, closed."""
    writer = TraceWriter(folder, make_meta(stopped="running"))
    for number in range(ROWS):
        writer.append("requests", row(number))
    return writer.close(make_meta())


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_whatever_fails_once_no_row_that_was_appended_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    """A sentence before the first row, or all rows in the trace that closing returns; what is on disk is right."""
    for failing in range(1, FAULTS):
        folder = tmp_path / str(failing)
        with monkeypatch.context() as patch:
            Faults(patch, name, failing, code)
            try:
                trace = written(folder)
            except StoreError:
                trace = None
        if trace is not None:
            assert trace.requests["frame"].tolist() == list(range(ROWS))
            assert load_trace(folder).requests["frame"].tolist() == list(range(ROWS))
        with OutputFolder(folder, "trace", overwrite=True):
            pass


def test_a_folder_that_is_removed_during_the_run_is_written_anew(tmp_path: Path) -> None:
    """All rows, also those from before, and a note; nothing half is left when it cannot be."""
    writer = TraceWriter(tmp_path / "t", make_meta(stopped="running"))
    writer.append("requests", row(0))
    shutil.rmtree(tmp_path / "t")
    writer.append("requests", row(1))
    trace = writer.close(make_meta())
    assert trace.requests["frame"].tolist() == [0, 1]
    assert "removed" in trace.meta.notes[0]
    assert load_trace(tmp_path / "t").requests["frame"].tolist() == [0, 1]


def test_a_folder_that_gives_way_to_a_file_leaves_the_rows_in_memory(tmp_path: Path) -> None:
    """The trace that closing returns has them, and says that it is nowhere else."""
    writer = TraceWriter(tmp_path / "t", make_meta(stopped="running"))
    writer.append("requests", row(0))
    shutil.rmtree(tmp_path / "t")
    (tmp_path / "t").write_text("mine")
    trace = writer.close(make_meta())
    assert trace.requests["frame"].tolist() == [0]
    assert "in memory only" in trace.meta.notes[-1]
    assert (tmp_path / "t").read_text() == "mine"


def test_no_memory_for_parquet_leaves_the_journals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As no room does."""
    import pyarrow as pa

    def refuse(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(pa, "array", refuse)
    assert len(written(tmp_path / "t")) == ROWS
    monkeypatch.undo()
    assert len(load_trace(tmp_path / "t")) == ROWS


# Runs


def paced(seconds: float = 1.0) -> Case:
    """A run of the null backend at 200 frames per second."""
    plan = Plan(models=(ModelPlan(name="m", model="null", backend="null"),))
    load = Paced(fps=200)
    return Case(
        plan=plan,
        workload=Workload(load=load, scope="model", stop=Stop(seconds=seconds), warmup=Warmup(seconds_max=0.05)),
    )


def test_a_disk_that_fills_during_a_run_ends_it_with_what_was_measured(tmp_path: Path) -> None:
    """No error: the trace says 'disk full', has a note with the reason, and is on disk as far as there was room."""
    run = paced(30.0)
    with largest_file(30_000):
        trace = measure(run.plan, run.workload, folder=tmp_path / "t")
    assert trace.meta.stopped == "disk full"
    assert not trace.meta.whole
    assert any("the disk is full" in note for note in trace.meta.notes)
    stored = load_trace(tmp_path / "t")
    assert 50 < len(stored) <= len(trace)
    assert np.array_equal(stored.requests["due"], trace.requests["due"][: len(stored)])


def test_a_disk_that_is_full_from_the_first_row_on_still_gives_the_rows(tmp_path: Path) -> None:
    """The file of telemetry, which is written first, fails, too: what came until the run ended is in memory."""
    run = paced(30.0)
    with largest_file(5000):  # enough for meta.json
        trace = measure(run.plan, run.workload, folder=tmp_path / "t")
    assert trace.meta.stopped == "disk full"
    assert len(load_trace(tmp_path / "t")) < len(trace)


def test_a_run_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    """A folder with a trace is known at once: the model, which is missing, is not even looked for."""
    written(tmp_path / "t")
    plan = Plan(models=(ModelPlan(name="m", model="missing.onnx"),))
    with pytest.raises(StoreError, match="already"):
        measure(plan, paced().workload, folder=tmp_path / "t")
    with pytest.raises(FramepaceError, match=r"missing\.onnx"):
        measure(plan, paced().workload, folder=tmp_path / "t", overwrite=True)
    assert len(load_trace(tmp_path / "t")) == ROWS, "a run that did not begin replaces nothing"


def test_a_failed_run_leaves_no_folder(tmp_path: Path) -> None:
    """A model that cannot be loaded: nothing was written, nothing stays."""
    with pytest.raises(FramepaceError):
        measure(Plan(models=(ModelPlan(name="m", model="missing.onnx"),)), paced().workload, folder=tmp_path / "t")
    assert not list(tmp_path.iterdir())


# Verbs that measure more than once


def test_a_sweep_whose_disk_is_full_measures_on_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All cells have their numbers, those that are nowhere else have no path, and a note says why."""
    real = Path.write_bytes

    def full_after_the_first_cell(path: Path, data: bytes) -> int:
        if (tmp_path / "s" / "sweep.json").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, data)

    monkeypatch.setattr(Path, "write_bytes", full_after_the_first_cell)
    result = sweep(case(), {"batch": (1, 2, 4)}, folder=tmp_path / "s")
    assert [cell.summary is not None for cell in result.cells] == [True, True, True]
    assert [cell.trace is not None for cell in result.cells] == [True, False, False]
    (saving, _) = result.notes
    assert "disk is full" in saving


def test_a_capacity_whose_folder_is_taken_away_still_answers(tmp_path: Path) -> None:
    """A full disk is no limit of the plan: the count is the one that is found without a folder."""
    expected = find_capacity(case(), max_cameras=4, seconds=1.0)

    def take_away(text: str, share: float | None) -> None:
        if "2 cameras" in text:
            shutil.rmtree(tmp_path / "c", ignore_errors=True)
            (tmp_path / "c").write_text("mine")

    result = find_capacity(case(), max_cameras=4, seconds=1.0, folder=tmp_path / "c", tell=take_away)
    assert result.cameras == expected.cameras
    assert "nothing was saved" in result.notes[0]


def numbers(result: Sweep) -> list[Any]:
    """What was measured in each cell; virtual time gives the same again."""
    return [None if cell.summary is None else cell.summary.frames for cell in result.cells]


def test_one_damaged_cell_is_measured_again_and_said(tmp_path: Path) -> None:
    """The others are read as they are; the same command then has nothing to do."""
    grid = {"batch": (1, 2, 4)}
    first = sweep(case(), grid, folder=tmp_path)
    for damage in (b"", b"{", b'{"format": []}', b"\xff" * 100):
        path = Path(first.cells[1].trace or "") / "meta.json"
        written_at = [(Path(cell.trace or "") / "meta.json").stat().st_mtime_ns for cell in first.cells]
        path.write_bytes(damage)
        again = sweep(case(), grid, folder=tmp_path)
        assert numbers(again) == numbers(first)
        assert again.notes[0].startswith("batch=2 was measured again: ")
        after = [(Path(cell.trace or "") / "meta.json").stat().st_mtime_ns for cell in first.cells]
        assert (after[0], after[2]) == (written_at[0], written_at[2])
        assert sweep(case(), grid, folder=tmp_path).notes == (SIMULATED,)


@pytest.mark.parametrize("name", ["requests.parquet", "telemetry.parquet"])
def test_a_cell_without_one_of_its_files_is_measured_again(tmp_path: Path, name: str) -> None:
    """As one that is damaged."""
    first = sweep(case(), {"batch": (1, 2)}, folder=tmp_path)
    (Path(first.cells[0].trace or "") / name).unlink()
    again = sweep(case(), {"batch": (1, 2)}, folder=tmp_path)
    assert numbers(again) == numbers(first)
    assert len(again.notes) == 2  # the damage, and the word that it is simulated


def test_a_larger_grid_goes_on_and_another_case_is_refused(tmp_path: Path) -> None:
    """Cells of both grids that are the same are read; another workload is no part of the same sweep."""
    first = sweep(case(), {"batch": (1, 2)}, folder=tmp_path)
    written_at = [(Path(cell.trace or "") / "meta.json").stat().st_mtime_ns for cell in first.cells]
    larger = sweep(case(), {"batch": (1, 2, 4)}, folder=tmp_path)
    assert larger.cells[:2] == first.cells
    assert written_at == [(Path(cell.trace or "") / "meta.json").stat().st_mtime_ns for cell in first.cells]
    other = paced()
    with pytest.raises(StoreError, match="another case"):
        sweep(other, {"batch": (1, 2)}, folder=tmp_path)
    assert sweep(case(), {"batch": (1, 2)}, folder=tmp_path).cells == first.cells


@pytest.mark.parametrize("interrupted_at", [0, 1, 2])
@pytest.mark.parametrize("saved", [True, False])
def test_ctrl_c_between_cells_gives_the_finished_ones(tmp_path: Path, interrupted_at: int, saved: bool) -> None:
    """With a folder and without one."""
    cells = 0

    def tell(text: str, share: float | None) -> None:
        nonlocal cells
        if text.startswith("batch=") and ":" not in text:
            if cells == interrupted_at:
                raise KeyboardInterrupt
            cells += 1

    result = sweep(case(), {"batch": (1, 2, 4)}, folder=tmp_path / "s" if saved else None, tell=tell)
    assert result.interrupted
    assert [cell.summary is not None for cell in result.cells] == [True] * interrupted_at


def test_two_files_of_parquet_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for one of two: the journals stay, and every later reader takes them."""
    no_room_for_parquet(monkeypatch, "telemetry")
    assert len(written(tmp_path / "t")) == ROWS
    monkeypatch.undo()
    assert len(load_trace(tmp_path / "t")) == ROWS
    with pytest.raises(StoreError, match="already"):
        write_over(tmp_path / "t")


def write_over(folder: Path) -> None:
    """Begin another trace in `folder`."""
    TraceWriter(folder, make_meta(stopped="running"))


def test_a_file_that_is_written_atomically_is_the_old_one_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails, and no part is left."""
    path = tmp_path / "sweep.json"
    path.write_text("old")
    for name in ("write_bytes", "replace"):
        with monkeypatch.context() as patch:
            Faults(patch, name, 1, errno.ENOSPC)
            with pytest.raises(StoreError, match="disk is full"):
                write_atomic(path, b"new")
        assert path.read_text() == "old"
        assert os.listdir(tmp_path) == ["sweep.json"]
    write_atomic(path, b"new")
    assert path.read_text() == "new"
