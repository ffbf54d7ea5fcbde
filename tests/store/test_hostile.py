"""Traces that are damaged or made up: a sentence each, nothing allocated that is not there, and no wait."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framepace.errors import FramepaceError, StoreError
from framepace.facts.trace import REQUEST_COLUMNS, TELEMETRY_COLUMNS
from framepace.store import TraceWriter, load_explanation, load_plan, load_trace
from framepace.testing import make_meta
from tests.store.killed import row

ROWS = 50


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished trace of 50 rows."""
    return written(tmp_path / "t")


def written(path: Path) -> Path:
    """A finished trace of 50 rows in `path`."""
    writer = TraceWriter(path, make_meta(stopped="running"))
    for number in range(ROWS):
        writer.append("requests", row(number))
    writer.append("telemetry", bytes(8 * len(TELEMETRY_COLUMNS)))
    writer.close(make_meta())
    return path


def change_meta(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Write the meta.json that `change` makes of the one that is there."""
    path = folder / "meta.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


# Journals beside Parquet


@pytest.mark.parametrize("size", [0, 1, 255, 256, 10_000, 1_000_000])
def test_whole_parquet_wins_over_any_journal(folder: Path, size: int) -> None:
    """Garbage in requests.journal, more or fewer bytes than the trace has, changes nothing."""
    (folder / "requests.journal").write_bytes(os.urandom(size))
    (folder / "telemetry.journal").write_bytes(os.urandom(size))
    trace = load_trace(folder)
    assert trace.requests["frame"].tolist() == list(range(ROWS))
    assert len(trace.telemetry["time"]) == 1


@pytest.mark.parametrize("percent", [0, 1, 20, 50, 99])
def test_a_torn_parquet_file_falls_back_to_its_journal(folder: Path, percent: int) -> None:
    """A power cut may leave a Parquet file short: the rows are read from the journal that is still there."""
    data = (folder / "requests.parquet").read_bytes()
    (folder / "requests.parquet").write_bytes(data[: len(data) * percent // 100])
    with pytest.raises(StoreError, match="damaged"):
        load_trace(folder)
    (folder / "requests.journal").write_bytes(b"".join(row(number) for number in range(7)) + b"torn")
    assert load_trace(folder).requests["frame"].tolist() == list(range(7))


# meta.json


@pytest.mark.parametrize("value", [None, True, 3, 1e300, "", "framepace.trace/", "framepace.trace/x", [], {}, ["a"]])
def test_a_format_that_is_none_is_a_sentence(folder: Path, value: Any) -> None:
    """A list, a number or an unfinished name where the format should be."""
    change_meta(folder, lambda meta: {**meta, "format": value})
    with pytest.raises(StoreError):
        load_trace(folder)


@pytest.mark.parametrize("value", [None, 3, "x", [], ["a"], {}, {"engine": 3}, {"engine": {"strategy": ["a"]}}])
def test_an_old_trace_with_a_plan_that_is_none_is_a_sentence(folder: Path, value: Any) -> None:
    """The migration of the first format meets whatever stands there."""
    change_meta(folder, lambda meta: {**meta, "format": "framepace.trace/1", "plan": value})
    with pytest.raises(StoreError):
        load_trace(folder)
    change_meta(folder, lambda meta: {name: part for name, part in meta.items() if name != "plan"})
    with pytest.raises(StoreError):
        load_trace(folder)


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"3", b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe{}"])
def test_a_meta_that_is_no_object_is_a_sentence(folder: Path, content: bytes) -> None:
    """Nothing, other JSON, JSON nested without end, other encodings."""
    (folder / "meta.json").write_bytes(content)
    with pytest.raises(StoreError):
        load_trace(folder)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_change_of_a_meta_is_a_trace_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    """One field of any place replaced by any JSON."""
    folder = _shared(tmp_path_factory)
    original = (folder / "meta.json").read_text()
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
        max_leaves=4,
    )
    meta = json.loads(original)
    target = meta
    while True:
        name = data.draw(st.sampled_from(sorted(target)))
        if not (isinstance(target[name], dict) and target[name]) or data.draw(st.booleans()):
            break
        target = target[name]
    target[name] = data.draw(values)
    try:
        (folder / "meta.json").write_text(json.dumps(meta))
        assert len(load_trace(folder)) == ROWS
    except StoreError:
        pass
    finally:
        (folder / "meta.json").write_text(original)


_folders: list[Path] = []


def _shared(factory: pytest.TempPathFactory) -> Path:
    """One trace for all examples."""
    if not _folders:
        _folders.append(written(factory.mktemp("hostile") / "t"))
    return _folders[0]


# Tables


@pytest.mark.parametrize("name", ["frame", "model", "due", "delivered", "outcome", "marks"])
def test_a_table_without_an_essential_column_is_a_sentence(folder: Path, name: str) -> None:
    """The column is named; reading it as 'not measured' would give numbers of nothing."""
    path = folder / "requests.parquet"
    pq.write_table(pq.read_table(path).drop_columns([name]), path)
    with pytest.raises(StoreError, match=f"no column {name}"):
        load_trace(folder)


def test_a_table_of_something_else_is_a_sentence(folder: Path) -> None:
    """A Parquet file that is no trace: the first missing columns are named."""
    pq.write_table(pa.table({"price": [1.0, 2.0]}), folder / "requests.parquet")
    with pytest.raises(StoreError, match="no column frame, source"):
        load_trace(folder)


@pytest.mark.parametrize(
    "values",
    [
        ["a"] * ROWS,
        [None] * ROWS,
        [0.5] * ROWS,
        [float("nan")] * ROWS,
        [[1]] * ROWS,
        [{"a": 1}] * ROWS,
        [2**63] * ROWS,
        [b"\0"] * ROWS,
        [True, None] * (ROWS // 2),
    ],
)
def test_columns_of_any_other_type_are_a_sentence(folder: Path, values: list[Any]) -> None:
    """Texts, lists, records, missing values, numbers that are no stamps."""
    path = folder / "requests.parquet"
    kind = pa.uint64() if values[0] == 2**63 else None
    table = pq.read_table(path).drop_columns(["due"]).append_column("due", pa.array(values, kind))
    pq.write_table(table, path)
    with pytest.raises(StoreError, match="damaged"):
        load_trace(folder)


def test_a_file_that_declares_more_rows_than_it_can_hold_is_a_sentence(folder: Path) -> None:
    """26 million rows declared in less than a megabyte: refused before anything is allocated."""
    path = folder / "requests.parquet"
    pq.write_table(pa.table(dict.fromkeys(REQUEST_COLUMNS, pa.array(np.zeros(100_000, np.int64)))), path)
    metadata = pq.read_metadata(path)
    for _ in range(8):
        metadata.append_row_groups(metadata)
    metadata.write_metadata_file(path)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(StoreError, match="declares 25,600,000 rows"):
        load_trace(folder)


def test_a_journal_larger_than_memory_is_a_sentence(folder: Path) -> None:
    """A sparse file of a petabyte takes no room on disk, and none in memory."""
    (folder / "requests.parquet").unlink()
    (folder / "requests.journal").touch()
    try:
        os.truncate(folder / "requests.journal", 1 << 43)
    except OSError:
        pytest.skip("this file system has no files of that size")
    with pytest.raises(StoreError, match="too large"):
        load_trace(folder)


@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=8))
@settings(max_examples=200, deadline=None)
def test_any_bytes_changed_are_a_trace_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, at: int, noise: bytes
) -> None:
    """Wherever a Parquet file is damaged: columns of one length, or StoreError."""
    folder = _shared(tmp_path_factory)
    path = folder / "requests.parquet"
    original = path.read_bytes()
    at %= len(original)
    path.write_bytes(original[:at] + noise + original[at + len(noise) :])
    try:
        trace = load_trace(folder)
        assert {len(column) for column in trace.requests.values()} == {len(trace)}
    except StoreError:
        pass
    finally:
        path.write_bytes(original)


# Files that are none


@pytest.mark.parametrize("name", ["meta.json", "requests.parquet", "telemetry.parquet"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "loop", "dangling"])
def test_what_is_no_regular_file_is_a_sentence(folder: Path, name: str, kind: str) -> None:
    """A pipe without a writer is not waited for."""
    path = folder / name
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    else:
        path.symlink_to(folder / "gone")
    with pytest.raises(StoreError):
        load_trace(folder)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/proc/self/mem", "a\0b", "x" * 5000, ""])
@pytest.mark.parametrize("load", [load_trace, load_plan, load_explanation])
def test_devices_and_names_that_cannot_be_are_a_sentence(load: Callable[[Path], Any], path: str) -> None:
    """Endless, empty and impossible ones."""
    with pytest.raises(FramepaceError):
        load(Path(path))


def test_a_pipe_is_no_plan(tmp_path: Path) -> None:
    """Nobody writes to it, and nobody waits."""
    os.mkfifo(tmp_path / "plan.yaml")
    with pytest.raises(StoreError, match="not a regular file"):
        load_plan(tmp_path / "plan.yaml")


def test_a_file_too_large_for_a_fact_is_not_read(tmp_path: Path) -> None:
    """A sparse gigabyte of nothing where an explanation should be."""
    (tmp_path / "e.json").touch()
    os.truncate(tmp_path / "e.json", 1 << 30)
    with pytest.raises(StoreError, match="too large"):
        load_explanation(tmp_path / "e.json")


@pytest.mark.parametrize("findings", [5, [5], [{"intervention": 5}], [{"intervention": {"metric": 5}}], {"a": 1}])
def test_findings_of_any_other_type_are_a_sentence(tmp_path: Path, findings: Any) -> None:
    """An older explanation is brought up to date before its types are checked."""
    path = tmp_path / "explanation.json"
    path.write_text(json.dumps({"findings": findings}))
    with pytest.raises(StoreError):
        load_explanation(path)
