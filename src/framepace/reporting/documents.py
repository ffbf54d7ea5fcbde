"""The `--json` objects: one a verb, with a schema name, units in the key names, and strict JSON (no NaN)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from framepace.facts.base import Fact
from framepace.facts.bounds import Bound, Ceilings, NodeBound
from framepace.facts.capacity import Capacity, CapacityPoint
from framepace.facts.check import Check
from framepace.facts.device import DeviceSummary, Spread
from framepace.facts.finding import (
    Account,
    AccountLine,
    Expectation,
    ExpectationPart,
    Explanation,
    Finding,
    Intervention,
)
from framepace.facts.model import Layer
from framepace.facts.summary import Comparison, Cost, ModelSummary, Outlier, Percentile, StageShare, Summary, Tier
from framepace.facts.sweep import Sweep
from framepace.facts.trace import Trace

Document = dict[str, Any]

# Facts hold base units under short names; a reader of JSON sees the unit in the key.
_KEYS: Mapping[type, Mapping[str, str]] = {
    Percentile: {"estimate": "latency_ns"},
    StageShare: {"median": "median_ns", "mean": "mean_ns", "p99": "p99_ns"},
    Tier: {"level": "level_ns", "level_end": "level_end_ns"},
    Outlier: {"latency": "latency_ns", "excess": "excess_ns"},
    ModelSummary: {"mean": "mean_ns", "cpu": "cpu_ns", "parts": "parts_ns"},
    Summary: {
        "throughput": "throughput_fps",
        "budget": "budget_ns",
        "missed": "missed_share",
        "process_cpu": "process_cpu_ns",
        "neighbours_cpu": "neighbours_cpu_share",
        "pacer_error": "pacer_error_ns",
    },
    Cost: {
        "startup": "startup_ns",
        "models": "models_ns",
        "computing": "computing_ns",
        "busy": "busy_share",
        "cores": "cpu_cores",
        "waiting": "waiting_threads",
        "memory": "memory_bytes",
        "device_memory": "device_memory_bytes",
    },
    DeviceSummary: {"sm_clock": "sm_clock_mhz", "busy": "busy_share", "overlap": "overlap_share"},
    Layer: {"time": "time_ns"},
    Spread: {"median": "median_ns", "p99": "p99_ns"},
    Expectation: {"said": "said_ns", "reproduced": "reproduced_ns", "seen": "seen_ns"},
    ExpectationPart: {"interval": "interval_ns"},
    AccountLine: {"interval": "interval_ns"},
    Account: {"model": "model_ns", "pipeline": "pipeline_ns", "stream": "stream_ns", "unexplained": "unexplained_ns"},
    Comparison: {"stages": "stages_ns"},
    Bound: {name: f"{name}_ns" for name in ("compute", "memory", "launches", "floor", "measured")},
    NodeBound: {"floor": "floor_ns", "measured": "measured_ns"},
    Capacity: {"budget": "budget_ns", "fps": "target_fps"},
    CapacityPoint: {
        "late": "late_share",
        "lost": "lost_count",
        "p99": "p99_ns",
        "throughput": "throughput_fps",
        "cpu": "cpu_cores",
    },
    Ceilings: {"peaks": "peaks_flops_s", "bandwidth": "bandwidth_bytes_s", "launch": "launch_ns"},
}


def dumps(document: Document) -> str:
    """The document as strict JSON text, indented; a number that JSON cannot hold is null."""
    return json.dumps(document, indent=2, allow_nan=False)


def explain_document(explanation: Explanation, trace: str | None = None, **paths: str) -> Document:
    """framepace.explain/1. `trace` is the path of the stream's trace; `paths` name what else was written."""
    e = explanation
    return {
        "schema": "framepace.explain/1",
        "trace": trace,
        "class": e.bottleneck,
        "shares": e.shares,
        "verdict": e.verdict,
        "met": e.met,
        "account": plain(e.account),
        "expectation": plain(e.expectation),
        "bounds": [{**plain(b), **_distance(b)} for b in e.bounds],
        "findings": [_finding(f) for f in e.findings],
        "not_tested": plain(e.not_tested),
        "plan": plain(e.plan),
        "summaries": plain(e.summaries),
        "traces": list(e.traces),
        "seconds": plain(e.seconds),
        "notes": list(e.notes),
        "paths": paths,
    }


def bench_document(
    summary: Summary, trace: str | None = None, layers: Mapping[str, Sequence[Layer]] | None = None, **paths: str
) -> Document:
    """framepace.bench/1: `rows` has one flat row for the whole frames and one for each model."""
    rows = [_row("frames", summary.frames), *(_row(m.model, m) for m in summary.models)]
    told = {"rows": rows, "layers": plain(layers or {}), "summary": plain(summary), "paths": paths}
    return {"schema": "framepace.bench/1", "trace": trace, **told}


def sweep_document(sweep: Sweep) -> Document:
    """framepace.sweep/1: one flat row a cell, its settings and then its numbers or its error."""
    rows = [
        {
            "settings": plain(cell.settings),
            "trace": cell.trace,
            "error": cell.error,
            "why": cell.why,
            **({} if cell.summary is None else _cell(cell.summary)),
        }
        for cell in sweep.cells
    ]
    return {"schema": "framepace.sweep/1", "grid": plain(sweep.grid), "rows": rows, "interrupted": sweep.interrupted}


def capacity_document(capacity: Capacity) -> Document:
    """framepace.capacity/1: the largest count of cameras that holds, and `points`, one for each count."""
    told: Document = plain(capacity)
    return {"schema": "framepace.capacity/1", **told, "fits": capacity.fits, "exact": capacity.exact}


def compare_document(comparison: Comparison) -> Document:
    """framepace.compare/1."""
    return {"schema": "framepace.compare/1", **plain(comparison)}


def doctor_document(checks: Sequence[Check], machine: Fact | None = None) -> Document:
    """framepace.doctor/1."""
    return {"schema": "framepace.doctor/1", "checks": plain(checks), "machine": plain(machine)}


def report_document(report: str, traces: Sequence[Trace], summaries: Sequence[Summary]) -> Document:
    """framepace.report/1: where the HTML is, and what is in it."""
    told = [{"trace": t.meta.id, "summary": plain(s)} for t, s in zip(traces, summaries, strict=True)]
    return {"schema": "framepace.report/1", "report": report, "traces": told}


def plain(value: Any) -> Any:
    """Facts, arrays and numbers as what strict JSON can hold; keys get their units, non-finite numbers become null."""
    if isinstance(value, Fact):
        keys = _KEYS.get(type(value), {})
        return {keys.get(f.name, f.encode_name): plain(getattr(value, f.name)) for f in msgspec.structs.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _distance(b: Bound) -> Document:
    return {"times": plain(b.times), "peak_share": plain(b.peak_share), "bandwidth_share": plain(b.bandwidth_share)}


def _finding(f: Finding) -> Document:
    document: Document = plain(f)
    return {**document, "intervention": None if f.intervention is None else _intervention(f.intervention)}


def _intervention(i: Intervention) -> Document:
    return {
        "changed": plain(i.changed),
        "metric": i.metric,
        "unit": i.unit,
        "before": plain(i.before.value),
        "before_interval": plain((i.before.low, i.before.high)),
        "after": plain(i.after.value),
        "interval": plain((i.after.low, i.after.high)),
        "ratio": plain(i.ratio.value),
        "ratio_interval": plain((i.ratio.low, i.ratio.high)),
        "rounds": i.rounds,
    }


def _row(name: str, m: ModelSummary) -> Document:
    row = {"model": name, "requests": m.requests, "effective": m.effective, "mean_ns": plain(m.mean)}
    row["outlier_share"] = plain(m.outlier_share)
    for p in m.percentiles:
        key = f"p{p.q:g}"
        for end, field in (("", "value"), ("_low", "low"), ("_high", "high")):
            row[f"{key}{end}_ns"] = None if p.estimate is None else plain(getattr(p.estimate, field))
    return row | {f"{name}_count": count for name, count in m.outcomes.items()}


def _cell(s: Summary) -> Document:
    rest = {"throughput": s.throughput, "missed": s.missed, "process_cpu": s.process_cpu, "budget": s.budget}
    keys = _KEYS[Summary]
    numbers = {keys[name]: plain(value) for name, value in rest.items()}
    numbers |= {"seconds": plain(s.seconds), "cost": plain(s.cost)}
    return {**_row("frames", s.frames), **numbers, "parts_ns": plain(s.frames.parts), "devices": plain(s.devices)}
