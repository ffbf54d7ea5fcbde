"""What a log says: how its columns were read, what goes with its latencies, and which experiments would decide."""

from __future__ import annotations

from typing import Literal

from framepace.facts.base import Fact
from framepace.facts.late import LateFrames, Receipt
from framepace.facts.summary import Estimate, Summary

Role = Literal[
    "time",
    "start",
    "end",
    "latency",
    "fps",
    "decode",
    "queue",
    "prepare",
    "infer",
    "finish",
    "h2d",
    "compute",
    "d2h",
    "sm_clock",
    "memory_clock",
    "cpu_clock",
    "power",
    "temperature",
    "utilisation",
    "gc",
    "faults",
    "batch",
    "source",
    "model",
    "worker",
    "frame",
    "dropped",
    "failed",
    "warmup",
    "beside",
    "ignore",
]
"""What a column of a log can be; 'beside' is any other number, which is held against the latencies."""
STAGE_ROLES: tuple[Role, ...] = ("decode", "queue", "prepare", "infer", "finish")
DEVICE_ROLES: tuple[Role, ...] = ("h2d", "compute", "d2h")


class LogColumn(Fact, frozen=True, kw_only=True):
    """A column of a log: what it was taken as, its unit, and why; `why` is '' where its name says so."""

    name: str
    role: Role
    unit: str = ""
    why: str = ""


class LogReading(Fact, frozen=True, kw_only=True):
    """How a log was read: its kind ('CSV with ;'), its rows, and each column that was used.

    `left_out` counts rows that could not be read or had no latency, `notes` are sentences on what was concluded.
    """

    file: str
    kind: str
    rows: int
    left_out: int = 0
    columns: tuple[LogColumn, ...] = ()
    notes: tuple[str, ...] = ()


class Beside(Fact, frozen=True, kw_only=True):
    """A logged number against the latencies: its medians in late and in other frames, and the rank correlation.

    The interval (99 %) is over independent rows: a series that remembers its values counts for fewer.
    """

    column: str
    role: Role = "beside"
    late: float | None
    other: float
    correlation: Estimate


class Suspected(Fact, frozen=True, kw_only=True):
    """A cause that the log suggests and cannot prove: the experiment that would decide.

    `code` is that of a cause of `explain` ('' for none of them), `because` the numbers of the log, `command` what to
    run, `decides` what it would show.
    """

    code: str
    title: str
    because: str
    command: str
    decides: str


class LogExplanation(Fact, frozen=True, kw_only=True):
    """The answer of `explain` about a log. Nothing in it is proven: a log shows what coincides."""

    reading: LogReading
    summary: Summary
    late: LateFrames | None = None
    receipts: tuple[Receipt, ...] = ()
    beside: tuple[Beside, ...] = ()
    suspected: tuple[Suspected, ...] = ()
