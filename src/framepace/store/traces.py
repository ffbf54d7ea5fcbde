"""Traces: folders of meta.json, requests.parquet and telemetry.parquet.

While a trace is measured, its rows are appended to *.journal files (little-endian int64, in column order). A killed
run leaves them behind and `load_trace` recovers their rows; a run that ends turns them into Parquet.
"""

from __future__ import annotations

import os
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
from framepace.facts.address import without_secrets
from framepace.facts.trace import REQUEST_COLUMNS, TELEMETRY_COLUMNS, TRACE_FORMAT, Column, Trace, TraceMeta
from framepace.store.files import cannot_write, check_format, decode, local, named, read, save_json
from framepace.store.folder import OutputFolder
from framepace.store.migrations import trace_1_to_2
from framepace.units import format_bytes

COLUMNS: Mapping[str, Mapping[str, str]] = {"requests": REQUEST_COLUMNS, "telemetry": TELEMETRY_COLUMNS}
# Older format -> function from its decoded meta.json to the next one's. A column that a format lacks reads as -1.
MIGRATIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {"framepace.trace/1": trace_1_to_2}
BLOCK_ROWS = 1 << 16  # held at once while a journal is turned into Parquet: 14 MB
# Stamps grow steadily: deltas are a third of the size of zstd alone and read ten times as fast.
_PARQUET_OPTIONS = {"compression": "snappy", "use_dictionary": False, "column_encoding": "DELTA_BINARY_PACKED"}
# Without these a row says nothing; what else a table lacks was not measured.
_ESSENTIAL: Mapping[str, tuple[str, ...]] = {
    "requests": (
        "frame", "source", "model", "worker", "batch_id", "batch_size", "due", "available", "captured", "decoded",
        "queued", "batched", "started", "enqueued", "finished", "delivered", "outcome", "cause", "marks",
    ),
    "telemetry": ("time", "device"),
}  # fmt: skip
# A file that declares more rows is no trace: a row takes 35 bytes, and 0.23 where every stamp is as far from the next.
_ROWS_PER_BYTE = 6
_ROWS_OF_ANY_FILE = 1 << 22
_MEMORY_SHARE = 0.5  # of the machine's, that one table may take
_NOT_CLOSED = "the run was killed, or had no room to close its trace: at most its last second is missing"
_JOURNALS_KEPT = "there was no room for the Parquet files: the rows are in the journals"
NOT_STORED = "the trace could not be written: it is in memory only"
REMOVED = "the folder was removed during the run, and written again where that was possible"
ROWS_LOST = "writing failed during the run: later rows are missing"


def trace_id() -> str:
    """A name that sorts by time (UTC) and does not repeat."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"


class TraceWriter:
    """Writes a trace while it is measured; its files are open before the first row, its folder is locked.

    Args:
        folder: where the trace goes.
        meta: of the run that begins.
        overwrite: replace a trace that is in the folder, and files of the same names.
        claimed: the folder, when it was entered before.

    Raises StoreError when the folder cannot be written, is another run's, or holds what must not be replaced.
    """

    def __init__(
        self, folder: Path, meta: TraceMeta, overwrite: bool = False, *, claimed: OutputFolder | None = None
    ) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._errors: dict[str, StoreError] = {}
        self._unwritten: dict[str, bytes] = {}
        self._output = claimed or OutputFolder(folder, "trace", overwrite)
        self._output.claim()
        try:
            self._files = self._opened(meta)
        except BaseException:
            self._output.release()
            raise

    def append(self, name: str, rows: bytes | memoryview) -> None:
        """Append packed whole rows to 'requests' or 'telemetry', from any thread.

        Raises StoreError when they cannot be written, and for rows of that table from then on: a row may be torn, so
        nothing can follow it. What was not written of the rows that failed is kept in memory, for `close`.
        """
        with self._lock:
            if name in self._errors:
                raise self._errors[name]
            view = memoryview(rows)
            written = 0
            try:
                while written < len(view):
                    written += self._files[name].write(view[written:])
            except OSError as error:
                self._unwritten[name] = bytes(view[written - written % row_bytes(name) :])
                self._errors[name] = cannot_write(self.folder, error)
                raise self._errors[name] from error

    def close(self, meta: TraceMeta) -> Trace:
        """Turn the journals into Parquet files and return the trace, described by `meta` and by notes of the writer.

        Where there is no room for the Parquet files the journals stay; `load_trace` reads either. A folder that was
        removed meanwhile is written again. The trace that is returned has every row that was appended, also those that
        found no room on disk.
        """
        meta = self._store(meta)
        try:
            return Trace(meta, *(self._columns(name) for name in COLUMNS))
        finally:
            self.abort()

    def finish(self, meta: TraceMeta) -> TraceMeta:
        """`close` without the rows; returns the trace's meta."""
        meta = self._store(meta)
        self.abort()
        return meta

    def abort(self) -> None:
        """Stop writing and leave the files as a killed run would. Idempotent."""
        for file in self._files.values():
            file.close()
        self._output.release()

    def _opened(self, meta: TraceMeta) -> dict[str, BinaryIO]:
        """The journals, empty, beside the meta; what an older trace left is removed first."""
        _remove(self.folder, "parquet", "journal", "part")
        save_json(meta, self.folder / "meta.json")
        files: dict[str, BinaryIO] = {}
        try:
            for name in COLUMNS:
                files[name] = _file(self.folder, name, "journal").open("w+b", 0)
        except OSError as error:
            for file in files.values():
                file.close()
            raise cannot_write(self.folder, error) from error
        return files

    def _store(self, meta: TraceMeta) -> TraceMeta:
        """Write Parquet files and `meta`; returns `meta` with notes about the writing."""
        if self._errors:
            meta = replace(meta, notes=(*meta.notes, ROWS_LOST))
        if not self._has_journals():
            meta = replace(meta, notes=(*meta.notes, REMOVED))
        whole = self._write_tables()
        if not whole:
            meta = replace(meta, notes=(*meta.notes, _JOURNALS_KEPT if self._has_journals() else NOT_STORED))
        if whole or self._has_journals():
            with suppress(StoreError):  # no room even for that: it stays 'running', and is recovered as 'killed'
                save_json(meta, self.folder / "meta.json")
        if whole:
            with suppress(StoreError):  # Parquet files count before journals
                _remove(self.folder, "journal")
        return meta

    def _write_tables(self) -> bool:
        """Write the Parquet files; False, and none, where there is no room or no way."""
        import pyarrow as pa

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name, journal in self._files.items():
                _write_parquet(self.folder, name, journal)
        except (OSError, MemoryError, pa.ArrowException):
            with suppress(StoreError):
                _remove(self.folder, "parquet")
            return False
        return True

    def _has_journals(self) -> bool:
        """Whether the journals are still in the folder."""
        return all(_file(self.folder, name, "journal").is_file() for name in COLUMNS)

    def _columns(self, name: str) -> dict[str, Column]:
        """All rows of a table; the journals are still open, so they are there even if the folder is not."""
        columns = _gather(name, _row_count(self._files[name], name), _blocks(self._files[name], name))
        if name not in self._unwritten:
            return columns
        unwritten = rows_to_columns(name, self._unwritten[name])
        return {column: np.concatenate((values, unwritten[column])) for column, values in columns.items()}


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
    return os.path.isfile(path / "meta.json")  # unlike Path.is_file, false for a path that cannot be


def load_trace(path: Path | str) -> Trace:
    """Read a trace, recovering the rows of a run that was killed (`meta.stopped` is then 'killed').

    Raises StoreError: no trace there, damaged, or of a newer format.
    """
    folder = named(path, "trace")
    if not is_trace(folder):
        inside = sorted(path.parent for path in folder.glob("*/meta.json")) if os.path.isdir(folder) else []
        fix = f"name {inside[-1]}" if inside else "name the folder that --out wrote, or one of its segments"
        raise StoreError("there is no trace", got=folder, expected="a folder with meta.json", fix=fix)
    meta = _load_meta(folder / "meta.json")
    killed = meta.stopped == "running"
    if killed:
        meta = replace(meta, stopped="killed", notes=(*meta.notes, _NOT_CLOSED))
    return Trace(meta, *(_load_table(folder, name, killed) for name in COLUMNS))


def _load_meta(path: Path) -> TraceMeta:
    raw = decode(read(path), dict[str, Any], path)
    try:
        while str(raw.get("format")) in MIGRATIONS:
            raw = MIGRATIONS[raw["format"]](raw)
        check_format(str(raw.get("format")), TRACE_FORMAT, path)
        return without_secrets(msgspec.convert(raw, TraceMeta))  # older ones may have them
    except (msgspec.ValidationError, KeyError, TypeError, RecursionError) as error:
        fix = f"read it with the framepace that wrote it: {raw.get('framepace') or 'unknown version'}"
        raise StoreError("the trace's meta.json cannot be understood", got=f"{path}: {error}", fix=fix) from error


def _load_table(folder: Path, name: str, killed: bool) -> dict[str, Column]:
    """A Parquet file appears when it is whole, so it has every row; a journal counts where there is none."""
    parquet = _file(folder, name, "parquet")
    journal = _file(folder, name, "journal")
    if killed and not (parquet.is_file() or journal.is_file()):
        return rows_to_columns(name, b"")  # it was killed before its journals were made
    if not journal.is_file():
        return _read_parquet(parquet, name)
    if parquet.is_file():
        with suppress(StoreError):
            return _read_parquet(parquet, name)
    return _read_journal(journal, name)


def _read_journal(path: Path, name: str) -> dict[str, Column]:
    try:
        with path.open("rb") as journal:
            count = _row_count(journal, name)
            _check_memory(path, name, count)
            return _gather(name, count, _blocks(journal, name))
    except (OSError, MemoryError, ValueError) as error:
        raise _damaged(path, error) from error


def _read_parquet(path: Path, name: str) -> dict[str, Column]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise StoreError("the trace is damaged", got=f"{path} is missing", fix="measure again")
    try:
        with pq.ParquetFile(local(path), memory_map=True) as file:
            _check_rows(path, name, file)
            return _columns(file, name)
    # What is damaged or made up can look like anything.
    except (OSError, pa.ArrowException, MemoryError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise _damaged(path, error) from error


def _check_rows(path: Path, name: str, file: Any) -> None:
    """Raise StoreError for a file that lacks what makes a row, or declares more rows than it can hold."""
    missing = [column for column in _ESSENTIAL[name] if column not in file.schema_arrow.names]
    if missing:
        raise _damaged(path, f"it has no column {', '.join(missing)}")
    rows = file.metadata.num_rows
    if not 0 <= rows <= max(_ROWS_OF_ANY_FILE, path.stat().st_size * _ROWS_PER_BYTE):
        raise _damaged(path, f"it declares {rows:,} rows in {path.stat().st_size:,} bytes")
    _check_memory(path, name, rows)


def _check_memory(path: Path, name: str, rows: int) -> None:
    """Raise StoreError for a table that this machine has no memory for."""
    size = rows * row_bytes(name)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size > memory * _MEMORY_SHARE:
        got = f"{path}: {rows:,} rows, {format_bytes(size)}"
        expected = f"at most {format_bytes(memory * _MEMORY_SHARE)}, half of this machine's memory"
        raise StoreError("the trace is too large", got=got, expected=expected, fix="read it on a larger machine")


def _columns(file: Any, name: str) -> dict[str, Column]:
    """The columns of a table in an open Parquet file, read a block at a time."""
    from pyarrow import int64

    rows = file.metadata.num_rows
    # A column that an older writer did not have was not measured.
    columns = {column: np.full(rows, -1, np.int64) for column in COLUMNS[name]}
    stored = [column for column in columns if column in file.schema_arrow.names]
    start = 0
    for group in file.iter_batches(BLOCK_ROWS, columns=stored):
        for column in stored:
            values = group[column].cast(int64())
            columns[column][start : start + len(group)] = values.to_numpy(zero_copy_only=True)
        start += len(group)
    if start != rows:
        raise ValueError(f"it declares {rows:,} rows and has {start:,}")
    return columns


def _write_parquet(folder: Path, name: str, journal: BinaryIO) -> None:
    """Write the journal as Parquet, a block of rows at a time. Raises OSError and what pyarrow does."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    part = _file(folder, name, "part")
    try:
        with pq.ParquetWriter(local(part), _schema(name), **_PARQUET_OPTIONS) as writer:
            for rows in _blocks(journal, name):
                columns = [pa.array(column) for column in np.ascontiguousarray(rows.T)]
                writer.write_table(pa.Table.from_arrays(columns, schema=writer.schema))
        part.replace(_file(folder, name, "parquet"))
    finally:
        with suppress(OSError):
            part.unlink()


def _schema(name: str) -> Any:
    import pyarrow as pa

    return pa.schema([pa.field(c, pa.int64(), False, {"description": text}) for c, text in COLUMNS[name].items()])


def _blocks(journal: BinaryIO, name: str) -> Iterator[NDArray[np.int64]]:
    """The whole rows of a journal, up to BLOCK_ROWS at a time, shape (rows, columns)."""
    width = len(COLUMNS[name])
    remaining = _row_count(journal, name)
    journal.seek(0)
    while remaining > 0:
        rows = np.fromfile(journal, "<i8", min(remaining, BLOCK_ROWS) * width).reshape(-1, width)
        if not len(rows):
            raise OSError("the journal became shorter while it was read")
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


def _row_count(journal: BinaryIO, name: str) -> int:
    return os.fstat(journal.fileno()).st_size // row_bytes(name)


def _file(folder: Path, name: str, kind: str) -> Path:
    return folder / f"{name}.{kind}"


def _remove(folder: Path, *kinds: str) -> None:
    try:
        for kind in kinds:
            for name in COLUMNS:
                _file(folder, name, kind).unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error


def _damaged(path: Path, error: object) -> StoreError:
    return StoreError("the trace is damaged", got=f"{path}: {error}", fix="measure again")
