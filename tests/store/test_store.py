"""Traces and plans on disk."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framepace import store
from framepace.errors import PlanError, StoreError
from framepace.facts.plan import Batching, EnginePlan, ModelPlan, Plan, Target
from framepace.facts.program import Program
from framepace.facts.trace import REQUEST_COLUMNS, TELEMETRY_COLUMNS, Stopped, TraceMeta
from framepace.facts.workload import Paced, Workload
from framepace.recording.machine import probe
from framepace.store import MemoryWriter, TraceWriter, load_plan, load_trace, save_plan
from framepace.testing import make_meta
from tests.store.limits import largest_file, no_room_for_parquet

WIDTH = len(REQUEST_COLUMNS)


def meta(stopped: Stopped = "running") -> TraceMeta:
    """The meta of a small run."""
    plan = Plan(models=(ModelPlan(name="m", model="null", backend="null"),))
    return TraceMeta(
        id="t",
        created="",
        machine=probe(),
        models=(),
        subject_plan=plan,
        workload=Workload(load=Paced(fps=30)),
        stopped=stopped,
    )


def rows(count: int, width: int = WIDTH) -> bytes:
    """Packed rows with distinct values."""
    return np.arange(count * width, dtype="<i8").tobytes()


def written(folder: Path, count: int = 10) -> TraceWriter:
    """A writer with `count` rows appended."""
    writer = TraceWriter(folder, meta())
    writer.append("requests", rows(count))
    writer.append("telemetry", rows(3, len(TELEMETRY_COLUMNS)))
    return writer


def test_a_relative_folder_with_a_colon_is_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pyarrow would take 'file:x' for one: the Parquet files are written and read, and count as rows."""
    monkeypatch.chdir(tmp_path)
    assert not written(Path("file:x")).close(meta("finished")).meta.notes
    assert (tmp_path / "file:x" / "requests.parquet").is_file()
    assert len(load_trace("file:x")) == 10
    with pytest.raises(StoreError, match="already holds a trace"):
        TraceWriter(Path("file:x"), meta())


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """A closed trace has the rows, in order, under their columns, and its journals are gone."""
    trace = written(tmp_path / "t").close(meta("finished"))
    again = load_trace(tmp_path / "t")
    assert again.meta.stopped == "finished"
    expected = np.arange(10 * WIDTH).reshape(-1, WIDTH)
    for at, name in enumerate(REQUEST_COLUMNS):
        assert np.array_equal(again.requests[name], expected[:, at])
        assert np.array_equal(trace.requests[name], again.requests[name])
    assert sorted(p.name for p in (tmp_path / "t").iterdir()) == ["meta.json", "requests.parquet", "telemetry.parquet"]


def test_memory_and_disk_give_the_same_trace(tmp_path: Path) -> None:
    """The two writers are one protocol."""
    memory = MemoryWriter(meta())
    memory.append("requests", rows(10))
    kept = memory.close(meta("finished"))
    saved = written(tmp_path / "t").close(meta("finished"))
    assert all(np.array_equal(kept.requests[name], saved.requests[name]) for name in REQUEST_COLUMNS)


@given(st.integers(0, 8 * WIDTH - 1))
@settings(max_examples=20)
def test_a_torn_row_is_cut_off(cut: int) -> None:
    """However much of the last row was written, the rows before it are read."""
    found = store.rows_to_columns("requests", rows(4) + rows(1)[:cut])
    assert len(found["due"]) == 4


def test_a_killed_run_is_recovered_from_its_journals(tmp_path: Path) -> None:
    """Journals without Parquet are read; the trace says that it was killed."""
    written(tmp_path / "t", 7)
    with (tmp_path / "t" / "requests.journal").open("ab") as journal:
        journal.write(b"torn")
    trace = load_trace(tmp_path / "t")
    assert len(trace) == 7
    assert trace.meta.stopped == "killed"
    assert any("killed" in note for note in trace.meta.notes)


def test_a_full_disk_is_an_error_that_keeps_the_rows(tmp_path: Path) -> None:
    """Appending to a full disk raises StoreError, and what was written before is read back."""
    writer = written(tmp_path / "t", 5)
    with largest_file(5 * WIDTH * 8), pytest.raises(StoreError, match="disk is full"):
        writer.append("requests", rows(1))
    writer.abort()
    assert len(load_trace(tmp_path / "t")) == 5


def test_no_room_for_parquet_leaves_the_journals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When closing cannot write, nothing is lost: the journals are what is loaded."""
    writer = written(tmp_path / "t", 5)

    no_room_for_parquet(monkeypatch)
    assert len(writer.close(meta("finished"))) == 5
    assert len(load_trace(tmp_path / "t")) == 5


def test_pandas_reads_a_trace_without_framepace(tmp_path: Path) -> None:
    """requests.parquet is a plain table of integers."""
    import pandas as pd

    written(tmp_path / "t").close(meta("finished"))
    frame = pd.read_parquet(tmp_path / "t" / "requests.parquet")
    assert list(frame.columns) == list(REQUEST_COLUMNS)
    assert len(frame) == 10


def test_a_newer_format_names_both_versions(tmp_path: Path) -> None:
    """A trace of format 3 read by a framepace of format 2 asks for a newer framepace."""
    written(tmp_path / "t").close(meta("finished"))
    path = tmp_path / "t" / "meta.json"
    path.write_text(path.read_text().replace("framepace.trace/2", "framepace.trace/3"))
    with pytest.raises(StoreError, match="newer framepace") as error:
        load_trace(tmp_path / "t")
    assert "framepace.trace/3" in str(error.value)
    assert "framepace.trace/2" in str(error.value)


def test_an_older_format_is_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registered migration is applied to meta.json before it is decoded."""
    written(tmp_path / "t").close(meta("finished"))
    path = tmp_path / "t" / "meta.json"
    path.write_text(path.read_text().replace("framepace.trace/2", "framepace.trace/0").replace('"stopped"', '"ended"'))

    def migrate(raw: dict[str, object]) -> dict[str, object]:
        raw["stopped"] = raw.pop("ended")
        return {**raw, "format": "framepace.trace/2"}

    monkeypatch.setitem(store.MIGRATIONS, "framepace.trace/0", migrate)
    assert load_trace(tmp_path / "t").meta.stopped == "finished"


@pytest.mark.parametrize("damage", ["missing", "meta", "parquet"])
def test_a_damaged_trace_is_a_sentence(tmp_path: Path, damage: str) -> None:
    """No folder, broken JSON and broken Parquet each raise StoreError."""
    written(tmp_path / "t").close(meta("finished"))
    target = {"missing": "meta.json", "meta": "meta.json", "parquet": "requests.parquet"}[damage]
    if damage == "missing":
        (tmp_path / "t" / target).unlink()
    else:
        (tmp_path / "t" / target).write_bytes(b"{broken")
    with pytest.raises(StoreError):
        load_trace(tmp_path / "t")


def test_a_trace_is_not_overwritten_unasked(tmp_path: Path) -> None:
    """A second run into the same folder is refused unless told otherwise."""
    written(tmp_path / "t").close(meta("finished"))
    with pytest.raises(StoreError, match="already"):
        TraceWriter(tmp_path / "t", meta())
    TraceWriter(tmp_path / "t", meta(), overwrite=True)
    assert len(load_trace(tmp_path / "t")) == 0


PLAN = Plan(
    models=(ModelPlan(name="m", model="m.onnx", batch=Batching(max=4), spinning=False, size=(384, 640)),),
    engine=EnginePlan(workers=2, heartbeat_ms=5.0),
    target=Target(fps=30.0),
)


def test_a_plan_round_trips_and_leaves_defaults_out(tmp_path: Path) -> None:
    """YAML that people edit holds what differs from the defaults, and reads back equal."""
    save_plan(PLAN, tmp_path / "p.yaml")
    text = (tmp_path / "p.yaml").read_text()
    assert load_plan(tmp_path / "p.yaml") == PLAN
    assert "spinning: false" in text
    assert "keeper" not in text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("models: [{name: m, model: x, thread: 2}]", "threads"),
        ("models: [{name: m, model: x}]\nengine: {workerz: 2}", "workers"),
        ("models: [{name: m, model: x, threads: many}]", "threads"),
        ("models: [", "YAML"),
        ("- a", "mapping"),
        ("format: framepace.plan/9\nmodels: []", "newer"),
    ],
)
def test_a_wrong_plan_says_what_to_mend(tmp_path: Path, text: str, says: str) -> None:
    """Unknown keys name the nearest known one; wrong values and formats are named."""
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises((PlanError, StoreError)) as error:
        load_plan(path)
    assert says in str(error.value)


def test_the_trace_of_a_program_is_stored_and_read_back(tmp_path: Path) -> None:
    """Its subject, its names and its rows."""
    program = Program(command=("python", "app.py"), folder="shop", names=("detect",), libraries={"numpy": "2.0"})
    running = make_meta(program=program, stopped="running")
    writer = TraceWriter(tmp_path / "t", running)
    writer.append("requests", rows(2))
    writer.close(make_meta(program=program))
    again = load_trace(tmp_path / "t")
    assert again.meta.subject == program
    assert again.meta.whole
    assert len(again) == 2


def test_the_trace_of_a_plan_can_be_read_by_older_versions(tmp_path: Path) -> None:
    """Its meta.json has the format and all the fields that it had before programs could be a subject."""
    written(tmp_path / "t").close(meta("finished"))
    raw = msgspec.json.decode((tmp_path / "t" / "meta.json").read_bytes())
    assert raw["format"] == "framepace.trace/2"
    assert set(raw) >= {
        "id", "created", "machine", "models", "plan", "workload", "sources", "clock", "simulated", "stopped",
        "warmup_stable", "overhead", "startup", "notes", "layers", "placement", "batch_sizes", "format", "framepace",
    }  # fmt: skip
    assert "program" not in raw
