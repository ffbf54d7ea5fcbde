"""Which column is what: by their names, by what was asked for, and where both leave it open, by their values."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, get_args

import numpy as np
from msgspec.structs import replace

from framepace import values
from framepace.errors import UsageError, unknown
from framepace.facts.log import DEVICE_ROLES, STAGE_ROLES, LogColumn, Role
from framepace.logs.errors import not_understood, question
from framepace.logs.names import DURATIONS, NamedRole, named_role, unit_named
from framepace.logs.table import Cells, Floats, LogTable

ROLES: tuple[Role, ...] = get_args(Role)
_OTHER_WORDS: Mapping[str, Role] = {
    "timestamp": "time",
    "camera": "source",
    "stream": "source",
    "clock": "sm_clock",
    "temp": "temperature",
    "total": "latency",
    "preprocess": "prepare",
    "inference": "infer",
    "postprocess": "finish",
    "warm-up": "warmup",
}
_SUMMED = (*STAGE_ROLES, *DEVICE_ROLES)
_MOMENTS: tuple[Role, ...] = ("time", "start", "end")
_NOT_BESIDE: tuple[Role, ...] = (*_MOMENTS, "latency", "fps", *_SUMMED, "source", "model", "worker", "frame", "warmup")
_MOST_ANSWERS = 3
_RISES = 0.95  # of the steps of a moment are none backwards
_SUMMARY_NAMES = ("concurrency", "request rate", "p50 latency", "p90 latency", "p95 latency", "p99 latency")
_SUMMARY_FIX = (
    "`framepace explain` and `compare` read a table of loads; here have it write a row per request: perf_analyzer "
    "with --profile-export-file requests.json, trtexec with --exportTimes=times.json; and name that file"
)


_DEVICE_FIX = "write such numbers beside each frame and its latency; `framepace bench` records both for a model"


class Asked(NamedTuple):
    """A column that was named with --column: what it is, and its unit ('' where none was named)."""

    role: Role
    name: str
    unit: str


class Roles(NamedTuple):
    """The table, and the columns that are something."""

    table: LogTable
    columns: tuple[LogColumn, ...]

    def named(self, *roles: Role) -> tuple[LogColumn, ...]:
        """The columns of these roles, in their order."""
        return tuple(column for column in self.columns if column.role in roles)

    def numbers(self, column: LogColumn) -> Floats:
        """The numbers of a column; NaN where a cell has none."""
        cells = self.table.columns[column.name]
        if cells.numbers is not None:
            return cells.numbers
        return np.full(self.table.rows, np.nan)

    def has(self, *roles: Role) -> bool:
        """Whether there is a column of one of these roles."""
        return bool(self.named(*roles))


def asked_columns(texts: Mapping[str, str] | Sequence[str], *tables: LogTable) -> list[tuple[Asked, ...]]:
    """'latency=total_ms' and 'latency=total:us' as columns, for each table those that it has.

    Raises UsageError, also for a column that no table has.
    """
    asked: list[list[Asked]] = [[] for _ in tables]
    for role, column in _pairs(texts):
        candidates = [_asked(role, column, table) for table in tables]
        _check_known(candidates, tables)
        for named, one, table in zip(asked, candidates, tables, strict=True):
            named += [one] if one.name in table.columns else []
    return [tuple(named) for named in asked]


def _pairs(texts: Mapping[str, str] | Sequence[str]) -> list[tuple[str, str]]:
    if isinstance(texts, Mapping):
        return list(texts.items())
    return [_pair(text) for text in texts]


def _check_known(candidates: Sequence[Asked], tables: Sequence[LogTable]) -> None:
    """Raise UsageError for a column that no table has."""
    if not tables:
        fix = "leave it out, or name a log (.csv, .tsv, .jsonl, .json, .parquet)"
        raise UsageError("columns are named of logs only", got="no log", fix=fix)
    if not any(one.name in table.columns for one, table in zip(candidates, tables, strict=True)):
        names = dict.fromkeys(name for table in tables for name in table.columns)
        raise unknown("log column", values.shown(candidates[0].name), names)


def _pair(text: str) -> tuple[str, str]:
    role, equals, column = text.partition("=")
    if not (role and equals and column):
        expected = "ROLE=COLUMN or ROLE=COLUMN:UNIT, e.g. latency=total_ms"
        fix = "write what it is, '=' and the name of the column after --column"
        raise UsageError("--column needs a role and a column", got=values.shown(text), expected=expected, fix=fix)
    return role, column


def _asked(role_text: str, column: str, table: LogTable) -> Asked:
    word = role_text.strip().lower().replace(" ", "_")
    word = _OTHER_WORDS.get(word, word)
    role = next((role for role in ROLES if role == word), None)
    if role is None:
        raise unknown("column role", values.shown(role_text), [*ROLES, *_OTHER_WORDS])
    return Asked(role, *_name_and_unit(column.strip(), table))


def _name_and_unit(column: str, table: LogTable) -> tuple[str, str]:
    """'total:us' as a name and a unit; a name may have a colon itself."""
    head, colon, tail = column.rpartition(":")
    if column in table.columns or not colon or not unit_named(tail):
        return column, ""
    return head, unit_named(tail)


def roles_of(table: LogTable, asked: Sequence[Asked]) -> Roles:
    """The role of every column. Raises UsageError with the one question that is open, StoreError for a summary."""
    _check_rows(table)
    named = _named(table, asked)
    columns = [_as_asked(one, table) for one in asked]
    taken = {column.name for column in columns}
    fixed = {column.role for column in columns}
    for name, reading in named.items():
        if name not in taken:
            columns += _by_name(name, reading, table.columns[name], fixed)
    roles = Roles(table, tuple(_one_each(columns, named, table)))
    _check_latency(roles)
    return roles


def _named(table: LogTable, asked: Sequence[Asked]) -> dict[str, NamedRole]:
    """What the names of the columns say. 'time' is a moment where something else says how long a frame took."""
    named = {name: named_role(name) for name in table.columns}
    spans = {reading.role for reading in named.values() if not reading.either} | {one.role for one in asked}
    if not spans & {"latency", "end", *STAGE_ROLES}:
        return named
    return {name: reading._replace(either=reading.either and reading.role != "time") for name, reading in named.items()}


def _check_rows(table: LogTable) -> None:
    """Raise StoreError for a table of summaries: a row per load has percentiles, and no frames."""
    names = {" ".join(name.lower().replace("_", " ").split()) for name in table.columns}
    if len(names & set(_SUMMARY_NAMES)) >= 2:
        raise not_understood(table.file, "a row per load with percentiles, not per request", _SUMMARY_FIX)


def _as_asked(one: Asked, table: LogTable) -> LogColumn:
    unit = one.unit or table.columns[one.name].unit or named_role(one.name).unit
    return LogColumn(name=one.name, role=one.role, unit=unit, why="as --column says")


def _by_name(name: str, reading: NamedRole, cells: Cells, fixed: set[Role]) -> Iterator[LogColumn]:
    """What a column is by its name and its kind of cells; a role that was asked for is taken by nothing else."""
    role = _role(reading, cells)
    if role is None or (role in fixed and role not in _SUMMED):
        role = "beside" if cells.numbers is not None else None
    if role is not None:
        yield LogColumn(name=name, role=role, unit=cells.unit or reading.unit)


def _role(reading: NamedRole, cells: Cells) -> Role | None:
    if cells.moments is not None:
        return reading.role if reading.role in _MOMENTS else "time"
    if cells.words is not None:
        return reading.role if reading.role in ("source", "model", "worker", "failed") else None
    if reading.either:
        return _moment_or_duration(reading, cells)
    if reading.role == "model" and len(np.unique(_finite(cells))) > 50:
        return "infer"
    return reading.role


def _moment_or_duration(reading: NamedRole, cells: Cells) -> Role | None:
    """'time_ms' is a moment where it rises from row to row, else a duration: of the frame, or of a stage it names."""
    rises = _rises(_finite(cells))
    if reading.role == "time":
        return "time" if rises else "latency"
    return None if rises else reading.role


def _finite(cells: Cells) -> Floats:
    numbers = np.empty(0) if cells.numbers is None else cells.numbers
    return np.asarray(numbers[np.isfinite(numbers)])


def _rises(numbers: Floats) -> bool:
    steps = np.diff(numbers)
    return len(steps) > 0 and float(np.mean(steps >= 0)) >= _RISES and float(numbers[-1]) > float(numbers[0])


def _one_each(columns: Sequence[LogColumn], named: Mapping[str, NamedRole], table: LogTable) -> Iterator[LogColumn]:
    """One column per role; stages may have several. Of several latencies the longest is that of the whole frame."""
    for role in dict.fromkeys(column.role for column in columns):
        candidates = [column for column in columns if column.role == role]
        if role in _SUMMED or role in ("beside", "ignore") or len(candidates) == 1:
            yield from candidates
            continue
        best = _best(candidates, named, table)
        yield best
        beside = (column for column in candidates if column is not best and role not in _NOT_BESIDE)
        yield from (replace(column, role="beside") for column in beside)


def _best(candidates: Sequence[LogColumn], named: Mapping[str, NamedRole], table: LogTable) -> LogColumn:
    asked = [column for column in candidates if column.why]
    if asked:
        return asked[0]
    if candidates[0].role == "latency":
        longest = max(candidates, key=lambda column: _median_ns(column, table))
        others = ", ".join(column.name for column in candidates if column is not longest)
        return replace(longest, why=f"the longest of several durations ({others})")
    return min(candidates, key=lambda column: named[column.name].rank)


def _median_ns(column: LogColumn, table: LogTable) -> float:
    numbers = _finite(table.columns[column.name])
    if not len(numbers):
        return 0.0
    return float(np.median(numbers)) * DURATIONS.get(column.unit, 1_000_000)


def _check_latency(roles: Roles) -> None:
    """Ask for the latency where nothing says how long a frame took."""
    if _is_device_log(roles):
        raise not_understood(roles.table.file, "clocks and the like, and nothing about frames", _DEVICE_FIX)
    if roles.has("latency", "fps", "time", "start", "end", *STAGE_ROLES, *DEVICE_ROLES):
        return
    names = ", ".join(map(values.shown, list(roles.table.columns)[:20]))
    guesses = [name for name, cells in roles.table.columns.items() if len(np.unique(_finite(cells))) > 2]
    if not guesses:
        raise not_understood(roles.table.file, f"no column has numbers that vary: {names}")
    raise question(
        "which column is the latency?", names, _likely(guesses, roles.table), "the latency of a frame, or its stages"
    )


def _likely(names: Sequence[str], table: LogTable) -> list[str]:
    """Options that name what is likely a latency: columns in a unit of time, else one that does not rise."""
    units = {name: table.columns[name].unit or named_role(name).unit for name in names}
    steady = [name for name in names if not _rises(_finite(table.columns[name]))]
    in_time = [name for name in steady if units[name] in DURATIONS]
    likely = in_time[:_MOST_ANSWERS] or steady[:1] or names[:1]
    answers = [f"latency={name}:{units[name] if in_time else 'ms'}" for name in likely]
    return [f"--column {shlex.quote(answer)}" for answer in answers]


def _is_device_log(roles: Roles) -> bool:
    """Clocks and temperatures at some times, and nothing about frames: what nvidia-smi writes."""
    gauges = roles.has("sm_clock", "power", "temperature", "utilisation", "memory_clock")
    frames = roles.has("latency", "fps", "start", "end", "frame", *STAGE_ROLES, *DEVICE_ROLES)
    return gauges and not frames
