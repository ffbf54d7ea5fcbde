"""The `--json` objects: one per verb, with a schema name, units in the key names, and strict JSON (no NaN)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import msgspec
import numpy as np

from framepace.facts.accuracy import AccuracyCheck
from framepace.facts.address import without_secrets
from framepace.facts.base import Fact
from framepace.facts.bounds import Bound, Ceilings, NodeBound
from framepace.facts.calibrating import CalibrationStudy
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
from framepace.facts.late import Growth, LateFrames, Receipt
from framepace.facts.layers import EngineLayer, EngineView, Exploration
from framepace.facts.log import Beside, LogExplanation
from framepace.facts.model import Layer
from framepace.facts.plan import Plan
from framepace.facts.programtrial import ProgramExplanation
from framepace.facts.sensitivity import Sensitivity
from framepace.facts.summary import (
    Comparison,
    Cost,
    Estimate,
    LayerChange,
    ModelSummary,
    Outlier,
    Percentile,
    StageShare,
    Summary,
    Tier,
)
from framepace.facts.sweep import Cell, Settling, Sweep
from framepace.facts.trace import Trace
from framepace.facts.tuning import Candidate, Figures, Trial, Tuning
from framepace.reporting.views.plan import PlanView

Document = dict[str, Any]
_NO_ESTIMATE = Estimate(value=math.nan)  # null in JSON

# Facts hold base units under short names; a reader of JSON sees the unit in the key.
_KEYS: Mapping[type, Mapping[str, str]] = {
    Percentile: {"estimate": "latency_ns"},
    StageShare: {"median": "median_ns", "mean": "mean_ns", "p99": "p99_ns"},
    Tier: {"level": "level_ns", "level_end": "level_end_ns"},
    Outlier: {"latency": "latency_ns", "excess": "excess_ns", "more": "more_ns"},
    ModelSummary: {"mean": "mean_ns", "cpu": "cpu_ns", "parts": "parts_ns"},
    Summary: {
        "throughput": "throughput_fps",
        "budget": "budget_ns",
        "missed": "missed_share",
        "process_cpu": "process_cpu_ns",
        "neighbours_cpu": "neighbours_cpu_share",
        "pacer_error": "pacer_error_ns",
        "failed": "failed_share",
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
        "memory_growth": "memory_growth_bytes",
        "device_memory_growth": "device_memory_growth_bytes",
    },
    Settling: {"level": "level_ns", "settled": "settled_ns", "back_to_back": "back_to_back_ns"},
    DeviceSummary: {"sm_clock": "sm_clock_mhz", "busy": "busy_share", "overlap": "overlap_share"},
    Layer: {"time": "time_ns"},
    EngineLayer: {"time": "time_ns", "floor": "floor_ns"},
    EngineView: {"inference": "inference_ns"},
    Spread: {"median": "median_ns", "p99": "p99_ns"},
    Expectation: {"said": "said_ns", "reproduced": "reproduced_ns", "seen": "seen_ns"},
    ExpectationPart: {"interval": "interval_ns"},
    AccountLine: {"interval": "interval_ns"},
    Account: {"model": "model_ns", "pipeline": "pipeline_ns", "stream": "stream_ns", "unexplained": "unexplained_ns"},
    Comparison: {"stages": "stages_ns", "difference": "difference_ns"},
    LayerChange: {"a": "a_ns", "b": "b_ns"},
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
    Figures: {
        "p99": "p99_ns",
        "cpu": "cpu_ns",
        "energy": "energy_j",
        "power": "power_w",
        "device_memory": "device_memory_bytes",
        "missed": "missed_share",
        "throughput": "throughput_fps",
        "neighbours": "neighbours_cpu_share",
        "stages": "stages_ns",
    },
    Beside: {"late": "late_median", "other": "other_median"},
    LateFrames: {"more": "more_ns"},
    Growth: {"late": "late_ns", "other": "other_ns"},
    Receipt: {"late": "latency_ns", "more": "more_ns"},
    Sensitivity: {"added": "added_ns", "mean": "mean_ns_per_ns", "p99": "p99_ns_per_ns", "late": "late_share_per_ms"},
    Ceilings: {"peaks": "peaks_flops_s", "bandwidth": "bandwidth_bytes_s", "launch": "launch_ns"},
}


def dumps(document: Document) -> str:
    """The document as strict JSON text, indented, without secrets; a number that JSON cannot hold is null."""
    return json.dumps(without_secrets(document), indent=2, allow_nan=False)


def explain_document(explanation: Explanation, trace: str | None = None, **paths: str) -> Document:
    """framepace.explain/1. `trace` is the path of the stream's trace; `paths` are the other files, by name."""
    return {
        "schema": "framepace.explain/1",
        "trace": trace,
        "class": explanation.bottleneck,
        "shares": explanation.shares,
        "verdict": explanation.verdict,
        "met": explanation.met,
        "account": plain(explanation.account),
        "expectation": plain(explanation.expectation),
        "late": plain(explanation.late),
        "receipts": plain(explanation.receipts),
        "what_if": plain(explanation.what_if),
        "applied": plain(explanation.applied),
        "remedies": plain(explanation.remedies),
        "answers": plain(explanation.answers),
        "bounds": [{**plain(bound), **_distance(bound)} for bound in explanation.bounds],
        "findings": [_finding(finding) for finding in explanation.findings],
        "not_tested": plain(explanation.not_tested),
        "plan": plain(explanation.plan),
        "summaries": plain(explanation.summaries),
        "traces": list(explanation.traces),
        "seconds": plain(explanation.seconds),
        "notes": list(explanation.notes),
        "paths": paths,
    }


def explain_log_document(explanation: LogExplanation, **paths: str) -> Document:
    """framepace.explain-log/1: how a log was read, its numbers, and what is suspected; nothing in it is proven."""
    return {"schema": "framepace.explain-log/1", **plain(explanation), "paths": paths}


def attach_document(explanation: ProgramExplanation) -> Document:
    """framepace.attach-explain/1: what was tried in a program, and its numbers as it is."""
    return {"schema": "framepace.attach-explain/1", **plain(explanation)}


def bench_document(
    summary: Summary, trace: str | None = None, layers: Mapping[str, Sequence[Layer]] | None = None, **paths: str
) -> Document:
    """framepace.bench/1: `rows` has one flat row for the whole frames and one for each model."""
    return {
        "schema": "framepace.bench/1",
        "trace": trace,
        "rows": [_row("frames", summary.frames), *(_row(model.model, model) for model in summary.models)],
        "layers": plain(layers or {}),
        "summary": plain(summary),
        "paths": paths,
    }


def sweep_document(sweep: Sweep) -> Document:
    """framepace.sweep/1: a flat row per cell, its settings and then its numbers or its error."""
    rows = [_sweep_row(cell) for cell in sweep.cells]
    return {
        "schema": "framepace.sweep/1",
        "grid": plain(sweep.grid),
        "rows": rows,
        "interrupted": sweep.interrupted,
        "notes": list(sweep.notes),
        "answers": list(sweep.answers),
    }


def _sweep_row(cell: Cell) -> Document:
    row = {"settings": plain(cell.settings), "trace": cell.trace, "error": cell.error, "why": cell.why}
    row |= {"settling": plain(cell.settling), "site": plain(cell.site)}
    if cell.summary is not None:
        row |= _cell_numbers(cell.summary)
    return row


def capacity_document(capacity: Capacity) -> Document:
    """framepace.capacity/1: the largest camera count that holds, and `points`, one per count."""
    return {
        "schema": "framepace.capacity/1",
        **plain(capacity),
        "fits": capacity.fits,
        "exact": capacity.exact,
    }


def accuracy_document(check: AccuracyCheck) -> Document:
    """framepace.accuracy/1: both ways, and how far each output agrees; `passed` is the answer."""
    return {"schema": "framepace.accuracy/1", "passed": check.agreement.passed, **plain(check)}


def calibration_document(study: CalibrationStudy) -> Document:
    """framepace.calibrate/1: INT8 by several calibrations, the best of them; `passed` is the answer."""
    return {"schema": "framepace.calibrate/1", "passed": study.passed, **plain(study)}


def layers_document(exploration: Exploration, page: str | None = None) -> Document:
    """framepace.layers/1: one engine or two with their layers, `matches` of two, and the path of the page."""
    engines = [{**plain(e), "time_ns": plain(e.time), "floor_ns": plain(e.floor)} for e in exploration.engines]
    return {
        "schema": "framepace.layers/1",
        "engines": engines,
        "matches": plain(exploration.matches),
        "page": page,
    }


def compare_document(comparison: Comparison) -> Document:
    """framepace.compare/1."""
    return {"schema": "framepace.compare/1", **plain(comparison)}


def doctor_document(checks: Sequence[Check], machine: Fact | None = None) -> Document:
    """framepace.doctor/1."""
    return {"schema": "framepace.doctor/1", "checks": plain(checks), "machine": plain(machine)}


def report_document(
    traces: Sequence[Trace], summaries: Sequence[Summary], report: str, perfetto: str | None = None
) -> Document:
    """framepace.report/1: the path of the HTML file and its contents, and that of the file for Perfetto."""
    pairs = zip(traces, summaries, strict=True)
    rows = [{"trace": trace.meta.id, "summary": plain(summary)} for trace, summary in pairs]
    return {"schema": "framepace.report/1", "report": report, "perfetto": perfetto, "traces": rows}


def plain(value: Any) -> Any:
    """Facts, arrays and numbers as strict JSON values; keys get their units, non-finite numbers become null."""
    match value:
        case Fact():
            return _plain_fact(value)
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case np.ndarray() | np.generic():
            return plain(value.tolist())
        case list() | tuple() | set() | frozenset():
            return [plain(item) for item in value]
        case float():
            return value if math.isfinite(value) else None
        case None | bool() | int() | str():
            return value
    return str(value)


def _plain_fact(fact: Fact) -> Document:
    keys = _KEYS.get(type(fact), {})
    fields = msgspec.structs.fields(fact)
    return {keys.get(field.name, field.encode_name): plain(getattr(fact, field.name)) for field in fields}


def _distance(bound: Bound) -> Document:
    return {
        "times": plain(bound.times),
        "peak_share": plain(bound.peak_share),
        "bandwidth_share": plain(bound.bandwidth_share),
    }


def _finding(finding: Finding) -> Document:
    document: Document = plain(finding)
    if finding.intervention is not None:
        document["intervention"] = _intervention(finding.intervention)
    return document


def _intervention(trial: Intervention) -> Document:
    return {
        "changed": plain(trial.changed),
        "metric": trial.metric,
        "unit": trial.unit,
        "before": plain(trial.before.value),
        "before_interval": plain((trial.before.low, trial.before.high)),
        "after": plain(trial.after.value),
        "interval": plain((trial.after.low, trial.after.high)),
        "ratio": plain(trial.ratio.value),
        "ratio_interval": plain((trial.ratio.low, trial.ratio.high)),
        "rounds": trial.rounds,
    }


def _row(name: str, model: ModelSummary) -> Document:
    row = {
        "model": name,
        "requests": model.requests,
        "effective": model.effective,
        "mean_ns": plain(model.mean),
        "outlier_share": plain(model.outlier_share),
    }
    for percentile in model.percentiles:
        row |= _percentile(percentile)
    return row | {f"{outcome}_count": count for outcome, count in model.outcomes.items()}


def _percentile(percentile: Percentile) -> Document:
    name = f"p{percentile.q:g}"
    value = percentile.estimate or _NO_ESTIMATE
    return {
        f"{name}_ns": plain(value.value),
        f"{name}_low_ns": plain(value.low),
        f"{name}_high_ns": plain(value.high),
        f"{name}_effective": percentile.effective,
    }


def _cell_numbers(summary: Summary) -> Document:
    return {
        **_row("frames", summary.frames),
        "throughput_fps": plain(summary.throughput),
        "missed_share": plain(summary.missed),
        "missed_interval": plain(None if summary.late is None else summary.late.interval),
        "process_cpu_ns": plain(summary.process_cpu),
        "budget_ns": plain(summary.budget),
        "seconds": plain(summary.seconds),
        "cost": plain(summary.cost),
        "parts_ns": plain(summary.frames.parts),
        "devices": plain(summary.devices),
        "served": plain(summary.served),
    }


def plan_document(view: PlanView, plan: Plan, path: str) -> Document:
    """framepace.plan-show/1: the plan, and one line per setting that is not the default."""
    same_machine = None if plan.machine is None else not view.warning
    return {
        "schema": "framepace.plan-show/1",
        "path": path,
        "format": plan.format,
        "target": {"fps": plan.target.fps, "p99_ms": plan.target.p99_ms, "budget_ms": plan.target.budget_ms},
        "machine": {"made_for": plan.machine, "same": same_machine},
        "warning": view.warning or None,
        "traces": list(plan.traces),
        "parts": [asdict(part) for part in view.parts],
    }


def tune_document(tuning: Tuning, **paths: str) -> Document:
    """framepace.tune/1: the goal, whether it is met, the best plan, and a row per candidate."""
    rows = [_candidate(candidate, number == tuning.best) for number, candidate in enumerate(tuning.candidates)]
    return {
        "schema": "framepace.tune/1",
        "goal": plain(tuning.goal),
        "met": tuning.met,
        "why": tuning.why,
        "shortfalls": list(tuning.shortfalls),
        "limit": tuning.limit,
        "plan": plain(tuning.plan),
        "rows": rows,
        "notes": list(tuning.notes),
        "seconds": plain(tuning.seconds),
        "interrupted": tuning.interrupted,
        "paths": paths,
    }


def _candidate(candidate: Candidate, best: bool) -> Document:
    return {
        "settings": plain(candidate.settings),
        "state": candidate.state,
        "best": best,
        "bound_fps": plain(candidate.bound),
        "measured": [_trial(trial) for trial in candidate.measured],
        "predicted": [_trial(trial) for trial in candidate.predicted],
        "error": candidate.error,
    }


def _trial(trial: Trial) -> Document:
    figures = plain(trial.figures)
    return {"level": trial.level, "met": trial.met, "trace": trial.trace, **figures}
