"""The summary of a trace: whole frames and each model, with telemetry, devices and costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.analyze.coincidence import others_share
from framepace.analyze.correlation import Values
from framepace.analyze.device import device_summary
from framepace.analyze.failures import failed_share
from framepace.analyze.lag import lag_notes
from framepace.analyze.outliers import find_outliers
from framepace.analyze.padding import padding, padding_notes
from framepace.analyze.served import served
from framepace.analyze.stages import frame_trace, parts, per_frame_cpu, shown_stages, stages, take
from framepace.analyze.stats import percentiles, proportion
from framepace.analyze.strategies import cost
from framepace.analyze.tiers import find_tiers, with_beside, with_percentiles
from framepace.facts.device import SIMULATED, DeviceSummary
from framepace.facts.model import TensorSpec
from framepace.facts.summary import Cost, Estimate, ModelSummary, StageShare, Summary
from framepace.facts.trace import Column, DropCause, Mark, Outcome, Trace
from framepace.facts.workload import load_fps
from framepace.units import NS_PER_MS, NS_PER_S

_PERCENTILES = (50, 90, 95, 99, 99.9)
_UNSTABLE = "warm-up ended by its time limit: the latency level was not stable yet"
_ALWAYS = ("decode", "queue", "prepare", "infer", "finish")  # listed even where they are 0
_SAMPLES_OF_P99 = 100
# Telemetry that counts since some start is summarised as a rate; other columns as medians.
_FAULTS = ("faults_minor", "faults_major")
_STALLS = ("throttled", "memory_stalled", "io_stalled")
_COUNTERS = ("process_cpu", "system_busy", "run_delay", "switched", "preempted", *_FAULTS, "gc_count", "gc", *_STALLS)
_DEVICE_PARTS = ("h2d", "paint", "compute", "d2h", "host")
_NO_QUANTITY = ("time", "device", "event_reasons")


class _Frames(NamedTuple):
    """Whole frames past warm-up, in order of due time, and what the host's telemetry says of their time."""

    total: int
    """How many there are with those of the warm-up."""
    past: Trace
    done: Trace
    """Those that were delivered."""
    host: Mapping[str, Column]


def summarize(trace: Trace) -> Summary:
    """The trace in numbers (see facts.summary): percentiles, stages, tiers and outliers, of frames and each model.

    Warm-up is counted and left out. `missed` is the share of frames not delivered within the budget, dropped and
    failed ones included, `late` the same with its interval; `neighbours_cpu` the share of the machine's CPU time that
    others took; `pacer_error` how late takers woke that were free before the frame was due. `telemetry` has medians,
    and rates per second ('_s') of counters. A trace with no measured request has zeros and refused percentiles.
    """
    models = _models(trace)  # before frame_trace: a long trace held twice would not fit in memory
    summary = _of_frames(trace)
    if not models:
        models = (replace(summary.frames, model=next(iter(trace.meta.names), "frames")),)
    measured = trace.measured()
    shares = padding(measured)
    return replace(
        summary,
        models=models,
        devices=_devices(trace, measured),
        cost=_cost(trace, measured, summary.telemetry),
        padding=shares,
        failed=failed_share(trace),
        failure=trace.meta.failure,
        served=served(trace),
        notes=tuple(dict.fromkeys(_notes(trace, summary.frames, shares))),
    )


def _of_frames(trace: Trace) -> Summary:
    """The summary of whole frames, without models, devices, cost, padding and notes."""
    frames = _frames(trace)
    of_stages = stages(frames.done)
    budget = _budget(trace)
    late = _late(frames, budget)
    return Summary(
        trace=trace.meta.id,
        scope=trace.meta.workload.scope,
        seconds=_seconds(frames.done),
        throughput=_throughput(frames.done),
        budget=budget,
        missed=None if late is None else late.value,
        late=late,
        process_cpu=_process_cpu(frames),
        neighbours_cpu=_neighbours(frames),
        pacer_error=_pacer_error(frames.done, of_stages["wake-up"]),
        frames=_model_summary("frames", frames.total, frames.past, frames.done, of_stages),
        models=(),
        telemetry=_telemetry(frames.host),
    )


def _frames(trace: Trace) -> _Frames:
    whole = frame_trace(trace)
    past = _past_warmup(whole)
    done = _delivered(past)
    return _Frames(len(whole), past, done, _host_during(done))


def _devices(trace: Trace, measured: Trace) -> tuple[DeviceSummary, ...]:
    """The GPUs, where requests have device times."""
    if not (trace.requests["compute"] >= 0).any():
        return ()
    return device_summary(measured, _sizes(trace))


def _cost(trace: Trace, measured: Trace, rates: Mapping[str, float]) -> Cost | None:
    if not len(measured):
        return None
    host = trace.telemetry["device"] < 0
    return cost(measured, {name: column[host] for name, column in trace.telemetry.items()}, rates)


def _models(trace: Trace) -> tuple[ModelSummary, ...]:
    """Each of several models; none for a single one, whose requests are the frames."""
    names = trace.meta.names
    if len(names) <= 1:
        return ()
    # Stages are of the whole trace: the rows of one model do not say that others of the frame ran before it.
    of_stages = stages(trace)
    return tuple(_model(trace, of_stages, index, name) for index, name in enumerate(names))


def _model(trace: Trace, of_stages: Mapping[str, Column], index: int, name: str) -> ModelSummary:
    r = trace.requests
    rows = np.flatnonzero(r["model"] == index)
    rows = rows[np.argsort(r["due"][rows], kind="stable")]
    past = rows[(r["marks"][rows] & Mark.WARMUP) == 0]
    done = past[r["outcome"][past] == Outcome.OK]
    of_model = {stage: column[done] for stage, column in of_stages.items()}
    return _model_summary(name, len(rows), take(trace, past), take(trace, done), of_model)


def _model_summary(name: str, count: int, past: Trace, done: Trace, of_stages: Mapping[str, Column]) -> ModelSummary:
    """One series in order of due time.

    Args:
        count: requests with those of the warm-up.
        past: the requests past warm-up.
        done: those of them that were delivered.
        of_stages: the stages of `done`.
    """
    latency = done.latency
    tiers = find_tiers(latency)
    outliers, share = find_outliers(done, tiers)
    answers = percentiles(latency, _PERCENTILES, tiers=tiers)
    return ModelSummary(
        model=name,
        requests=len(done),
        effective=answers[0].effective,
        warmup=count - len(past),
        outcomes=_counts(past.requests["outcome"], Outcome.NAMES) or {"ok": 0},
        causes=_counts(past.requests["cause"], DropCause.NAMES),
        mean=_mean(latency),
        percentiles=answers,
        stages=_stages(shown_stages(done, of_stages), latency, () if done.meta.is_log else _ALWAYS),
        tiers=with_percentiles(with_beside(tiers, done), latency),
        outliers=outliers,
        outlier_share=share,
        cpu=_mean(_cpu(done)),
        parts=_parts(done),
        marks=_marks(past.requests["marks"]),
    )


def _parts(done: Trace) -> dict[str, float]:
    """Means of the parts of 'infer', where every request has the device's times."""
    columns = parts(done)
    if "compute" not in columns:
        return {}
    return {name: _mean(columns[name]) for name in _DEVICE_PARTS if name in columns}


def _sizes(trace: Trace) -> dict[str, tuple[int, int]]:
    """Bytes to and from the device per frame, by model; 0 where a shape is not known."""
    if not trace.meta.is_plan:
        return {}
    pairs = zip(trace.meta.plan.models, trace.meta.models, strict=True)
    return {
        plan.name: (
            sum(_frame_bytes(t, plan.prepare.place) for t in spec.inputs) // plan.batch.max,
            sum(_frame_bytes(t) for t in spec.outputs) // plan.batch.max,
        )
        for plan, spec in pairs
        if plan.transfer != "device"
    }


def _frame_bytes(tensor: TensorSpec, place: str = "host") -> int:
    """Bytes of a tensor; an image input whose preparation is in the graph arrives as uint8, one of the device's not."""
    if not all(isinstance(d, int) for d in tensor.shape):
        return 0
    size = np.dtype(tensor.dtype).itemsize
    if len(tensor.shape) == 4:
        size = {"graph": 1, "device": 0}.get(place, size)
    return size * int(np.prod([int(d) for d in tensor.shape]))


def _past_warmup(trace: Trace) -> Trace:
    return _kept(trace, (trace.requests["marks"] & Mark.WARMUP) == 0)


def _delivered(trace: Trace) -> Trace:
    return _kept(trace, trace.requests["outcome"] == Outcome.OK)


def _kept(trace: Trace, keep: NDArray[np.bool_]) -> Trace:
    """The rows to keep; the trace itself when that is all of it, since a copy of a large one costs memory."""
    if keep.all():
        return trace
    return take(trace, np.flatnonzero(keep))


def _stages(of_stages: Mapping[str, Column], latency: Column, always: Sequence[str]) -> tuple[StageShare, ...]:
    if not len(latency):
        return ()
    total = max(_mean(latency), 1.0)
    listed = ((name, values) for name, values in of_stages.items() if name in always or values.any())
    return tuple(_share(name, values, total) for name, values in listed)


def _share(name: str, values: Column, total: float) -> StageShare:
    median, p99 = np.quantile(values, [0.5, 0.99])
    mean = _mean(values)
    return StageShare(name=name, median=float(median), mean=mean, p99=float(p99), share=mean / total)


def _counts(codes: Column, names: Mapping[int, str]) -> dict[str, int]:
    """How often each code occurs, by its name; codes without a name are left out."""
    counts = {name: int(np.count_nonzero(codes == code)) for code, name in names.items() if name}
    return {name: count for name, count in counts.items() if count}


def _marks(marks: Column) -> dict[str, int]:
    counts = {name: int(np.count_nonzero(marks & bit)) for bit, name in Mark.NAMES.items() if bit != Mark.WARMUP}
    return {name: count for name, count in counts.items() if count}


def _cpu(done: Trace) -> Column:
    """CPU time per request of the rows where it was measured, ns."""
    cpu = per_frame_cpu(done.requests)
    return cpu[cpu >= 0]


def _mean(values: Values) -> float:
    """The mean; 0 of no values."""
    if not len(values):
        return 0.0
    return float(np.mean(values))


def _mean_or_none(values: Values) -> float | None:
    if not len(values):
        return None
    return float(np.mean(values))


def _throughput(done: Trace) -> float:
    """Frames per second; 0 where no time passed."""
    seconds = _seconds(done)
    if not seconds:
        return 0.0
    return len(done) / seconds


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
    budget_ms = trace.meta.subject.target.budget_ms
    if budget_ms is not None:
        return budget_ms * NS_PER_MS
    fps = load_fps(trace.meta.workload.load)
    if fps is None:
        return None
    return NS_PER_S / fps


def _late(frames: _Frames, budget: float | None) -> Estimate | None:
    """The share of frames not delivered within the budget, with its interval; None where there is nothing to judge."""
    if budget is None or not len(frames.past):
        return None
    delivered = frames.past.requests["outcome"] == Outcome.OK
    return proportion(~(delivered & (frames.past.latency <= budget)))


def _pacer_error(done: Trace, wake_up: Column) -> dict[str, float]:
    """How late takers woke that were free before the frame was due, ns; `wake_up` is that stage of `done`."""
    r = done.requests
    error = wake_up[(r["available"] >= 0) & (r["available"] <= r["due"]) & (r["captured"] >= 0)]
    if not len(error):
        return {}
    numbers = {"median": float(np.median(error)), "max": float(error.max())}
    if len(error) >= _SAMPLES_OF_P99:
        numbers["p99"] = float(np.quantile(error, 0.99))
    return numbers


def _host_during(done: Trace) -> dict[str, Column]:
    """Telemetry of the host while frames were measured; all of it when that is under two samples."""
    t = done.telemetry
    host = t["device"] < 0
    if len(done):
        start, end = _span(done)
        inside = host & (t["time"] >= start) & (t["time"] <= end)
        if np.count_nonzero(inside) >= 2:
            host = inside
    return {name: column[host] for name, column in t.items()}


def _process_cpu(frames: _Frames) -> float | None:
    """CPU time of the process per frame, ns: by telemetry, else that of the workers' threads."""
    sampled = _sampled_cpu(frames)
    if sampled is not None:
        return sampled
    return _mean_or_none(_cpu(frames.done))


def _sampled_cpu(frames: _Frames) -> float | None:
    """CPU time of the process per frame by telemetry, ns; None where no frame was delivered between two samples."""
    used = frames.host["process_cpu"]
    if len(used) < 2 or used.min() < 0:
        return None
    first, last = frames.host["time"][[0, -1]]
    delivered = frames.done.requests["delivered"]
    count = np.count_nonzero((delivered > first) & (delivered <= last))
    if not count:
        return None
    start, end = _span(frames.done)  # samples may begin before the warm-up ended
    within = (min(last, end) - max(first, start)) / max(1, last - first)
    return float(used[-1] - used[0]) * float(within) / float(count)


def _neighbours(frames: _Frames) -> float | None:
    """The share of the machine's CPU time that other processes took."""
    _, share = others_share(Trace(frames.done.meta, frames.done.requests, frames.host))
    return _mean_or_none(share)


def _telemetry(host: Mapping[str, Column]) -> dict[str, float]:
    """Medians, and rates per second of counters."""
    numbers: dict[str, float] = {}
    for name, column in host.items():
        values = column[column >= 0]
        if name in _COUNTERS:
            numbers |= _rate(name, host)
        elif name not in _NO_QUANTITY and len(values):
            numbers[name] = float(np.median(values))
    return numbers


def _rate(name: str, host: Mapping[str, Column]) -> dict[str, float]:
    values = host[name]
    times = host["time"]
    if len(values) < 2 or values.min() < 0 or times[-1] <= times[0]:
        return {}
    return {f"{name}_s": float(values[-1] - values[0]) / float(times[-1] - times[0]) * NS_PER_S}


def _notes(trace: Trace, frames: ModelSummary, shares: Mapping[str, float]) -> Iterator[str]:
    """Sentences that a reader must see with the numbers."""
    if trace.meta.simulated:
        yield SIMULATED
    yield from trace.meta.notes
    if not trace.meta.warmup_stable and trace.meta.stopped != "failed" and _UNSTABLE not in trace.meta.notes:
        yield _UNSTABLE
    if not trace.meta.whole and trace.meta.stopped != "failed":
        yield f"the run did not end as planned: {trace.meta.stopped}"
    if not frames.requests:
        yield "no request was measured"
    yield from lag_notes(trace)
    for name, count in frames.marks.items():
        yield f"{count:,} frames are marked: {name}"
    yield from padding_notes(shares, trace.meta.batch_sizes)
    if 0 < frames.effective < frames.requests / 10:
        yield (
            f"consecutive latencies are correlated: {frames.requests:,} frames count as {frames.effective:,} "
            "for the median"
        )
