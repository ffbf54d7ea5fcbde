"""The rows of a log as request rows of a trace."""

from __future__ import annotations

import numpy as np

from framepace.facts.log import DEVICE_ROLES, Role
from framepace.facts.trace import REQUEST_COLUMNS, Column, DropCause, Mark, Outcome
from framepace.logs.gauges import sm_clock
from framepace.logs.names import DURATIONS
from framepace.logs.rows import LogRows, whole_numbers
from framepace.logs.table import Floats

# The stamps that stages end with. What they leave of the latency lies between 'decoded' and 'queued'.
_AFTER: tuple[tuple[str, Role], ...] = (("batched", "queue"), ("started", "prepare"), ("finished", "infer"))
_LOGGED_STAGES: tuple[Role, ...] = ("decode", "queue", "prepare", "infer", "finish")
_NOTHING = ("cause", "switched", "preempted")


def requests(rows: LogRows, models: Column, sources: Column) -> dict[str, Column]:
    """All request columns; -1 for what a log does not say. `models` and `sources` are those of each row."""
    columns = {name: np.full(len(rows), -1, np.int64) for name in REQUEST_COLUMNS}
    columns |= {name: rows.zeros() for name in _NOTHING}
    columns |= _stamps(rows) | _events(rows) | _device(rows)
    return columns | {
        "frame": _frames(rows, models, sources),
        "source": sources,
        "model": models,
        "worker": rows.codes("worker")[0],
        "batch_id": np.arange(len(rows)),
        "batch_size": np.maximum(rows.counts("batch", 1), 1),
    }


def _stamps(rows: LogRows) -> dict[str, Column]:
    """When each stage ended; they telescope to the latency."""
    spent = np.sum([rows.stage(role) for role in _LOGGED_STAGES], axis=0)
    at = rows.due + rows.stage("decode")
    stamps = {"due": rows.due, "captured": rows.due, "decoded": at}
    at = at + np.maximum(rows.latency - spent, 0)
    stamps["queued"] = at
    for stamp, role in _AFTER:
        at = at + rows.stage(role)
        stamps[stamp] = at
    return stamps | {"delivered": at + rows.stage("finish")}


def _device(rows: LogRows) -> dict[str, Column]:
    """The device's times where its kernels are logged (copies that are not count as nothing), and its clock."""
    clock = sm_clock(rows)
    columns = {"sm_clock_before": clock, "sm_clock_after": clock}
    if not rows.has_stage("compute"):
        return columns
    return columns | {str(role): rows.stage(role) for role in DEVICE_ROLES}


def _events(rows: LogRows) -> dict[str, Column]:
    """What became of each row, and what happened in it."""
    return {
        "outcome": rows.outcome,
        "cause": np.where(rows.outcome == Outcome.FAILED, DropCause.BACKEND, DropCause.NONE),
        "marks": np.where(rows.counts("warmup") > 0, Mark.WARMUP, 0),
        "faults": rows.counts("faults"),
        "gc": _collections(rows),
    }


def _frames(rows: LogRows, models: Column, sources: Column) -> Column:
    """Numbers of frames: rows of several models with one number (and camera) are one frame."""
    number = rows.numbers(rows.column("frame"))
    if models.max() == 0 or not np.isfinite(number).all():
        return np.arange(len(rows))
    keys = np.stack([sources, whole_numbers(number)])
    _, frame = np.unique(keys, axis=1, return_inverse=True)
    return np.asarray(frame, np.int64).ravel()


def _collections(rows: LogRows) -> Column:
    """Time of garbage collections, ns; the whole frame where only their number is logged."""
    column = rows.column("gc")
    numbers = np.nan_to_num(rows.numbers(column))
    if column is not None and column.unit in DURATIONS:
        return whole_numbers(numbers * DURATIONS[column.unit])
    if _counts_up(numbers):
        numbers = np.diff(numbers, prepend=numbers[:1])
    return np.where(numbers > 0, rows.latency, 0)


def _counts_up(numbers: Floats) -> bool:
    """Whether a column counts from the start on, instead of per row."""
    return bool((np.diff(numbers) >= 0).all()) and float(numbers[-1]) > 1
