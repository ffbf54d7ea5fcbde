"""Numeric series for figures: whole columns in, a few thousand points out, outliers kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from framepace.facts.trace import Column, Mark, Outcome, Trace
from framepace.units import NS_PER_S

Numbers = NDArray[np.float64]
Rows = NDArray[np.bool_]
Columns = Mapping[str, Column]
POINTS = 4000  # of one series; two per pixel of a wide screen
_GAUGED = ("time", "device", "cpu_mhz", "sm_clock_mhz", "memory_clock_mhz", "utilisation", "process_cpu", "system_busy")
_GPU_LINES = (("sm_clock_mhz", "SM", "MHz"), ("memory_clock_mhz", "memory", "MHz"), ("utilisation", "busy", "%"))
_TAIL = 300  # points of a distribution
_STEP_NS = 0.2 * NS_PER_S  # the system counts CPU time in steps of 10 ms
_STEPS = 300


@dataclass(frozen=True)
class Latencies:
    """Latency of one model, or of whole frames: `due` and `latency` in ns, in order of `due`."""

    name: str
    due: Column
    latency: Column


@dataclass(frozen=True)
class Gauge:
    """One line of telemetry: `seconds` since the first request, values in the unit of its panel."""

    name: str
    panel: str
    seconds: Numbers
    values: Numbers


def thin(values: NDArray[np.generic], points: int) -> NDArray[np.intp]:
    """Indices, ascending, of at most `points` + 2 values: the ends, and the lowest and highest of equal stretches."""
    count = len(values)
    if count <= points:
        return np.arange(count)
    size = -(-count // max(1, points // 2))
    whole = count // size * size
    ends = np.array([0, count - 1])
    extremes = [_extremes(values[:whole], size)]
    if whole < count:
        extremes.append(whole + _extremes(values[whole:], count - whole))
    unique: NDArray[np.intp] = np.unique(np.concatenate([ends, *extremes]))
    return unique


def _extremes(values: NDArray[np.generic], size: int) -> NDArray[np.intp]:
    """Indices of the lowest and the highest value of each stretch of `size`; they fill `values`."""
    stretches = values.reshape(-1, size)
    starts = np.arange(0, len(values), size)
    return np.concatenate([starts + stretches.argmin(axis=1), starts + stretches.argmax(axis=1)])


def latencies(trace: Trace) -> list[Latencies]:
    """One series per model; with several models the whole frames come first. Warm-up and what failed are left out.

    Only the columns that are drawn are copied: a million requests must not be held twice.
    """
    rows = trace.requests
    keep = ((rows["marks"] & Mark.WARMUP) == 0) & (rows["outcome"] == Outcome.OK)
    models = [_series(name, rows, keep & (rows["model"] == i)) for i, name in enumerate(trace.meta.names)]
    delivered = [series for series in models if len(series.due)]
    if len(delivered) > 1:
        return [_whole_frames(rows, keep), *delivered]
    return delivered


def _series(name: str, rows: Columns, keep: Rows) -> Latencies:
    return _in_order(name, rows["due"][keep], rows["delivered"][keep])


def _in_order(name: str, due: Column, delivered: Column) -> Latencies:
    order = np.argsort(due, kind="stable")
    return Latencies(name, due[order], (delivered - due)[order])


def _whole_frames(rows: Columns, keep: Rows) -> Latencies:
    """From the first due to the last delivery over all models of each frame."""
    frame = rows["frame"][keep]
    order = np.argsort(frame, kind="stable")
    starts = np.flatnonzero(np.diff(frame[order], prepend=-1))
    due = np.minimum.reduceat(rows["due"][keep][order], starts)
    delivered = np.maximum.reduceat(rows["delivered"][keep][order], starts)
    return _in_order("whole frames", due, delivered)


def tail(latency: Column) -> tuple[Numbers, Numbers]:
    """Latency (ns) by percentile, as 1/(1-q): even steps on a log axis give the tail as much room as the bulk.

    The axis is that of G. Tene's HdrHistogram percentile plots; it ends at the largest sample.
    """
    count = len(latency)
    odds = np.geomspace(1, max(count, 2), _TAIL)
    ranks = np.unique(np.minimum(np.ceil((1 - 1 / odds) * count).astype(np.intp), count - 1))
    return count / np.maximum(count - ranks, 1).astype(np.float64), np.sort(latency)[ranks].astype(np.float64)


def gauges(trace: Trace, start: int) -> Iterator[Gauge]:
    """What telemetry measured beside the latency: clocks in MHz, busy cores, GPU utilisation in per cent."""
    during = trace.telemetry["time"] >= start
    samples = {name: trace.telemetry[name][during] for name in _GAUGED}
    host = samples["device"] == -1
    yield from _level(samples, host, "cpu_mhz", "CPU", "MHz", start)
    for device in np.unique(samples["device"][~host]):
        rows = samples["device"] == device
        for column, name, panel in _GPU_LINES:
            yield from _level(samples, rows, column, f"GPU {device} {name}", panel, start)
    yield from _cores(samples, host, start)


def _level(samples: Columns, rows: Rows, column: str, name: str, panel: str, start: int) -> Iterator[Gauge]:
    measured = rows & (samples[column] >= 0)
    if measured.any():
        yield _gauge(name, panel, samples["time"][measured], samples[column][measured].astype(np.float64), start)


def _cpu_times(samples: Columns, host: Rows) -> tuple[Column, Column, Column]:
    """Times of samples, with the CPU time of the process and of all processes until then."""
    rows = np.flatnonzero(host & (samples["process_cpu"] >= 0))
    rows = rows[:: _stride(samples["time"][rows])]
    return samples["time"][rows], samples["process_cpu"][rows], samples["system_busy"][rows]


def _cores(samples: Columns, host: Rows, start: int) -> Iterator[Gauge]:
    """Cores busy with this process, and with everything else, from the differences of the cumulative CPU times."""
    time, process, system = _cpu_times(samples, host)
    if len(time) < 2:
        return
    passed = np.maximum(np.diff(time), 1)
    process_cores = np.diff(process) / passed
    yield _gauge("this process", "cores", time[1:], process_cores, start)
    if (system >= 0).all():
        other_cores = np.maximum(np.diff(system) / passed - process_cores, 0)
        yield _gauge("others", "cores", time[1:], other_cores, start)


def _stride(time: Column) -> int:
    """Samples in a window of 0.2 s or a 300th of the run, whichever is longer."""
    if len(time) < 2:
        return 1
    span = max(1, int(time[-1] - time[0]))
    samples = round(len(time) * max(_STEP_NS, span / _STEPS) / span)
    return max(1, min(len(time) // 2, samples))


def _gauge(name: str, panel: str, time: Column, values: Numbers, start: int) -> Gauge:
    drawn = thin(values, POINTS // 4)
    return Gauge(name, panel, (time[drawn] - start) / NS_PER_S, values[drawn])
