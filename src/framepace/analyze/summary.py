"""The summary of a trace: whole frames and each model, with what stood beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.analyze.device import device_summary
from framepace.analyze.outliers import find_outliers, others_share
from framepace.analyze.padding import padding, padding_notes
from framepace.analyze.stages import frame_trace, parts, per_frame_cpu, stages, take
from framepace.analyze.stats import Values, effective_size, percentiles
from framepace.analyze.strategies import cost
from framepace.analyze.tiers import find_tiers, with_beside
from framepace.facts.model import TensorSpec
from framepace.facts.summary import ModelSummary, StageShare, Summary
from framepace.facts.trace import Column, DropCause, Mark, Outcome, Trace
from framepace.facts.workload import load_fps
from framepace.units import NS_PER_MS, NS_PER_S

_PERCENTILES = (50, 90, 95, 99, 99.9)
_ALWAYS = ("decode", "queue", "prepare", "infer", "finish")  # told even where they are 0
# Telemetry counted since some start is told as a rate; the rest as medians.
_FAULTS = ("faults_minor", "faults_major")
_COUNTERS = ("process_cpu", "system_busy", "run_delay", "switched", "preempted", *_FAULTS, "gc_count", "gc")
_DEVICE_PARTS = ("h2d", "compute", "d2h", "host")
_NO_QUANTITY = ("time", "device", "event_reasons")


def summarize(trace: Trace) -> Summary:
    """The trace in numbers (see facts.summary): percentiles, stages, tiers and outliers, of frames and each model.

    Warm-up is counted and left out. `missed` is the share of frames not delivered within the budget, dropped and
    failed ones included; `neighbours_cpu` the share of the machine's CPU time that others took; `pacer_error` how
    late takers woke that were free before the frame was due. `telemetry` has medians, and rates a second ('_s') of
    counters. A trace with no measured request has zeros and refused percentiles.
    """
    models = _models(trace)  # before the whole frames are made: of a long trace both at once would fill the memory
    whole = frame_trace(trace)
    past = _past_warmup(whole)
    done = _delivered(past)
    frames = _model_summary("frames", len(whole), past, done, stages(done))
    seconds, budget = _seconds(done), _budget(trace)
    measured, telemetry = trace.measured(), _telemetry(done)
    return Summary(
        trace=trace.meta.id,
        scope=trace.meta.workload.scope,
        seconds=seconds,
        throughput=len(done) / seconds if seconds else 0.0,
        budget=budget,
        missed=_missed(past, done, budget),
        process_cpu=_process_cpu(done),
        neighbours_cpu=_neighbours(done),
        pacer_error=_pacer_error(done),
        frames=frames,
        models=models or (replace(frames, model=next(iter(trace.meta.names), "frames")),),
        telemetry=telemetry,
        devices=device_summary(trace, _sizes(trace)) if (trace.requests["compute"] >= 0).any() else (),
        cost=cost(measured, _all_host(trace), telemetry) if len(measured) else None,
        padding=padding(measured),
        notes=tuple(_notes(trace, frames)),
    )


def _models(trace: Trace) -> tuple[ModelSummary, ...]:
    """Each of several models; none for a single one, whose requests are the frames."""
    names = trace.meta.names
    if len(names) <= 1:
        return ()
    # Stages are of the whole trace: a model alone does not know that others of its frame ran before it.
    stage, r = stages(trace), trace.requests
    found = []
    for index, name in enumerate(names):
        rows = np.flatnonzero(r["model"] == index)
        rows = rows[np.argsort(r["due"][rows], kind="stable")]
        past = rows[(r["marks"][rows] & Mark.WARMUP) == 0]
        done = past[r["outcome"][past] == Outcome.OK]
        own = {stage_name: column[done] for stage_name, column in stage.items()}
        found.append(_model_summary(name, len(rows), take(trace, past), take(trace, done), own))
    return tuple(found)


def _model_summary(name: str, count: int, past: Trace, done: Trace, stage: Mapping[str, Column]) -> ModelSummary:
    """One series of `count` requests in order of due time: what is past warm-up, and what was delivered of that."""
    latency = done.latency
    tiers = find_tiers(latency)
    outliers, share = find_outliers(done, tiers)
    return ModelSummary(
        model=name,
        requests=len(done),
        effective=effective_size(latency),
        warmup=count - len(past),
        outcomes=_counts(past.requests["outcome"], Outcome.NAMES) or {"ok": 0},
        causes=_counts(past.requests["cause"], DropCause.NAMES),
        mean=_mean(latency),
        percentiles=percentiles(latency, _PERCENTILES),
        stages=_stages(stage, latency),
        tiers=with_beside(tiers, done),
        outliers=outliers,
        outlier_share=share,
        cpu=_mean(_cpu(done)),
        parts=_parts(done),
        marks=_marks(past.requests["marks"]),
    )


def _parts(done: Trace) -> dict[str, float]:
    """Means of the parts of 'infer', where every request has the device's times."""
    found = parts(done)
    return {name: _mean(found[name]) for name in _DEVICE_PARTS} if "compute" in found else {}


def _sizes(trace: Trace) -> dict[str, tuple[int, int]]:
    """Bytes to and from the device a frame, by model; 0 where a shape is not known."""
    if not trace.meta.is_plan:
        return {}
    pairs = zip(trace.meta.plan.models, trace.meta.models, strict=True)
    return {
        plan.name: (
            sum(_frame_bytes(t, plan.prepare.place == "graph") for t in spec.inputs) // plan.batch.max,
            sum(_frame_bytes(t, False) for t in spec.outputs) // plan.batch.max,
        )
        for plan, spec in pairs
        if plan.transfer != "device"
    }


def _frame_bytes(tensor: TensorSpec, folded: bool) -> int:
    """Bytes of a tensor; an image input whose preparation is in the graph arrives as uint8."""
    if not all(isinstance(d, int) for d in tensor.shape):
        return 0
    size = 1 if folded and len(tensor.shape) == 4 else np.dtype(tensor.dtype).itemsize
    return size * int(np.prod([int(d) for d in tensor.shape]))


def _past_warmup(trace: Trace) -> Trace:
    return _kept(trace, (trace.requests["marks"] & Mark.WARMUP) == 0)


def _delivered(trace: Trace) -> Trace:
    return _kept(trace, trace.requests["outcome"] == Outcome.OK)


def _kept(trace: Trace, keep: NDArray[np.bool_]) -> Trace:
    """The rows to keep; the trace itself when that is all, for a copy of a large one costs memory."""
    return trace if keep.all() else take(trace, np.flatnonzero(keep))


def _stages(stage: Mapping[str, Column], latency: Column) -> tuple[StageShare, ...]:
    if not len(latency):
        return ()
    told = ((name, values) for name, values in stage.items() if name in _ALWAYS or values.any())
    return tuple(_share(name, values, max(_mean(latency), 1.0)) for name, values in told)


def _share(name: str, values: Column, total: float) -> StageShare:
    median, p99 = np.quantile(values, [0.5, 0.99])
    mean = _mean(values)
    return StageShare(name=name, median=float(median), mean=mean, p99=float(p99), share=mean / total)


def _counts(codes: Column, names: Mapping[int, str]) -> dict[str, int]:
    """How often each code occurs, by its name; codes without a name are left out."""
    counts = np.bincount(codes[codes >= 0], minlength=max(names) + 1)
    return {name: int(counts[code]) for code, name in names.items() if name and counts[code]}


def _marks(marks: Column) -> dict[str, int]:
    counts = {name: int(np.count_nonzero(marks & bit)) for bit, name in Mark.NAMES.items() if bit != Mark.WARMUP}
    return {name: count for name, count in counts.items() if count}


def _cpu(done: Trace) -> Column:
    """CPU time a request of the rows where it was measured, ns."""
    cpu = per_frame_cpu(done.requests)
    return cpu[cpu >= 0]


def _mean(values: Values) -> float:
    return float(np.mean(values)) if len(values) else 0.0


def _span(done: Trace) -> tuple[int, int]:
    """From the first due time to the last delivery, ns."""
    return int(done.requests["due"].min()), int(done.requests["delivered"].max())


def _seconds(done: Trace) -> float:
    if not len(done):
        return 0.0
    start, end = _span(done)
    return (end - start) / NS_PER_S


def _budget(trace: Trace) -> float | None:
    """The frame budget in ns: the subject's target, else the period of the load."""
    budget, fps = trace.meta.subject.target.budget_ms, load_fps(trace.meta.workload.load)
    if budget is not None:
        return budget * NS_PER_MS
    return None if fps is None else NS_PER_S / fps


def _missed(past: Trace, done: Trace, budget: float | None) -> float | None:
    if budget is None or not len(past):
        return None
    return 1 - int(np.count_nonzero(done.latency <= budget)) / len(past)


def _pacer_error(done: Trace) -> dict[str, float]:
    r = done.requests
    waited = (r["available"] >= 0) & (r["available"] <= r["due"]) & (r["captured"] >= 0)
    error = stages(done)["wake-up"][waited]
    if not len(error):
        return {}
    found = {"median": float(np.median(error)), "max": float(error.max())}
    return found | ({"p99": float(np.quantile(error, 0.99))} if len(error) >= 100 else {})


def _all_host(trace: Trace) -> dict[str, Column]:
    """All telemetry of the host."""
    t = trace.telemetry
    return {name: column[t["device"] < 0] for name, column in t.items()}


def _host(done: Trace) -> dict[str, Column]:
    """Telemetry of the host while frames were measured; all of it when that is under two samples."""
    t = done.telemetry
    host = t["device"] < 0
    if len(done):
        start, end = _span(done)
        inside = host & (t["time"] >= start) & (t["time"] <= end)
        host = inside if np.count_nonzero(inside) >= 2 else host
    return {name: column[host] for name, column in t.items()}


def _process_cpu(done: Trace) -> float | None:
    """CPU time of the process a frame, ns: by telemetry, else that of the workers' threads."""
    host = _host(done)
    used = host["process_cpu"]
    if len(used) >= 2 and used.min() >= 0:
        first, last = host["time"][[0, -1]]
        frames = np.count_nonzero((done.requests["delivered"] > first) & (done.requests["delivered"] <= last))
        if frames:
            start, end = _span(done)  # samples may begin before the warm-up ended
            within = (min(last, end) - max(first, start)) / max(1, last - first)
            return float(used[-1] - used[0]) * float(within) / float(frames)
    cpu = _cpu(done)
    return _mean(cpu) if len(cpu) else None


def _neighbours(done: Trace) -> float | None:
    _, share = others_share(Trace(done.meta, done.requests, _host(done)))
    return _mean(share) if len(share) else None


def _telemetry(done: Trace) -> dict[str, float]:
    found: dict[str, float] = {}
    host = _host(done)
    for name, column in host.items():
        values = column[column >= 0]
        if name in _COUNTERS:
            found |= _rate(name, host)
        elif name not in _NO_QUANTITY and len(values):
            found[name] = float(np.median(values))
    return found


def _rate(name: str, host: Mapping[str, Column]) -> dict[str, float]:
    values, times = host[name], host["time"]
    if len(values) < 2 or values.min() < 0 or times[-1] <= times[0]:
        return {}
    return {f"{name}_s": float(values[-1] - values[0]) / float(times[-1] - times[0]) * NS_PER_S}


def _notes(trace: Trace, frames: ModelSummary) -> Iterator[str]:
    """Sentences a reader must see beside the numbers."""
    if trace.meta.simulated:
        yield "simulated: a model of a device made these durations, nothing was measured"
    yield from trace.meta.notes
    if not trace.meta.warmup_stable:
        yield "warm-up ran out of time before the latency was steady"
    if not trace.meta.whole:
        yield f"the run did not end as planned: {trace.meta.stopped}"
    if not frames.requests:
        yield "no request was measured"
    for name, count in frames.marks.items():
        yield f"{count:,} frames are marked: {name}"
    yield from padding_notes(trace)
    if 0 < frames.effective < frames.requests / 10:
        yield f"latencies of neighbours are alike: {frames.requests:,} frames are worth {frames.effective:,}"
