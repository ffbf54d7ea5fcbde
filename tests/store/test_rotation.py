"""Rotation: segments are whole traces, none grows without bound, and nothing is lost between them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from framepace.errors import StoreError, UsageError
from framepace.facts.program import Program
from framepace.facts.trace import REQUEST_COLUMNS, TELEMETRY_COLUMNS, TraceMeta
from framepace.store import RotatingWriter, Rotation, load_trace, segments
from framepace.testing import make_meta

WIDTHS = {"requests": len(REQUEST_COLUMNS), "telemetry": len(TELEMETRY_COLUMNS)}


def running() -> TraceMeta:
    """The meta of a run that goes on."""
    return make_meta(stopped="running")


def rows(*numbers: int, table: str = "requests") -> bytes:
    """Packed rows, each with its number in every column."""
    return np.repeat(np.array(numbers, "<i8"), WIDTHS[table]).tobytes()


def rotating(folder: Path, describe: Callable[[], TraceMeta] = running, **limits: Any) -> RotatingWriter:
    """A writer with the limits of a Rotation."""
    return RotatingWriter(folder, describe, Rotation(**limits))


def frames(folder: Path) -> list[list[int]]:
    """Numbers of the rows in each segment, oldest first."""
    return [load_trace(path).requests["frame"].tolist() for path in segments(folder)]


def test_a_full_segment_is_followed_by_the_next_one(tmp_path: Path) -> None:
    """Three rows per segment: appends of any size are cut where the segment is full."""
    writer = rotating(tmp_path, rows=3)
    writer.append("requests", rows(0, 1))
    writer.append("requests", rows(2, 3, 4, 5, 6, 7))
    last = writer.close(make_meta())
    assert frames(tmp_path) == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert last.requests["frame"].tolist() == [6, 7]


def test_each_segment_is_a_whole_trace_that_says_how_it_ended(tmp_path: Path) -> None:
    """Full segments were 'rotated', which is as planned; the last ends as the run did; ids tell them apart."""
    writer = rotating(tmp_path, rows=1)
    writer.append("requests", rows(0, 1))
    writer.close(make_meta(stopped="interrupted"))
    first, second = (load_trace(path).meta for path in segments(tmp_path))
    assert (first.stopped, second.stopped) == ("rotated", "interrupted")
    assert (first.whole, second.whole) == (True, False)
    assert (first.id, second.id) == ("made-up.1", "made-up.2")


def test_only_the_last_segments_are_kept(tmp_path: Path) -> None:
    """Two whole ones beside the one that is written; nothing else in the folder is touched."""
    (tmp_path / "segment-notes").mkdir(parents=True)
    (tmp_path / "segment-000000").mkdir()
    writer = rotating(tmp_path, rows=1, keep=2)
    for number in range(6):
        writer.append("requests", rows(number))
    assert [path.name for path in segments(tmp_path)] == ["segment-000004", "segment-000005", "segment-000006"]
    writer.close(make_meta())
    assert frames(tmp_path) == [[3], [4], [5]]
    assert (tmp_path / "segment-notes").is_dir()
    assert (tmp_path / "segment-000000").is_dir()


def test_a_segment_also_ends_by_time(tmp_path: Path) -> None:
    """After ten seconds the next row begins a new segment; one with nothing in it goes on."""
    time = [0.0]
    writer = RotatingWriter(tmp_path, running, Rotation(rows=None, seconds=10), now=lambda: time[0])
    time[0] = 15.0
    writer.append("requests", rows(0))
    time[0] = 26.0
    writer.append("requests", rows(1))
    writer.append("telemetry", rows(2, table="telemetry"))
    writer.close(make_meta())
    assert frames(tmp_path) == [[0], [1]]


def test_telemetry_without_requests_does_not_grow_without_bound(tmp_path: Path) -> None:
    """A table of either kind fills a segment."""
    writer = rotating(tmp_path, rows=2)
    writer.append("telemetry", rows(0, 1, 2, table="telemetry"))
    writer.close(make_meta())
    assert [len(load_trace(path).telemetry["time"]) for path in segments(tmp_path)] == [2, 1]


def test_a_later_run_goes_on_with_the_numbers(tmp_path: Path) -> None:
    """Segments of an earlier run in the folder are kept, counted and removed as older ones."""
    for run in range(3):
        writer = rotating(tmp_path, rows=10, keep=2)
        writer.append("requests", rows(run))
        writer.close(make_meta())
    assert frames(tmp_path) == [[0], [1], [2]]
    writer = rotating(tmp_path, rows=1, keep=2)
    assert frames(tmp_path) == [[1], [2], []]
    writer.append("requests", rows(3, 4))
    writer.close(make_meta())
    assert frames(tmp_path) == [[2], [3], [4]]


def test_of_two_runs_with_one_folder_the_second_is_refused(tmp_path: Path) -> None:
    """Its segments would be counted, and removed, as those of the first."""
    first = rotating(tmp_path, rows=3)
    first.append("requests", rows(0))
    with pytest.raises(StoreError, match="another run is writing"):
        rotating(tmp_path, rows=3)
    first.append("requests", rows(1))
    first.close(make_meta())
    assert frames(tmp_path) == [[0, 1]]
    rotating(tmp_path, rows=3).abort()


def test_a_killed_run_keeps_the_rows_of_its_last_segment(tmp_path: Path) -> None:
    """The segment that was being written is recovered as any killed run."""
    writer = rotating(tmp_path, rows=2)
    writer.append("requests", rows(0, 1, 2))
    writer.abort()
    assert frames(tmp_path) == [[0, 1], [2]]
    assert load_trace(segments(tmp_path)[-1]).meta.stopped == "killed"


def test_names_that_a_program_shows_late_are_in_the_segments_from_then_on(tmp_path: Path) -> None:
    """The meta is asked for at the end of each segment: it has what was discovered by then."""
    names: list[str] = []
    writer = rotating(
        tmp_path,
        lambda: make_meta(stopped="running", program=Program(command=("app",), names=tuple(names))),
        rows=1,
    )
    writer.append("requests", rows(0))
    names.append("detect")
    writer.append("requests", rows(1))
    assert load_trace(segments(tmp_path)[0]).meta.names == ("detect",)
    writer.abort()


def test_without_a_next_segment_the_full_one_is_closed_with_a_note(tmp_path: Path) -> None:
    """A folder that cannot be written to any more: StoreError from then on, and a note on missing rows."""
    writer = rotating(tmp_path / "run", rows=1)
    writer.append("requests", rows(0))
    (tmp_path / "run" / "segment-000002").write_text("a file where a folder is wanted")
    for _ in range(2):
        with pytest.raises(StoreError):
            writer.append("requests", rows(1))
    trace = writer.close(make_meta(stopped="disk full"))
    assert trace.requests["frame"].tolist() == [0]
    assert any("rows are missing" in note for note in trace.meta.notes)


@pytest.mark.parametrize("limits", [{"rows": None}, {"rows": 0}, {"seconds": -1.0}, {"keep": 0}])
def test_a_rotation_without_sense_is_refused(limits: dict[str, Any]) -> None:
    """No limit at all, or one that nothing fits in."""
    with pytest.raises(UsageError, match="rotation"):
        Rotation(**limits)


def test_a_folder_of_segments_is_no_trace_and_the_error_says_what_to_name(tmp_path: Path) -> None:
    """`load_trace` of the folder itself."""
    rotating(tmp_path / "run").close(make_meta())
    with pytest.raises(StoreError, match="segments"):
        load_trace(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    assert segments(tmp_path / "run") == []
