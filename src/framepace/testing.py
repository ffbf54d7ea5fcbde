"""For tests of framepace and of what is built on it: a virtual clock and made-up traces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from framepace.clock.virtual import VirtualClock
from framepace.facts.machine import Machine
from framepace.facts.model import ModelSpec, TensorSpec
from framepace.facts.plan import ModelPlan, Plan, Target
from framepace.facts.trace import REQUEST_COLUMNS, TELEMETRY_COLUMNS, Column, Trace, TraceMeta
from framepace.facts.workload import Closed, Paced, Workload
from framepace.units import NS_PER_MS, NS_PER_S

Values = Mapping[str, ArrayLike]
"""Numbers by name: a number for all rows, or one for each."""

FakeClock = VirtualClock
"""A virtual clock: time passes only when someone waits, so tests assert exact times. FakeClock(start, oversleep)."""


def make_machine(**changes: Any) -> Machine:
    """A made-up machine of 4 cores and no GPU; `changes` are fields of Machine."""
    fields: dict[str, Any] = {
        "cpu": "Virtual CPU",
        "cores_physical": 2,
        "cores_logical": 4,
        "memory_bytes": 8 << 30,
        "system": "Linux",
        "kernel": "6.0",
        "python": "3.11.0",
    }
    return Machine(**fields | changes)


def make_model(name: str = "model", **changes: Any) -> ModelSpec:
    """A made-up detector with one 1x3x64x64 image input; `changes` are fields of ModelSpec."""
    fields: dict[str, Any] = {
        "location": f"{name}.onnx",
        "sha256": name,
        "inputs": (TensorSpec(name="image", dtype="float32", shape=(1, 3, 64, 64)),),
        "outputs": (TensorSpec(name="boxes", dtype="float32", shape=(1, 4)),),
    }
    return ModelSpec(name=name, **fields | changes)


def make_meta(models: Sequence[str] = ("model",), **changes: Any) -> TraceMeta:
    """Meta-data of a finished run of `models` at 30 fps in scope 'stream'.

    `changes` are fields of TraceMeta, and `plan` or `program`, the subject. Of a program no model file is known.
    """
    program = changes.pop("program", None)
    plan = changes.pop("plan", None) or _plan(models)
    fields: dict[str, Any] = {
        "id": "made-up",
        "created": "2026-01-01T00:00:00Z",
        "machine": make_machine(),
        "models": tuple(make_model(name) for name in models),
        "workload": Workload(load=Paced(fps=30.0)),
        "sources": ("synthetic",),
        "stopped": "finished",
    }
    if program is not None:
        return TraceMeta(subject_program=program, **fields | {"models": ()} | changes)
    return TraceMeta(subject_plan=plan, **fields | changes)


def _plan(models: Sequence[str]) -> Plan:
    """A plan of `models` for 30 fps."""
    return Plan(models=tuple(ModelPlan(name=n, model=f"{n}.onnx") for n in models), target=Target(fps=30.0))


# The stamp that each stage ends with, and the stage.
_STAGES = {
    "captured": "wake-up",
    "decoded": "decode",
    "queued": "hand-over",
    "batched": "queue",
    "started": "prepare",
    "finished": "infer",
    "delivered": "finish",
}
_READING = ("captured", "decoded", "queued")
_PER_MODEL = ("prepare", "infer", "finish")
_ZERO_COLUMNS = ("source", "worker", "switched", "preempted", "faults", "gc", "outcome", "cause", "marks")


def make_trace(
    latency: ArrayLike | None = None,
    *,
    stages: Values | None = None,
    models: Sequence[str] = ("model",),
    due: ArrayLike | None = None,
    fps: float | None = 30.0,
    columns: Values | None = None,
    telemetry: Values | None = None,
    **meta: Any,
) -> Trace:
    """A made-up trace: frames one after the other, each put through `models` in turn by one worker.

    Args:
        latency: ns, shape (frames,): from due to the delivery of the last model; what `stages` leave is 'infer', in
            equal parts for each model.
        stages: ns by name ('backlog', 'wake-up', 'decode', 'hand-over', 'queue', 'prepare', 'infer', 'finish'), a
            number or shape (frames,); 'prepare', 'infer' and 'finish' are spent for each model. Without `latency`
            the latency is their sum.
        due: ns, shape (frames,); by default on the grid of `fps`, or, when that is None, each frame when the one
            before is delivered (a closed loop).
        columns: request columns that replace the made-up ones: a number, or one value per row (frame by frame, models
            within).
        telemetry: telemetry columns, all of one length; those left out are -1, or the host for 'device'.
        meta: fields of TraceMeta that replace those of `make_meta`.
    """
    if fps is None:
        meta.setdefault("workload", Workload(load=Closed()))
    spent = _spent(latency, stages or {}, len(models))
    requests = _requests(spent, due, fps, len(models), columns)
    return Trace(make_meta(models, **meta), requests, _telemetry(telemetry or {}))


def _requests(
    spent: Mapping[str, Column],
    due: ArrayLike | None,
    fps: float | None,
    models: int,
    columns: Values | None,
) -> dict[str, Column]:
    """The request columns; those in `columns` replace the others."""
    if due is None:
        due = _due(_per_frame(spent, models), fps)
    rows = _rows(np.asarray(due, dtype=np.int64), spent, models)
    rows |= _columns(columns or {}, len(rows["due"]))
    return {name: rows[name].copy() for name in REQUEST_COLUMNS}  # tests write into them


def _spent(latency: ArrayLike | None, stages: Values, models: int) -> dict[str, Column]:
    """Durations by stage, each of shape (frames,); 'infer' takes what `latency` leaves."""
    sizes = [np.size(values) for values in stages.values()]
    if latency is not None:
        sizes.append(np.size(latency))
    count = max(sizes, default=0)
    spent = _columns({"infer": 0, **stages}, count)
    if latency is not None:
        whole = np.broadcast_to(np.asarray(latency, dtype=np.int64), count)
        spent["infer"] = spent["infer"] + (whole - _per_frame(spent, models)) // models
    return spent


def _columns(values: Values, count: int) -> dict[str, Column]:
    """Each as int64 of shape (count,)."""
    return {name: np.broadcast_to(np.asarray(value, dtype=np.int64), count) for name, value in values.items()}


def _per_frame(spent: Mapping[str, Column], models: int) -> Column:
    """Durations of frames over all their models, shape (frames,)."""
    total = np.zeros_like(spent["infer"])
    for name, durations in spent.items():
        times = models if name in _PER_MODEL else 1
        total = total + durations * times
    return total


def _due(latency: Column, fps: float | None) -> Column:
    if fps is None:
        return NS_PER_S + np.cumsum(latency) - latency
    return NS_PER_S + (np.arange(len(latency)) * (NS_PER_S / fps)).astype(np.int64)


def _rows(due: Column, spent: Mapping[str, Column], models: int) -> dict[str, Column]:
    """All request columns, frame by frame, models within."""
    count = len(due)
    backlog = spent.get("backlog", np.zeros(count, dtype=np.int64))
    stamps = _stamps(due + backlog, spent, models)
    return {
        **_defaults(count * models),
        **stamps,
        **_numbers(count, models),
        "due": np.repeat(due, models),
        "available": np.repeat(_available(due, backlog), models),
        "enqueued": stamps["finished"],
        "cpu": stamps["delivered"] - stamps["batched"],
    }


def _defaults(rows: int) -> dict[str, Column]:
    """Every column as if nothing was measured and nothing happened."""
    return _columns(dict.fromkeys(REQUEST_COLUMNS, -1) | dict.fromkeys(_ZERO_COLUMNS, 0), rows)


def _numbers(count: int, models: int) -> dict[str, Column]:
    """The frame, the model and the batch of each row; every batch is one frame."""
    return {
        "frame": np.repeat(np.arange(count), models),
        "model": np.tile(np.arange(models), count),
        "batch_id": np.arange(count * models),
        "batch_size": np.ones(count * models, dtype=np.int64),
    }


def _available(due: Column, backlog: Column) -> Column:
    """When the worker was free: a moment before the frame was due, or after its backlog."""
    return np.where(backlog > 0, due + backlog, due - NS_PER_MS // 10)


def _stamps(begin: Column, spent: Mapping[str, Column], models: int) -> dict[str, Column]:
    """The stamps that stages end with: a frame is read once, then put through its models in turn."""
    stamps = {name: np.empty((len(begin), models), dtype=np.int64) for name in _STAGES}
    time = begin
    for name in (*_READING, "batched"):
        time = time + spent.get(_STAGES[name], 0)
        stamps[name][:] = time[:, None]
    for model in range(models):
        time = _put_through(model, time, spent, stamps)
    return {name: values.ravel() for name, values in stamps.items()}


def _put_through(model: int, begin: Column, spent: Mapping[str, Column], stamps: Mapping[str, Column]) -> Column:
    """Write the stamps of one model, for which frames are taken at `begin`; when they are delivered."""
    stamps["batched"][:, model] = begin
    time = begin
    for name in ("started", "finished", "delivered"):
        time = time + spent.get(_STAGES[name], 0)
        stamps[name][:, model] = time
    return time


def _telemetry(columns: Values) -> dict[str, Column]:
    count = max((np.size(values) for values in columns.values()), default=0)
    table = _columns(dict.fromkeys(TELEMETRY_COLUMNS, -1), count) | _columns(columns, count)
    return {name: table[name] for name in TELEMETRY_COLUMNS}
