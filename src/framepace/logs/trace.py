"""A log as a trace of a program, so that everything that reads traces reads logs."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from framepace.facts.log import LogReading, Role
from framepace.facts.machine import Machine
from framepace.facts.plan import Target
from framepace.facts.program import Program
from framepace.facts.trace import Trace, TraceMeta
from framepace.facts.workload import Closed, Workload
from framepace.logs.gauges import GAUGES, telemetry
from framepace.logs.reading import read_log
from framepace.logs.requests import requests
from framepace.logs.roles import Asked, asked_columns, roles_of
from framepace.logs.rows import LONGEST_NAME, LogRows
from framepace.logs.table import Floats, LogTable
from framepace.logs.times import Times, times_of

_BESIDE: tuple[Role, ...] = (*GAUGES, "gc", "faults", "batch", "beside")
UNKNOWN_MACHINE = Machine(
    cpu="not logged", cores_physical=0, cores_logical=0, memory_bytes=0, system="not logged", kernel="", python=""
)
"""The machine of a log: it says nothing about it."""


@dataclass(frozen=True)
class Log:
    """A log that was understood: its trace, how it was read, and its other numbers, one per row of the trace."""

    trace: Trace
    reading: LogReading
    beside: Mapping[str, Floats]

    @property
    def roles(self) -> dict[str, Role]:
        """What each column is, by its name."""
        return {column.name: column.role for column in self.reading.columns}


def load_log(
    path: Path,
    columns: Mapping[str, str] | Sequence[str] = (),
    *,
    fps: float | None = None,
    p99_ms: float | None = None,
) -> Log:
    """Read a log as a trace of a program.

    Args:
        path: a CSV, TSV, JSON, JSON lines or Parquet file, also packed with gzip.
        columns: what columns are ('latency=total_ms', 'latency=total:us'), where their names do not say.
        fps: frames per second that are wanted, if any.
        p99_ms: the latency that frames must keep, ms, if any.

    Raises:
        StoreError: the file cannot be read or is no log.
        UsageError: something is open; the error asks one question and has its answers.
        NotEnoughSamples: no row has a latency.
    """
    (log,) = load_logs([path], columns, Target(fps=fps, p99_ms=p99_ms))
    return log


def load_logs(
    paths: Sequence[Path], columns: Mapping[str, str] | Sequence[str] = (), target: Target | None = None
) -> list[Log]:
    """Several logs, of which each takes the `columns` that it has; see `load_log`."""
    tables = [read_log(path) for path in paths]
    asked = asked_columns(columns, *tables)
    together = zip(tables, asked, paths, strict=True)
    return [_log(table, named, path, target or Target()) for table, named, path in together]


def _log(table: LogTable, asked: Sequence[Asked], path: Path, target: Target) -> Log:
    times = times_of(roles_of(table, asked))
    rows = LogRows(times)
    reading = _reading(path, times, len(rows))
    numbers = {column.name: rows.numbers(column) for column in rows.roles.named(*_BESIDE)}
    return Log(_trace(path, reading, rows, target), reading, numbers)


def _trace(path: Path, reading: LogReading, rows: LogRows, target: Target) -> Trace:
    models, names = rows.codes("model")
    sources, cameras = rows.codes("source")
    program = Program(command=(path.name,), names=names or (_stem(path),), target=target, log=reading.kind)
    return Trace(_meta(path, reading, program, cameras), requests(rows, models, sources), telemetry(rows))


def _reading(path: Path, times: Times, count: int) -> LogReading:
    """How the log was read, of which `count` rows are kept."""
    table = times.roles.table
    return LogReading(
        file=path.name,
        kind=table.kind,
        rows=table.rows,
        left_out=table.left_out + table.rows - count,
        columns=tuple(column for column in times.roles.columns if column.role != "ignore"),
        notes=tuple(times.notes),
    )


def _meta(path: Path, reading: LogReading, program: Program, cameras: tuple[str, ...]) -> TraceMeta:
    notes = reading.notes
    if reading.left_out:
        notes += (f"{reading.left_out:,} rows of the log are left out: they have no latency, or cannot be read",)
    return TraceMeta(
        id=f"{_stem(path)}-{_digest(reading)}",
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(_modified(path))),
        machine=UNKNOWN_MACHINE,
        models=(),
        subject_program=program,
        workload=Workload(load=Closed()),
        sources=cameras or ("log",),
        stopped="finished",
        notes=notes,
        framepace=version("framepace"),
    )


def _stem(path: Path) -> str:
    return path.name.split(".")[0][:LONGEST_NAME] or "log"


def _digest(reading: LogReading) -> str:
    return hashlib.sha256(repr(reading).encode()).hexdigest()[:6]


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
