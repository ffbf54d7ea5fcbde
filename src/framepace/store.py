"""Reading and writing facts: traces, plans, explanations. Versioned, atomic, readable by other tools.

A trace is a folder: meta.json, requests.parquet, telemetry.parquet. While it is measured, rows are appended to
*.journal files (little-endian int64, in column order), which a killed run leaves behind and `load_trace` recovers.
"""

from __future__ import annotations

import difflib
import os
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.errors import PlanError, StoreError
from framepace.facts.finding import Explanation
from framepace.facts.plan import PLAN_FORMAT, Plan
from framepace.facts.trace import REQUEST_COLUMNS, TELEMETRY_COLUMNS, TRACE_FORMAT, Column, Trace, TraceMeta, table

COLUMNS: Mapping[str, Mapping[str, str]] = {"requests": REQUEST_COLUMNS, "telemetry": TELEMETRY_COLUMNS}
_GROUP_ROWS = 1 << 17
_T = TypeVar("_T")
# Older format -> function from its decoded meta.json to the next one's.
MIGRATIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {}


def trace_id() -> str:
    """A name that sorts by time and does not repeat."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader sees the old file or the new one. Raises StoreError."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise _cannot_write(path, error) from error


def save_json(fact: Any, path: Path) -> None:
    """Write a fact as indented JSON."""
    write_atomic(path, msgspec.json.format(msgspec.json.encode(fact), indent=2))


def load_explanation(path: Path) -> Explanation:
    """Read an explanation that `save_json` wrote. Raises StoreError."""
    return _decode(_read(path), Explanation, path)


class TraceWriter:
    """Writes a trace while it is measured.

    Opens its files before the first row. Raises StoreError when the folder cannot be written, or holds another trace
    and `overwrite` is false.
    """

    def __init__(self, folder: Path, meta: TraceMeta, overwrite: bool = False) -> None:
        self.folder = folder
        if is_trace(folder) and not overwrite:
            raise StoreError("there is a trace already", got=folder, fix="name another folder with --out")
        for name in COLUMNS:
            for leftover in (_parquet(folder, name), _journal(folder, name)):
                leftover.unlink(missing_ok=True)
        save_json(meta, folder / "meta.json")
        try:
            self._files: dict[str, BinaryIO] = {name: _journal(folder, name).open("wb", 0) for name in COLUMNS}
        except OSError as error:
            raise _cannot_write(folder, error) from error

    def append(self, name: str, rows: bytes) -> None:
        """Append packed rows to 'requests' or 'telemetry'. Raises StoreError when they cannot be written."""
        try:
            view = memoryview(rows)
            while view:
                view = view[self._files[name].write(view) :]
        except OSError as error:
            raise _cannot_write(self.folder, error) from error

    def close(self, meta: TraceMeta) -> Trace:
        """Turn the journals into Parquet files and return the trace.

        Where there is no room for them the journals stay; `load_trace` reads either.
        """
        for file in self._files.values():
            file.close()
        try:
            for name in COLUMNS:
                _write_parquet(self.folder, name)
            save_json(meta, self.folder / "meta.json")
            for name in COLUMNS:
                _journal(self.folder, name).unlink()
        except (OSError, StoreError):
            return replace_meta(load_trace(self.folder), meta)
        return load_trace(self.folder)


class MemoryWriter:
    """Keeps a trace in memory; the same protocol as TraceWriter."""

    def __init__(self, meta: TraceMeta) -> None:
        self._parts: dict[str, list[bytes]] = {name: [] for name in COLUMNS}

    def append(self, name: str, rows: bytes) -> None:
        """Append packed rows to 'requests' or 'telemetry'."""
        self._parts[name].append(rows)

    def close(self, meta: TraceMeta) -> Trace:
        """The trace."""
        tables = {name: rows_to_columns(name, b"".join(parts)) for name, parts in self._parts.items()}
        return Trace(meta, tables["requests"], tables["telemetry"])


def rows_to_columns(name: str, packed: bytes | NDArray[np.int64]) -> dict[str, Column]:
    """Packed rows of 'requests' or 'telemetry' as columns; an incomplete last row is cut off."""
    width = len(COLUMNS[name])
    values = (
        np.frombuffer(packed, np.uint8, len(packed) // (8 * width) * 8 * width) if isinstance(packed, bytes) else packed
    )
    return table(COLUMNS[name], values.view("<i8").reshape(-1, width))


def replace_meta(trace: Trace, meta: TraceMeta) -> Trace:
    """The trace with other meta."""
    return Trace(meta, trace.requests, trace.telemetry)


def is_trace(path: Path) -> bool:
    """Whether `path` is the folder of a trace."""
    return (path / "meta.json").is_file()


def load_trace(path: Path | str) -> Trace:
    """Read a trace, recovering the rows of a run that was killed (`meta.stopped` is then 'killed').

    Raises StoreError: no trace there, damaged, or of a newer format.
    """
    folder = Path(path)
    if not is_trace(folder):
        fix = "name the folder that `framepace bench --out` wrote"
        raise StoreError("there is no trace", got=folder, expected="a folder with meta.json", fix=fix)
    meta = _decode_meta(folder / "meta.json")
    requests, telemetry = (_load_table(folder, name) for name in COLUMNS)
    if meta.stopped == "running":
        note = "the run was killed: at most its last second is missing"
        meta = replace(meta, stopped="killed", notes=(*meta.notes, note))
    return Trace(meta, requests, telemetry)


def save_plan(plan: Plan, path: Path) -> None:
    """Write a plan as YAML for people to edit: defaults are left out."""
    text = b"# A framepace plan. What is not written here has its default: framepace settings\n"
    fields = _without_defaults(plan)
    write_atomic(path, text + msgspec.yaml.encode({"format": plan.format, **fields}))


def load_plan(path: Path) -> Plan:
    """Read a plan. Raises PlanError for unknown keys (naming the nearest known), wrong values or a newer format."""
    try:
        raw = msgspec.yaml.decode(_read(path))
    except msgspec.DecodeError as error:
        raise PlanError("the plan is not YAML", got=f"{path}: {error}", fix="check its indentation") from error
    if not isinstance(raw, dict):
        raise PlanError("the plan is no mapping", got=path, expected="models: ... as `framepace explain` writes it")
    _check_format(str(raw.get("format", PLAN_FORMAT)), PLAN_FORMAT, path)
    try:
        return msgspec.convert(raw, Plan)
    except msgspec.ValidationError as error:
        raise PlanError(f"the plan {path} is not valid", got=error, fix=_nearest(str(error))) from error


def _nearest(message: str) -> str:
    """What to do about a validation error: for an unknown key, the nearest known one."""
    parts = message.split("`")
    if "unknown field" not in message or len(parts) < 2:
        return "correct the value; `framepace settings` says what each means"
    near = difflib.get_close_matches(parts[1], sorted(_keys(Plan)), n=1)
    return f"did you mean {near[0]!r}?" if near else "remove the key"


def _keys(kind: Any) -> set[str]:
    """All keys that a plan can have, at any depth."""
    keys: set[str] = set()
    for field in msgspec.structs.fields(kind):
        keys.add(field.name)
        for inner in (field.type, *getattr(field.type, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                keys |= _keys(inner)
    return keys


def _without_defaults(fact: Any) -> dict[str, Any]:
    """A fact as builtins, without the fields that have their default."""
    result: dict[str, Any] = {}
    for field in msgspec.structs.fields(fact):
        value = getattr(fact, field.name)
        if field.default is not msgspec.NODEFAULT and value == field.default:
            continue
        if field.default_factory is not msgspec.NODEFAULT and value == field.default_factory():
            continue
        result[field.name] = _plain(value)
    return result


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return _without_defaults(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return msgspec.to_builtins(value)


def _decode_meta(path: Path) -> TraceMeta:
    raw = _decode(_read(path), dict, path)
    while raw.get("format") in MIGRATIONS:
        raw = MIGRATIONS[raw["format"]](raw)
    _check_format(str(raw.get("format")), TRACE_FORMAT, path)
    try:
        return msgspec.convert(raw, TraceMeta)
    except msgspec.ValidationError as error:
        raise StoreError("the trace's meta.json is damaged", got=f"{path}: {error}") from error


def _check_format(found: str, known: str, path: Path) -> None:
    if found == known:
        return
    name, _, version = found.partition("/")
    own = known.partition("/")
    if name == own[0] and version.isdigit() and int(version) > int(own[2]):
        fix = "install a newer framepace: pip install -U framepace"
        raise StoreError(f"{path} was written by a newer framepace", got=found, expected=f"{known} or older", fix=fix)
    raise StoreError(f"{path} has an unknown format", got=found, expected=known)


def _load_table(folder: Path, name: str) -> dict[str, Column]:
    if _journal(folder, name).exists():
        return rows_to_columns(name, _read(_journal(folder, name)))
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = _parquet(folder, name)
    try:
        loaded = pq.read_table(path, memory_map=True)
    except (OSError, pa.ArrowInvalid) as error:
        raise StoreError("the trace is damaged", got=f"{path}: {error}", fix="measure again") from error
    rows = loaded.num_rows
    # A column that an older writer did not have was not measured.
    return {
        column: loaded[column].to_numpy() if column in loaded.column_names else np.full(rows, -1, np.int64)
        for column in COLUMNS[name]
    }


def _write_parquet(folder: Path, name: str) -> None:
    """The journal as Parquet, a group of rows at a time so that memory stays small."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    target, width = _parquet(folder, name), len(COLUMNS[name])
    part = target.with_suffix(".part")
    schema = pa.schema([(column, pa.int64()) for column in COLUMNS[name]])
    try:
        with pq.ParquetWriter(part, schema, compression="zstd", use_dictionary=False) as writer:
            size = _journal(folder, name).stat().st_size // (8 * width)
            rows = (
                np.memmap(_journal(folder, name), "<i8", "r", shape=(size, width))
                if size
                else np.empty((0, width), "<i8")
            )
            for first in range(0, size, _GROUP_ROWS):
                writer.write_table(pa.table(table(COLUMNS[name], rows[first : first + _GROUP_ROWS]), schema))
        part.replace(target)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def _journal(folder: Path, name: str) -> Path:
    return folder / f"{name}.journal"


def _parquet(folder: Path, name: str) -> Path:
    return folder / f"{name}.parquet"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError("the file cannot be read", got=f"{path}: {error.strerror}", fix="check the path") from error


def _decode(data: bytes, kind: type[_T], path: Path) -> _T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise StoreError("the file is damaged", got=f"{path}: {error}", expected=kind.__name__) from error


def _cannot_write(path: Path, error: OSError) -> StoreError:
    fix = "free some space or name another folder with --out; what was written before is kept"
    return StoreError("cannot write", got=f"{path}: {error.strerror}", fix=fix)
