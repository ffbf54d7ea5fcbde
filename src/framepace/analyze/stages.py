"""The stages of a frame's path: a telescoping sum of its stamps, so that nothing is lost or counted twice."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from framepace.facts.late import NOT_LOGGED
from framepace.facts.trace import Column, Trace

STAGES: Mapping[str, str] = {
    "backlog": "the frame was due, but the thread that takes it was still busy with the previous one",
    "wake-up": "that thread woke late (the pacer's error)",
    "decode": "taking or decoding the picture, and those decoded before it for the same batch",
    "hand-over": "into the buffer",
    "queue": "in the buffer, until a worker took it",
    "other models": "models of the same frame that ran before",
    "prepare": "making the model's input",
    "infer": "the inference",
    "finish": "reading the outputs (post), and the finish hook",
}
_STAMPS = ("captured", "decoded", "queued", "batched", "started", "enqueued", "finished")
_SUMMED = ("h2d", "compute", "d2h", "paint", "switched", "preempted", "faults", "gc")


def stages(trace: Trace) -> dict[str, Column]:
    """Stage durations of each row in ns, in order; they add up to `trace.latency` exactly.

    A stamp that was not measured (-1) is taken as the one before it: its stage is 0. For the second and later models
    of a frame, the time its earlier models took is 'other models', not 'queue'; so `trace` must have their rows.
    """
    r = trace.requests
    stamp = _filled(r)
    taken = _taken(r, stamp["captured"])
    others = _others(r, stamp)
    return {
        "backlog": stamp["ready"] - r["due"],
        "wake-up": taken - stamp["ready"],
        "decode": stamp["decoded"] - taken,
        "hand-over": stamp["queued"] - stamp["decoded"],
        "queue": stamp["batched"] - stamp["queued"] - others,
        "other models": others,
        "prepare": stamp["started"] - stamp["batched"],
        "infer": stamp["finished"] - stamp["started"],
        "finish": r["delivered"] - stamp["finished"],
    }


def shown_stages(trace: Trace, columns: Mapping[str, Column]) -> dict[str, Column]:
    """The stages as readers see them: of a log only those that it has, and what they leave of the latency.

    `columns` are stages of the trace or of some of its rows, by name.
    """
    if not trace.meta.is_log:
        return dict(columns)
    logged = {name: column for name, column in columns.items() if column.any() and name != "hand-over"}
    if columns["hand-over"].any() or not logged:
        logged[NOT_LOGGED] = columns["hand-over"]
    return logged


def parts(trace: Trace) -> dict[str, Column]:
    """Parts of the stage 'infer' of each row in ns; each set adds up to it.

    Always 'enqueue' (the call) and 'device wait' (after it). Where every row has device times, also 'h2d', 'compute',
    'd2h' and 'host' (the remainder: launch, synchronisation, wake-up), and 'paint' where a device prepares pictures.
    """
    stamp = _filled(trace.requests)
    call = {"enqueue": stamp["enqueued"] - stamp["started"], "device wait": stamp["finished"] - stamp["enqueued"]}
    device = {name: trace.requests[name] for name in ("h2d", "compute", "d2h")}
    if not len(trace) or min(int(column.min()) for column in device.values()) < 0:
        return call
    paint = trace.requests["paint"]
    if paint.max() >= 0:
        device["paint"] = np.maximum(paint, 0)
    return call | device | {"host": stamp["finished"] - stamp["started"] - sum(device.values())}


def frames(trace: Trace) -> dict[str, Column]:
    """Whole frames, in order of due time: 'frame', 'due', 'delivered', 'latency' (ns) and each stage (ns).

    From due to the last delivery of the frame's models, the stages of all models added up; they add up to the latency.
    """
    whole = frame_trace(trace)
    plain = {name: whole.requests[name] for name in ("frame", "source", "due", "delivered", "outcome", "marks")}
    return plain | {"latency": whole.latency} | stages(whole)


def frame_trace(trace: Trace) -> Trace:
    """The trace with one row per frame, in order of due time; each stage is the sum of that stage over the models.

    Models that ran one after the other follow each other; where models of a frame overlap, the time is counted once.
    Counters and device times are sums (-1 where one was not measured), `cpu` so that `per_frame_cpu` is one, `marks`
    is the union, `outcome` and `cause` those of the worst model; other columns are those of the first model.
    """
    rows, first = _grouped(trace)
    if len(first) == len(trace):
        return in_order(trace)
    whole = {name: column[first] for name, column in rows.items()}
    whole |= _end_to_end(rows, first) | _totals(rows, first)
    return in_order(Trace(trace.meta, whole, trace.telemetry))


def take(trace: Trace, rows: NDArray[np.intp]) -> Trace:
    """The trace with the request rows of these indices, in this order."""
    return Trace(trace.meta, {name: column[rows] for name, column in trace.requests.items()}, trace.telemetry)


def in_order(trace: Trace) -> Trace:
    """The trace with its rows in order of due time; the trace itself when they are."""
    due = trace.requests["due"]
    if (due[1:] >= due[:-1]).all():
        return trace
    return take(trace, np.argsort(due, kind="stable"))


def _grouped(trace: Trace) -> tuple[Mapping[str, Column], NDArray[np.intp]]:
    """Rows by frame and, within it, in the order its models ran; and where each frame starts in them."""
    rows = trace.requests
    frame = rows["frame"]
    batched = rows["batched"]
    step = np.diff(frame)
    if not ((step > 0) | ((step == 0) & (np.diff(batched) >= 0))).all():
        order = np.lexsort((batched, frame))
        rows = take(trace, order).requests
    return rows, np.flatnonzero(np.diff(rows["frame"], prepend=-1))


def _filled(r: Mapping[str, Column]) -> dict[str, Column]:
    """The stamps after `due`, from 'ready' on, when both the frame and its taker were there.

    One that was not measured is the one before it.
    """
    last = np.maximum(r["due"], r["available"])
    stamps = {"ready": last}
    for name in _STAMPS:
        last = np.where(r[name] < 0, last, r[name])
        stamps[name] = last
    return stamps


def _taken(r: Mapping[str, Column], captured: Column) -> Column:
    """When the taker began with the frame: for frames taken together, when it began with the first of them.

    The worker that decodes a batch itself takes its frames one after the other: they share worker, available and due,
    and waiting for the pictures of the frames before is decoding, not waking up.
    """
    if len(captured) == 0 or r["batch_size"].max() <= 1:
        return captured
    order = np.lexsort((captured, r["due"], r["available"], r["worker"]))
    keys = np.stack([r[name][order] for name in ("worker", "available", "due")])
    available_unknown = keys[1] < 0
    taken = np.empty_like(captured)
    taken[order] = captured[order][_group_starts(_changes(keys) | available_unknown)]
    return taken


def _changes(keys: Column) -> NDArray[np.bool_]:
    """Where any of the keys (rows) differs from the column before; true at the first column."""
    return np.asarray(np.any(np.diff(keys, prepend=keys[:, :1] - 1), axis=0))


def _group_starts(new: NDArray[np.bool_]) -> NDArray[np.intp]:
    """For each row, the row where its group starts; `new` is true at the first row of each group."""
    return np.maximum.accumulate(np.where(new, np.arange(len(new)), 0))


def _others(r: Mapping[str, Column], stamp: Mapping[str, Column]) -> Column:
    """How long, of the wait from queued to batched, models of the same frame ran that came before."""
    batched = stamp["batched"]
    frame = r["frame"]
    others = np.zeros_like(batched)
    if len(frame) == 0 or r["model"].min() == r["model"].max():
        return others
    order = np.lexsort((batched, frame))
    others[order] = _ran_before(frame[order], batched[order], r["delivered"][order])
    return np.clip(others, 0, np.maximum(batched - stamp["queued"], 0))


def _ran_before(frame: Column, batched: Column, delivered: Column) -> Column:
    """From when the first model of a frame took it until the last of the models before each row delivered.

    Rows are by frame and, within it, in the order its models ran; 0 for the first model. Rows that began together (the
    crops of an inference) have the same models before them.
    """
    new = np.diff(frame, prepend=-1) != 0
    delivered_before = np.roll(_running_max(delivered, new), 1)
    others = np.where(new, 0, delivered_before - batched[_group_starts(new)])
    return np.asarray(others[_group_starts(new | (np.diff(batched, prepend=-1) != 0))])


def _running_max(values: Column, new: NDArray[np.bool_]) -> Column:
    """Running maximum that starts again where `new` is true.

    NumPy has no accumulate by groups. After the pass with step s, each row holds the maximum of the last 2 s rows of
    its group (Hillis and Steele 1986). A group is a frame and its rows are the models, so that two or three passes are
    enough whatever the length.
    """
    result: Column = values.copy()
    group = np.cumsum(new)
    step = 1
    while step < len(values) and (same := group[step:] == group[:-step]).any():
        result[step:] = np.where(same, np.maximum(result[step:], result[:-step]), result[step:])
        step *= 2
    return result


def _end_to_end(rows: Mapping[str, Column], first: NDArray[np.intp]) -> dict[str, Column]:
    """Stamps from batched to delivered of each frame, so that each stage is the sum of that stage over its models.

    A model's first stage begins where the models before it had delivered (for the first model: at 'queued'). Stamps
    before that are moved up to it, so that time in which models overlap counts once, for the earlier model. `reached`
    then rises from stamp to stamp in each row. `reduceat` at the frames' first rows adds up what a stage took of all
    models of a frame, and the stamps of the frame are the running sum of those.
    """
    new = np.zeros(len(rows["due"]), dtype=bool)
    new[first] = True
    stamp = _filled(rows) | {"delivered": rows["delivered"]}
    delivered_before = np.roll(_running_max(stamp["delivered"], new), 1)
    last = np.where(new, stamp["queued"], delivered_before)
    earliest = np.where(new, np.iinfo(np.int64).min, delivered_before)
    stamps = {}
    at = stamp["queued"][first]
    for name in ("batched", "started", "enqueued", "finished", "delivered"):
        reached = np.maximum(stamp[name], earliest)
        at = at + np.add.reduceat(reached - last, first)
        stamps[name] = at
        last = reached
    return stamps


def _totals(rows: Mapping[str, Column], first: NDArray[np.intp]) -> dict[str, Column]:
    """Sums, unions and worst cases over the models of each frame."""
    total = {name: _sum(rows[name], first) for name in _SUMMED}
    total["cpu"] = _sum(per_frame_cpu(rows), first) * np.maximum(rows["batch_size"][first], 1)
    total["marks"] = np.bitwise_or.reduceat(rows["marks"], first)
    worst = np.maximum.reduceat(rows["outcome"] * 16 + rows["cause"], first)
    return total | {"outcome": worst // 16, "cause": worst % 16}


def _sum(column: Column, first: NDArray[np.intp]) -> Column:
    total = np.add.reduceat(column, first)
    return np.where(np.minimum.reduceat(column, first) < 0, -1, total)


def per_frame_cpu(rows: Mapping[str, Column]) -> Column:
    """CPU time of the worker's thread for each row alone, ns: that of its batch shared out; -1 where not measured."""
    return np.where(rows["cpu"] < 0, -1, rows["cpu"] // np.maximum(rows["batch_size"], 1))
