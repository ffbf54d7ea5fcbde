"""The stages of a frame's way: a telescoping sum of its stamps, so that nothing is lost and nothing counted twice."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from framepace.facts.trace import Column, Trace

STAGES: Mapping[str, str] = {
    "backlog": "the frame was due, but its taker was still busy with the one before",
    "wake-up": "the taker woke late (the pacer's error)",
    "decode": "taking or decoding the picture, with those of its batch decoded before it",
    "hand-over": "into the buffer",
    "queue": "in the buffer, until a worker took it",
    "other models": "models of the same frame that ran before",
    "prepare": "making the model's input",
    "infer": "the inference",
    "finish": "the finish hook",
}
_STAMPS = ("captured", "decoded", "queued", "batched", "started", "enqueued", "finished")
_SUMMED = ("h2d", "compute", "d2h", "switched", "preempted", "faults", "gc")


def stages(trace: Trace) -> dict[str, Column]:
    """Stage durations of each row in ns, in order; they add up to `trace.latency` exactly.

    A stamp that was not measured (-1) is taken as the one before it: its stage is 0. For the second and later models
    of a frame, the time its earlier models took is 'other models', not 'queue'; so `trace` must have their rows.
    """
    r = trace.requests
    stamp = _filled(r)
    ready = np.maximum(r["due"], r["available"])
    taken = _taken(r, stamp["captured"])
    waited, others = stamp["batched"] - stamp["queued"], _others(r, stamp)
    return {
        "backlog": ready - r["due"],
        "wake-up": taken - ready,
        "decode": stamp["decoded"] - taken,
        "hand-over": stamp["queued"] - stamp["decoded"],
        "queue": waited - others,
        "other models": others,
        "prepare": stamp["started"] - stamp["batched"],
        "infer": stamp["finished"] - stamp["started"],
        "finish": r["delivered"] - stamp["finished"],
    }


def parts(trace: Trace) -> dict[str, Column]:
    """Parts of the stage 'infer' of each row in ns; each set adds up to it.

    Always 'enqueue' (the call) and 'device wait' (after it). Where every row has device times, also 'h2d', 'compute',
    'd2h' and 'host' (the remainder: launch, synchronisation, wake-up).
    """
    r, stamp = trace.requests, _filled(trace.requests)
    found = {"enqueue": stamp["enqueued"] - stamp["started"], "device wait": stamp["finished"] - stamp["enqueued"]}
    device = {name: r[name] for name in ("h2d", "compute", "d2h")}
    if not len(trace) or min(int(column.min()) for column in device.values()) < 0:
        return found
    return found | device | {"host": stamp["finished"] - stamp["started"] - sum(device.values())}


def frames(trace: Trace) -> dict[str, Column]:
    """Whole frames, in order of due time: 'frame', 'due', 'delivered', 'latency' (ns) and each stage (ns).

    From due to the last delivery of the frame's models, the stages of all models added up; they add up to the latency.
    """
    whole = frame_trace(trace)
    plain = {name: whole.requests[name] for name in ("frame", "source", "due", "delivered", "outcome", "marks")}
    return plain | {"latency": whole.latency} | stages(whole)


def frame_trace(trace: Trace) -> Trace:
    """The trace with one row a frame, in order of due time, its stamps laid so that stages of all models are added up.

    Models that ran one after the other follow each other; where models of a frame overlap, the time is counted once.
    Counters and device times are sums (-1 where one was not measured), `cpu` so that `per_frame_cpu` is one, `marks`
    is the union, `outcome` and `cause` those of the worst model; the rest is that of the first model.
    """
    rows, first = _grouped(trace)
    if len(first) == len(trace):
        return in_order(trace)
    whole = {name: column[first] for name, column in rows.items()}
    whole |= _laid(rows, first) | _totals(rows, first)
    return in_order(Trace(trace.meta, whole, trace.telemetry))


def take(trace: Trace, rows: NDArray[np.intp]) -> Trace:
    """The trace with the request rows of these indices, in this order."""
    return Trace(trace.meta, {name: column[rows] for name, column in trace.requests.items()}, trace.telemetry)


def in_order(trace: Trace) -> Trace:
    """The trace with its rows in order of due time; itself when they are."""
    due = trace.requests["due"]
    return trace if (due[1:] >= due[:-1]).all() else take(trace, np.argsort(due, kind="stable"))


def _grouped(trace: Trace) -> tuple[Mapping[str, Column], NDArray[np.intp]]:
    """Rows by frame and, within it, in the order its models ran; and where each frame starts in them."""
    rows = trace.requests
    frame, batched = rows["frame"], rows["batched"]
    step = np.diff(frame)
    if not ((step > 0) | ((step == 0) & (np.diff(batched) >= 0))).all():
        order = np.lexsort((batched, frame))
        rows = take(trace, order).requests
    return rows, np.flatnonzero(np.diff(rows["frame"], prepend=-1))


def _filled(r: Mapping[str, Column]) -> dict[str, Column]:
    """The stamps after `due`; one that was not measured is the one before it."""
    stamps, last = {}, np.maximum(r["due"], r["available"])
    for name in _STAMPS:
        last = np.where(r[name] < 0, last, r[name])
        stamps[name] = last
    return stamps


def _taken(r: Mapping[str, Column], captured: Column) -> Column:
    """When the taker began with the frame: for frames taken together, when it began with the first of them.

    The worker that decodes a batch itself takes its frames one after the other: they share worker, available and due,
    and waiting for the pictures before one's own is decoding, not waking up.
    """
    if len(captured) == 0 or r["batch_size"].max() <= 1:
        return captured
    order = np.lexsort((captured, r["due"], r["available"], r["worker"]))
    keys = np.stack([r[name][order] for name in ("worker", "available", "due")])
    new = np.any(np.diff(keys, prepend=keys[:, :1] - 1), axis=0) | (keys[1] < 0)
    taken = np.empty_like(captured)
    taken[order] = captured[order][np.maximum.accumulate(np.where(new, np.arange(len(new)), 0))]
    return taken


def _others(r: Mapping[str, Column], stamp: Mapping[str, Column]) -> Column:
    """How long, of the wait from queued to batched, models of the same frame ran that came before."""
    queued, batched, frame = stamp["queued"], stamp["batched"], r["frame"]
    others = np.zeros_like(queued)
    if len(frame) == 0 or r["model"].min() == r["model"].max():
        return others
    order = np.lexsort((batched, frame))
    new = np.diff(frame[order], prepend=-1) != 0
    first = np.maximum.accumulate(np.where(new, np.arange(len(new)), 0))
    before = np.roll(_running_max(r["delivered"][order], new), 1) - batched[order][first]
    others[order] = np.where(new, 0, before)
    return np.clip(others, 0, np.maximum(batched - queued, 0))


def _running_max(values: Column, new: NDArray[np.bool_]) -> Column:
    """Running maximum that starts again where `new` is true, by doubling steps within the short groups."""
    result: Column = values.copy()
    group, step = np.cumsum(new), 1
    while step < len(values) and (same := group[step:] == group[:-step]).any():
        result[step:] = np.where(same, np.maximum(result[step:], result[:-step]), result[step:])
        step *= 2
    return result


def _laid(rows: Mapping[str, Column], first: NDArray[np.intp]) -> dict[str, Column]:
    """Stamps from batched to delivered of each frame, with the stages of its models laid end to end."""
    new = np.zeros(len(rows["due"]), dtype=bool)
    new[first] = True
    stamp = _filled(rows) | {"delivered": rows["delivered"]}
    before = np.roll(_running_max(stamp["delivered"], new), 1)
    last = np.where(new, stamp["queued"], before)
    end = np.where(new, np.iinfo(np.int64).min, before)
    laid, at = {}, stamp["queued"][first]
    for name in ("batched", "started", "enqueued", "finished", "delivered"):
        reached = np.maximum(stamp[name], end)
        at = at + np.add.reduceat(reached - last, first)
        laid[name], last = at, reached
    return laid


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
