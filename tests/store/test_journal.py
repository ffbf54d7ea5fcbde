"""What a trace keeps when its writing goes wrong, and what its reading costs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from framepace.errors import StoreError
from framepace.facts.trace import REQUEST_COLUMNS, TELEMETRY_COLUMNS
from framepace.store import MemoryWriter, TraceWriter, load_trace, rows_to_columns, save_json, traces
from framepace.testing import make_meta
from tests.store.limits import largest_file, no_room_for_parquet

WIDTH = len(REQUEST_COLUMNS)
RUNNING, DONE = make_meta(stopped="running"), make_meta(stopped="finished")
FIXTURES = Path(__file__).parent / "fixtures"


def rows(count: int, width: int = WIDTH, first: int = 0) -> bytes:
    """Packed rows of distinct values, the first of which is `first`."""
    return np.arange(first, first + count * width, dtype="<i8").tobytes()


def test_a_disk_that_fills_in_the_middle_of_a_row_keeps_the_rows_before(tmp_path: Path) -> None:
    """The rows that fit are in the trace that is read later, all rows in the one that closing returns; both say it."""
    writer = TraceWriter(tmp_path / "t", RUNNING)
    with largest_file(4 * 8 * WIDTH + 100):
        with pytest.raises(StoreError, match="disk is full"):
            writer.append("requests", rows(10))
        trace = writer.close(DONE)
    assert np.array_equal(trace.requests["frame"], np.arange(10) * WIDTH)
    assert trace.meta.stopped == "finished"
    assert len(trace.meta.notes) == 2
    again = load_trace(tmp_path / "t")
    assert np.array_equal(again.requests["marks"], trace.requests["marks"][:4])
    assert again.meta.notes


def test_nothing_follows_a_torn_row(tmp_path: Path) -> None:
    """After a failed write every later one fails too, even when there is room again."""
    writer = TraceWriter(tmp_path / "t", RUNNING)
    with largest_file(3 * 8 * WIDTH + 100), pytest.raises(StoreError):
        writer.append("requests", rows(5))
    with pytest.raises(StoreError, match="disk is full"):
        writer.append("requests", rows(5))
    trace = writer.close(DONE)
    assert len(trace) == 5
    assert len(load_trace(tmp_path / "t")) == 3
    assert trace.meta.notes == ("writing failed during the run: later rows are missing",)
    assert not list((tmp_path / "t").glob("*.journal"))


def test_a_full_disk_at_the_end_leaves_the_journals_and_no_debris(tmp_path: Path, monkeypatch: Any) -> None:
    """The second Parquet file does not fit: the first is removed, the journals stay, the meta is final."""
    writer = TraceWriter(tmp_path / "t", RUNNING)
    writer.append("requests", rows(5))
    no_room_for_parquet(monkeypatch, "telemetry")
    writer.close(DONE)
    left = sorted(path.name for path in (tmp_path / "t").iterdir())
    assert left == ["meta.json", "requests.journal", "telemetry.journal"]
    again = load_trace(tmp_path / "t")
    assert again.meta.stopped == "finished"
    assert len(again) == 5


def test_a_run_killed_by_the_system_keeps_every_row_it_appended(tmp_path: Path) -> None:
    """SIGKILL after 1,000 rows: 1,000 rows, and a note that the run was killed."""
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from framepace.store import TraceWriter; from framepace.testing import make_meta\n"
        "writer = TraceWriter(Path(sys.argv[1]), make_meta(stopped='running'))\n"
        f"for i in range(1000): writer.append('requests', i.to_bytes(8, 'little') * {WIDTH})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "t")], check=False)
    assert done.returncode == -signal.SIGKILL
    trace = load_trace(tmp_path / "t")
    assert np.array_equal(trace.requests["delivered"], np.arange(1000))
    assert trace.meta.stopped == "killed"


@pytest.mark.parametrize("made", [0, 1])
def test_a_run_killed_before_its_journals_were_made_has_no_rows(tmp_path: Path, made: int) -> None:
    """A kill after the meta, and after the first of the two journals: an empty trace that was killed, not damaged."""
    TraceWriter(tmp_path / "t", RUNNING).abort()
    for name in ("requests", "telemetry")[made:]:
        (tmp_path / "t" / f"{name}.journal").unlink()
    trace = load_trace(tmp_path / "t")
    assert len(trace) == 0
    assert len(trace.telemetry["time"]) == 0
    assert trace.meta.stopped == "killed"


def test_threads_append_whole_rows(tmp_path: Path) -> None:
    """Rows that eight threads append at once are all there and none is torn."""
    writer = TraceWriter(tmp_path / "t", RUNNING)

    def work(worker: int) -> None:
        for i in range(50):
            writer.append("requests", np.full(WIDTH, worker * 50 + i, "<i8").tobytes())

    crew = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    columns = writer.close(DONE).requests
    assert np.array_equal(np.sort(columns["frame"]), np.arange(400))
    assert np.array_equal(columns["frame"], columns["marks"])


def test_rows_are_appended_before_the_run_ends(tmp_path: Path) -> None:
    """What was appended is in the file at once: nothing waits in a buffer of ours."""
    writer = TraceWriter(tmp_path / "t", RUNNING)
    writer.append("telemetry", rows(2, len(TELEMETRY_COLUMNS)))
    assert len(load_trace(tmp_path / "t").telemetry["time"]) == 2
    writer.abort()


def test_a_trace_of_many_blocks_is_put_together_in_order(tmp_path: Path, monkeypatch: Any) -> None:
    """Journal to Parquet to columns with blocks of 7 rows gives what one block gives, the last one short."""
    monkeypatch.setattr(traces, "BLOCK_ROWS", 7)
    writer = TraceWriter(tmp_path / "t", RUNNING)
    writer.append("requests", rows(40))
    trace, straight = writer.close(DONE), rows_to_columns("requests", rows(40))
    assert all(np.array_equal(trace.requests[name], straight[name]) for name in REQUEST_COLUMNS)
    assert all(column.flags.c_contiguous for column in trace.requests.values())


def test_loading_holds_the_rows_once(tmp_path: Path, monkeypatch: Any) -> None:
    """The peak memory of reading a trace, from journals or from Parquet, is its columns and little more."""
    monkeypatch.setattr(traces, "BLOCK_ROWS", 1024)
    size = 40_000 * WIDTH * 8
    for end in ("aborted", "closed"):
        writer = TraceWriter(tmp_path / end, RUNNING)
        writer.append("requests", rows(40_000))
        if end == "closed":
            writer.close(DONE)
        writer.abort()
        load_trace(tmp_path / end)  # imports what reading needs
        tracemalloc.start()
        trace = load_trace(tmp_path / end)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(trace) == 40_000
        assert size <= peak < 1.3 * size


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    """A file where the folder should be, or a folder where a journal should be, raises StoreError."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        TraceWriter(tmp_path / "file", RUNNING)
    (tmp_path / "t" / "requests.journal").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"would replace\n.*requests.journal"):
        TraceWriter(tmp_path / "t", RUNNING)
    with pytest.raises(StoreError, match="cannot write"):
        TraceWriter(tmp_path / "t", RUNNING, overwrite=True)


def parquet(folder: Path, change: Any) -> None:
    """Rewrite requests.parquet of the trace in `folder` as another tool would."""
    import pyarrow.parquet as pq

    path = folder / "requests.parquet"
    pq.write_table(change(pq.read_table(path)), path)


def saved(folder: Path) -> Path:
    """A closed trace of three rows."""
    writer = TraceWriter(folder, RUNNING)
    writer.append("requests", rows(3))
    writer.close(DONE)
    return folder


def test_columns_that_are_missing_were_not_measured(tmp_path: Path) -> None:
    """A column that an older writer did not have reads as -1; one that we do not know is left out."""
    folder = saved(tmp_path / "t")
    parquet(folder, lambda table: table.drop_columns(["gc"]).append_column("mine", [[1, 2, 3]]))
    requests = load_trace(folder).requests
    assert requests["gc"].tolist() == [-1, -1, -1]
    assert list(requests) == list(REQUEST_COLUMNS)
    assert requests["marks"].tolist() == [WIDTH - 1, 2 * WIDTH - 1, 3 * WIDTH - 1]


@pytest.mark.parametrize("values", [["a", "b", "c"], [1, None, 3], [0.5, 1.0, 1.5]])
def test_columns_of_other_types_are_damage(tmp_path: Path, values: list[Any]) -> None:
    """Text, missing values and fractions are no stamps: StoreError, never wrong numbers."""
    folder = saved(tmp_path / "t")
    parquet(folder, lambda table: table.drop_columns(["due"]).append_column("due", [values]))
    with pytest.raises(StoreError, match="damaged"):
        load_trace(folder)


def test_meta_of_another_version_says_which_framepace_wrote_it(tmp_path: Path) -> None:
    """A field that this version does not know is refused, with the version to read it with."""
    folder = saved(tmp_path / "t")
    text = (folder / "meta.json").read_text().replace('"framepace": ""', '"framepace": "7.3", "colour": "blue"')
    (folder / "meta.json").write_text(text)
    with pytest.raises(StoreError, match=r"7\.3"):
        load_trace(folder)


def test_a_trace_that_was_never_written_to_is_empty_and_not_damaged(tmp_path: Path) -> None:
    """No row at all: columns of length zero, from journals and from Parquet."""
    writer = TraceWriter(tmp_path / "t", RUNNING)
    assert len(load_trace(tmp_path / "t")) == 0
    assert len(writer.close(DONE)) == 0
    assert len(load_trace(tmp_path / "t")) == 0
    assert len(MemoryWriter(RUNNING).close(DONE)) == 0


def test_the_first_format_is_still_read() -> None:
    """A trace that the first release wrote: its rows, its meta, and what its words mean now."""
    trace = load_trace(FIXTURES / "trace-1")
    assert trace.meta.format == "framepace.trace/2"
    assert trace.meta.plan.format == "framepace.plan/2"
    assert trace.meta.plan.engine.strategy == "workers"  # which was 'threads' then
    assert trace.requests["frame"].tolist() == [0, 27, 54]
    assert trace.requests["outcome"].tolist() == [24, 51, 78]
    assert trace.telemetry["device"].tolist() == [1, 27]


def test_aborting_leaves_what_a_killed_run_leaves(tmp_path: Path) -> None:
    """The rows so far can be read, and the trace says that it was not closed."""
    writer = TraceWriter(tmp_path / "t", RUNNING)
    writer.append("requests", rows(2))
    writer.abort()
    assert load_trace(tmp_path / "t").meta.stopped == "killed"
    assert sorted(os.listdir(tmp_path / "t")) == ["meta.json", "requests.journal", "telemetry.journal"]


def test_an_explanation_cannot_be_saved_over_a_folder(tmp_path: Path) -> None:
    """An atomic write that fails leaves no part file behind."""
    (tmp_path / "out.json").mkdir()
    with pytest.raises(StoreError, match="cannot write"):
        save_json(DONE, tmp_path / "out.json")
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_the_second_format_is_the_one_that_plans_still_have() -> None:
    """A trace that was written before programs could be a subject: a plan's, with all that it had."""
    trace = load_trace(FIXTURES / "trace-2")
    assert trace.meta.is_plan
    assert trace.meta.names == ("a", "b")
    assert trace.meta.plan.target.fps == 30.0
    assert (trace.meta.stopped, trace.meta.whole) == ("source ended", True)
    assert trace.meta.notes == ("a note",)
    assert trace.requests["frame"].tolist() == [0, 0, 1, 1, 2, 2]
    assert len(trace.telemetry["time"]) == 2


def test_a_trace_written_now_has_the_json_of_the_second_format(tmp_path: Path) -> None:
    """Loaded and written again, the meta of the old file has all its fields and their values."""
    old = json.loads((FIXTURES / "trace-2" / "meta.json").read_text())
    save_json(load_trace(FIXTURES / "trace-2").meta, tmp_path / "meta.json")
    new = json.loads((tmp_path / "meta.json").read_text())
    assert holds(new, old)


def holds(new: Any, old: Any) -> bool:
    """Whether everything in `old` is in `new` too."""
    if isinstance(old, dict):
        return all(key in new and holds(new[key], value) for key, value in old.items())
    if isinstance(old, list):
        return len(new) == len(old) and all(map(holds, new, old))
    return bool(new == old)
