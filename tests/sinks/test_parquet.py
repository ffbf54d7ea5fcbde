"""Results in Parquet files."""

from __future__ import annotations

import errno
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset
import pyarrow.parquet
import pytest

from framepace.errors import SinkError, SinkUnavailable
from framepace.facts.answers import Detections, Tensors, Text
from framepace.sinks.parquet import ParquetFolder
from framepace.sinks.sinktext import parse
from tests.doubles.sinks import crops, result

ONE = Detections(np.array([[1, 2, 3, 4]]), np.array([0.5]), np.array([0]), ("cat",), np.array([[[1, 2, 0.5]]]))


def folder_sink(folder: Path) -> ParquetFolder:
    """An open sink."""
    sink = ParquetFolder(parse(f"parquet:{folder}", {}))
    sink.open()
    return sink


def test_all_files_are_one_table_of_results_and_models(tmp_path: Path) -> None:
    """A row per model of a result, one without a model where there is no answer, and times in UTC."""
    sink = folder_sink(tmp_path / "new" / "folder")
    answers = {"detector": ONE, "reader": crops(Text("A7", 0.75), Text("B", 0.5)), "other": Tensors({"y": np.zeros(3)})}
    sink.write([result(0, answers=answers, time=1_795_939_200.25), result(1, error="device lost")])
    sink.write([result(2, answers={"detector": ONE})])
    sink.close()
    rows = pyarrow.dataset.dataset(tmp_path / "new" / "folder").to_table().sort_by("number").to_pylist()
    assert [(row["number"], row["model"], len(row["objects"])) for row in rows] == [
        (0, "detector", 1),
        (0, "reader", 2),
        (0, "other", 0),
        (1, None, 0),
        (2, "detector", 1),
    ]
    assert rows[0]["time"] == datetime(2026, 11, 29, 8, 0, 0, 250_000, tzinfo=timezone.utc)
    one = rows[0]["objects"][0]
    assert [one[side] for side in ("left", "top", "right", "bottom")] == [1, 2, 3, 4]
    assert (one["name"], one["score"], one["keypoints"], one["text"]) == ("cat", 0.5, [[1, 2, 0.5]], None)
    assert [(text["text"], text["crop"]) for text in rows[1]["objects"]] == [("A7", 0), ("B", 1)]
    assert rows[3]["error"] == "device lost"


def test_a_full_disk_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was begun is removed, and the results are offered again."""

    def full(table: Any, path: Path, **_: Any) -> None:
        path.write_bytes(b"PAR1")
        raise OSError(errno.ENOSPC, "No space left on device")

    sink = folder_sink(tmp_path)
    monkeypatch.setattr(pyarrow.parquet, "write_table", full)
    with pytest.raises(SinkUnavailable, match="No space left"):
        sink.write([result(0)])
    assert list(tmp_path.iterdir()) == []


def test_its_library_is_loaded_when_it_is_opened(tmp_path: Path) -> None:
    """What first loads it at the end of a run, beside others that are busy, loses all that waited."""
    program = f"""
import sys
from framepace.sinks.parquet import ParquetFolder
from framepace.sinks.sinktext import parse
sink = ParquetFolder(parse("parquet:{tmp_path}", {{}}))
before = "pyarrow.parquet" in sys.modules
sink.open()
print(before, "pyarrow.parquet" in sys.modules)
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False", "True"]


@pytest.mark.parametrize("place", ["file", "/proc/results"])
def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path, place: str) -> None:
    """A file is no folder, and /proc takes none."""
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match="cannot be"):
        folder_sink(tmp_path / place)
