"""For tests of framepace and of what is built on it: a virtual clock and made-up traces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from framepace.clock.virtual import VirtualClock
from framepace.facts.machine import Machine
from framepace.facts.model import ModelSpec, TensorSpec
from framepace.facts.plan import ModelPlan, Plan, Target
from framepace.facts.trace import REQUEST_COLUMNS, TELEMETRY_COLUMNS, Column, Trace, TraceMeta
from framepace.facts.workload import Closed, Paced, Workload
from framepace.units import NS_PER_MS, NS_PER_S

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


_STAGE_STAMPS = ("captured", "decoded", "queued", "batched", "started", "finished", "delivered")
_READING = ("captured", "decoded", "queued")
_ZERO_COLUMNS = ("source", "worker", "switched", "preempted", "faults", "gc", "outcome", "cause", "marks")
_STAGE_NAMES = ("wake-up", "decode", "hand-over", "queue", "prepare", "infer", "finish")


def make_trace(
    latency: ArrayLike | None = None,
    *,
    stages: Mapping[str, ArrayLike] | None = None,
    models: Sequence[str] = ("model",),
    due: ArrayLike | None = None,
    fps: float | None = 30.0,
    columns: Mapping[str, ArrayLike] | None = None,
    telemetry: Mapping[str, ArrayLike] | None = None,
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
    spent = {name: np.asarray(values, dtype=np.int64) for name, values in (stages or {}).items()}
    count = max([np.size(v) for v in spent.values()] + [0 if latency is None else np.size(latency)])
    spent = {name: np.broadcast_to(values, count) for name, values in spent.items()}
    if latency is not None:
        remainder = np.broadcast_to(np.asarray(latency, dtype=np.int64), count) - _once(spent, len(models))
        spent["infer"] = spent.get("infer", 0) + remainder // len(models)
    whole = _once(spent, len(models))
    times = np.asarray(_due(whole, fps) if due is None else due, dtype=np.int64)
    if fps is None and "workload" not in meta:
        meta["workload"] = Workload(load=Closed())
    rows = _rows(times, spent, len(models))
    rows |= {k: np.broadcast_to(np.asarray(v, dtype=np.int64), count * len(models)) for k, v in (columns or {}).items()}
    return Trace(make_meta(models, **meta), {name: rows[name] for name in REQUEST_COLUMNS}, _telemetry(telemetry or {}))


def _once(spent: Mapping[str, Column], models: int) -> Column | int:
    """Time of a frame over all its models."""
    return sum((v * (models if k in ("prepare", "infer", "finish") else 1) for k, v in spent.items()), start=0)


def _due(latency: NDArray[np.int64] | int, fps: float | None) -> NDArray[np.int64]:
    latency = np.atleast_1d(np.asarray(latency, dtype=np.int64)) if np.ndim(latency) else np.empty(0, dtype=np.int64)
    if fps is None:
        return NS_PER_S + np.cumsum(latency) - latency
    return NS_PER_S + (np.arange(len(latency)) * (NS_PER_S / fps)).astype(np.int64)


def _rows(due: Column, spent: Mapping[str, Column], models: int) -> dict[str, Column]:
    """All request columns, frame by frame, models within."""
    count = len(due)
    backlog = spent.get("backlog", np.zeros(count, dtype=np.int64))
    early = due - NS_PER_MS // 10  # the worker was there a moment before
    available = np.where(backlog > 0, due + backlog, early)
    rows: dict[str, Column] = {name: np.full(count * models, -1, dtype=np.int64) for name in REQUEST_COLUMNS}
    rows |= _stamps(due + backlog, spent, models)
    rows |= {name: np.zeros(count * models, dtype=np.int64) for name in _ZERO_COLUMNS}
    rows["due"] = np.repeat(due, models)
    rows["available"] = np.repeat(available, models)
    rows["enqueued"] = rows["finished"]
    rows["frame"] = np.repeat(np.arange(count), models)
    rows["model"] = np.tile(np.arange(models), count)
    rows["batch_id"] = np.arange(count * models)
    rows["batch_size"] = np.ones(count * models, dtype=np.int64)
    rows["cpu"] = rows["delivered"] - rows["batched"]
    return rows


def _stamps(begin: Column, spent: Mapping[str, Column], models: int) -> dict[str, Column]:
    """The stamps that stages end with: a frame is read once, then put through its models in turn."""
    stamps = {name: np.empty((len(begin), models), dtype=np.int64) for name in _STAGE_STAMPS}
    at = begin
    for model in range(models):
        for name, stage in zip(_STAGE_STAMPS, _STAGE_NAMES, strict=True):
            if model and name in _READING:
                stamps[name][:, model] = stamps[name][:, 0]
                continue
            if not model or name != "batched":  # the later models begin where the one before ended
                at = at + spent.get(stage, 0)
            stamps[name][:, model] = at
    return {name: values.ravel() for name, values in stamps.items()}


def _telemetry(columns: Mapping[str, ArrayLike]) -> dict[str, Column]:
    count = max((np.size(v) for v in columns.values()), default=0)
    filled = {name: np.broadcast_to(np.asarray(v, dtype=np.int64), count) for name, v in columns.items()}
    return {name: filled.get(name, np.full(count, -1, dtype=np.int64)) for name in TELEMETRY_COLUMNS}
