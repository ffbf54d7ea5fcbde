"""Traces: folders of meta.json, requests.parquet and telemetry.parquet.

While a trace is measured, its rows are appended to *.journal files (little-endian int64, in column order). A killed
run leaves them behind and `load_trace` recovers their rows; a run that ends turns them into Parquet.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.errors import StoreError
from framepace.facts.trace import REQUEST_COLUMNS, TELEMETRY_COLUMNS, TRACE_FORMAT, Column, Trace, TraceMeta
from framepace.store.files import cannot_write, check_format, decode, read, save_json
from framepace.store.migrations import trace_1_to_2

COLUMNS: Mapping[str, Mapping[str, str]] = {"requests": REQUEST_COLUMNS, "telemetry": TELEMETRY_COLUMNS}
# Older format -> function from its decoded meta.json to the next one's. A column that a format lacks reads as -1.
MIGRATIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {"framepace.trace/1": trace_1_to_2}
BLOCK_ROWS = 1 << 16  # held at once while a journal is turned into Parquet: 14 MB
# Stamps grow steadily: deltas are a third of the size of zstd alone and read ten times as fast.
_PARQUET_OPTIONS = {"compression": "snappy", "use_dictionary": False, "column_encoding": "DELTA_BINARY_PACKED"}
_NOT_CLOSED = "the run was killed, or had no room to close its trace: at most its last second is missing"
_JOURNALS_KEPT = "there was no room for the Parquet files: the rows are in the journals"
ROWS_LOST = "writing failed during the run: later rows are missing"


def trace_id() -> str:
    """A name that sorts by time (UTC) and does not repeat."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"


class TraceWriter:
    """Writes a trace while it is measured; its files are open before the first row.

    Raises StoreError when the folder cannot be written, or holds another trace and `overwrite` is false.
    """

    def __init__(self, folder: Path, meta: TraceMeta, overwrite: bool = False) -> None:
        if is_trace(folder) and not overwrite:
            raise StoreError("there is a trace already", got=folder, fix="name another folder with --out")
        self.folder = folder
        self._lock = threading.Lock()
        self._error: StoreError | None = None
        _remove(folder, "parquet", "journal")
        save_json(meta, folder / "meta.json")
        try:
            self._files: dict[str, BinaryIO] = {name: _file(folder, name, "journal").open("wb", 0) for name in COLUMNS}
        except OSError as error:
            raise cannot_write(folder, error) from error

    def append(self, name: str, rows: bytes | memoryview) -> None:
        """Append packed rows to 'requests' or 'telemetry', from any thread.

        Raises StoreError when they cannot be written, and from then on: a row may be torn, so nothing can follow it.
        """
        with self._lock:
            if self._error is not None:
                raise self._error
            try:
                view = memoryview(rows)
                while view:
                    view = view[self._files[name].write(view) :]
            except OSError as error:
                self._error = cannot_write(self.folder, error)
                raise self._error from error

    def close(self, meta: TraceMeta) -> Trace:
        """Turn the journals into Parquet files and return the trace, described by `meta` and by notes of the writer.

        Where there is no room for the Parquet files the journals stay; `load_trace` reads either.
        """
        meta = self.finish(meta)
        return Trace(meta, *_load_tables(self.folder))

    def finish(self, meta: TraceMeta) -> TraceMeta:
        """`close` without loading the trace again; returns its meta."""
        self.abort()
        if self._error is not None:
            meta = replace(meta, notes=(*meta.notes, ROWS_LOST))
        try:
            for name in COLUMNS:
                _write_parquet(self.folder, name)
        except OSError:
            _remove(self.folder, "parquet")
            meta = replace(meta, notes=(*meta.notes, _JOURNALS_KEPT))
        with suppress(StoreError):  # no room even for that: it stays 'running', and is recovered as 'killed'
            save_json(meta, self.folder / "meta.json")
        if _JOURNALS_KEPT not in meta.notes:
            _remove(self.folder, "journal")
        return meta

    def abort(self) -> None:
        """Stop writing and leave the files as a killed run would."""
        for file in self._files.values():
            file.close()


class MemoryWriter:
    """Keeps a trace in memory; the same protocol as TraceWriter."""

    def __init__(self, meta: TraceMeta) -> None:
        self._parts: dict[str, list[bytes]] = {name: [] for name in COLUMNS}

    def append(self, name: str, rows: bytes) -> None:
        """Append packed rows to 'requests' or 'telemetry', from any thread."""
        self._parts[name].append(rows)

    def close(self, meta: TraceMeta) -> Trace:
        """The trace."""
        return Trace(meta, *(rows_to_columns(name, b"".join(parts)) for name, parts in self._parts.items()))

    def abort(self) -> None:
        """Forget the rows."""
        for parts in self._parts.values():
            parts.clear()


def row_bytes(name: str) -> int:
    """The size of a packed row of 'requests' or 'telemetry'."""
    return 8 * len(COLUMNS[name])


def rows_to_columns(name: str, packed: bytes) -> dict[str, Column]:
    """Packed rows of 'requests' or 'telemetry' as contiguous columns; an incomplete last row is cut off."""
    width = len(COLUMNS[name])
    values = np.frombuffer(packed, "<i8", len(packed) // row_bytes(name) * width).reshape(-1, width)
    return _gather(name, len(values), (values[i : i + BLOCK_ROWS] for i in range(0, len(values), BLOCK_ROWS)))


def is_trace(path: Path) -> bool:
    """Whether `path` is the folder of a trace."""
    return (path / "meta.json").is_file()


def load_trace(path: Path | str) -> Trace:
    """Read a trace, recovering the rows of a run that was killed (`meta.stopped` is then 'killed').

    Raises StoreError: no trace there, damaged, or of a newer format.
    """
    folder = Path(path)
    if not is_trace(folder):
        fix = "name the folder that `framepace bench --out` wrote, or one of its segments"
        raise StoreError("there is no trace", got=folder, expected="a folder with meta.json", fix=fix)
    meta = _load_meta(folder / "meta.json")
    if meta.stopped == "running":
        meta = replace(meta, stopped="killed", notes=(*meta.notes, _NOT_CLOSED))
    return Trace(meta, *_load_tables(folder))


def _load_meta(path: Path) -> TraceMeta:
    raw = decode(read(path), dict[str, Any], path)
    while raw.get("format") in MIGRATIONS:
        raw = MIGRATIONS[raw["format"]](raw)
    check_format(str(raw.get("format")), TRACE_FORMAT, path)
    try:
        return msgspec.convert(raw, TraceMeta)
    except msgspec.ValidationError as error:
        fix = f"read it with the framepace that wrote it: {raw.get('framepace') or 'unknown version'}"
        raise StoreError("the trace's meta.json cannot be understood", got=f"{path}: {error}", fix=fix) from error


def _load_tables(folder: Path) -> Iterator[dict[str, Column]]:
    for name in COLUMNS:
        # Journals go only after both Parquet files are whole, so where there is one it has every row.
        journal = _file(folder, name, "journal")
        if journal.exists():
            yield _read_journal(journal, name)
        else:
            yield _read_parquet(_file(folder, name, "parquet"), name)


def _read_journal(path: Path, name: str) -> dict[str, Column]:
    try:
        return _gather(name, _row_count(path, name), _blocks(path, name))
    except OSError as error:
        raise _damaged(path, error) from error


def _read_parquet(path: Path, name: str) -> dict[str, Column]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            return _columns(file, name)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


def _columns(file: Any, name: str) -> dict[str, Column]:
    """The columns of a table in an open Parquet file, read a block at a time."""
    import pyarrow as pa

    # A column that an older writer did not have was not measured.
    columns = {column: np.full(file.metadata.num_rows, -1, np.int64) for column in COLUMNS[name]}
    stored = [column for column in columns if column in file.schema_arrow.names]
    start = 0
    for group in file.iter_batches(BLOCK_ROWS, columns=stored):
        for column in stored:
            values = group[column].cast(pa.int64())
            columns[column][start : start + len(group)] = values.to_numpy(zero_copy_only=True)
        start += len(group)
    return columns


def _write_parquet(folder: Path, name: str) -> None:
    """Write the journal as Parquet, a block of rows at a time. Raises OSError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    part = _file(folder, name, "part")
    try:
        with pq.ParquetWriter(part, _schema(name), **_PARQUET_OPTIONS) as writer:
            for rows in _blocks(_file(folder, name, "journal"), name):
                columns = [pa.array(column) for column in np.ascontiguousarray(rows.T)]
                writer.write_table(pa.Table.from_arrays(columns, schema=writer.schema))
        part.replace(_file(folder, name, "parquet"))
    finally:
        with suppress(OSError):
            part.unlink()


def _schema(name: str) -> Any:
    import pyarrow as pa

    return pa.schema([pa.field(c, pa.int64(), False, {"description": text}) for c, text in COLUMNS[name].items()])


def _blocks(journal: Path, name: str) -> Iterator[NDArray[np.int64]]:
    """The whole rows of a journal, up to BLOCK_ROWS at a time, shape (rows, columns)."""
    width = len(COLUMNS[name])
    remaining = _row_count(journal, name)
    with journal.open("rb") as file:
        while remaining > 0:
            rows = np.fromfile(file, "<i8", min(remaining, BLOCK_ROWS) * width).reshape(-1, width)
            remaining -= len(rows)
            yield rows.astype(np.int64, copy=False)


def _gather(name: str, count: int, blocks: Iterator[NDArray[np.int64]]) -> dict[str, Column]:
    """`count` rows that come in blocks as contiguous columns by name."""
    columns = np.empty((len(COLUMNS[name]), count), np.int64)
    start = 0
    for block in blocks:
        columns[:, start : start + len(block)] = block.T
        start += len(block)
    return dict(zip(COLUMNS[name], columns, strict=True))


def _row_count(journal: Path, name: str) -> int:
    return journal.stat().st_size // row_bytes(name)


def _file(folder: Path, name: str, kind: str) -> Path:
    return folder / f"{name}.{kind}"


def _remove(folder: Path, *kinds: str) -> None:
    try:
        for kind in kinds:
            for name in COLUMNS:
                _file(folder, name, kind).unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error


def _damaged(path: Path, error: Exception) -> StoreError:
    return StoreError("the trace is damaged", got=f"{path}: {error}", fix="measure again")
