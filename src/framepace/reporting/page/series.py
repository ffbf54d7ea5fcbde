"""Numeric series for figures: whole columns in, a few thousand points out, outliers kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from framepace.facts.trace import Column, Mark, Outcome, Trace
from framepace.units import NS_PER_S

Numbers = NDArray[np.float64]
Columns = Mapping[str, Column]
POINTS = 4000  # of one series; two a pixel of a wide screen
_GAUGED = ("time", "device", "cpu_mhz", "sm_clock_mhz", "memory_clock_mhz", "utilisation", "process_cpu", "system_busy")
_TAIL = 300  # points of a distribution


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
    n = len(values)
    if n <= points:
        return np.arange(n)
    size = -(-n // max(1, points // 2))
    whole = n // size * size
    blocks, starts = values[:whole].reshape(-1, size), np.arange(0, whole, size)
    kept = [starts + blocks.argmin(axis=1), starts + blocks.argmax(axis=1), np.array([0, n - 1])]
    if whole < n:
        kept.append(whole + np.array([values[whole:].argmin(), values[whole:].argmax()]))
    unique: NDArray[np.intp] = np.unique(np.concatenate(kept))
    return unique


def latencies(trace: Trace) -> list[Latencies]:
    """One series a model; with several models the whole frames come first. Warm-up and what failed are left out.

    Only the columns that are drawn are copied: a million requests must not be held twice.
    """
    r = trace.requests
    keep = ((r["marks"] & Mark.WARMUP) == 0) & (r["outcome"] == Outcome.OK)
    each = [_series(name, r, keep & (r["model"] == i)) for i, name in enumerate(trace.meta.names)]
    found = [s for s in each if len(s.due)]
    return [_whole_frames(r, keep), *found] if len(found) > 1 else found


def _series(name: str, r: Columns, rows: NDArray[np.bool_]) -> Latencies:
    due, delivered = r["due"][rows], r["delivered"][rows]
    order = np.argsort(due, kind="stable")
    return Latencies(name, due[order], (delivered - due)[order])


def _whole_frames(r: Columns, keep: NDArray[np.bool_]) -> Latencies:
    """From the first due to the last delivery over all models of each frame."""
    frame, due, delivered = (r[name][keep] for name in ("frame", "due", "delivered"))
    order = np.argsort(frame, kind="stable")
    starts = np.flatnonzero(np.diff(frame[order], prepend=-1))
    due, delivered = np.minimum.reduceat(due[order], starts), np.maximum.reduceat(delivered[order], starts)
    order = np.argsort(due, kind="stable")
    return Latencies("whole frames", due[order], (delivered - due)[order])


def tail(latency: Column) -> tuple[Numbers, Numbers]:
    """Latency (ns) by percentile, as 1/(1-q): even steps on a log axis give the tail as much room as the bulk.

    The axis is that of G. Tene's HdrHistogram percentile plots; it ends at the largest sample.
    """
    n = len(latency)
    odds = np.geomspace(1, max(n, 2), _TAIL)
    ranks = np.unique(np.minimum(np.ceil((1 - 1 / odds) * n).astype(np.intp), n - 1))
    return n / np.maximum(n - ranks, 1).astype(np.float64), np.sort(latency)[ranks].astype(np.float64)


def gauges(trace: Trace, start: int) -> Iterator[Gauge]:
    """What telemetry measured beside the latency: clocks in MHz, busy cores, GPU utilisation in per cent."""
    t = trace.telemetry
    t = {name: column[t["time"] >= start] for name, column in t.items() if name in _GAUGED}
    host = t["device"] == -1
    yield from _level(t, host, "cpu_mhz", "CPU", "MHz", start)
    for device in np.unique(t["device"][~host]):
        rows = t["device"] == device
        yield from _level(t, rows, "sm_clock_mhz", f"GPU {device} SM", "MHz", start)
        yield from _level(t, rows, "memory_clock_mhz", f"GPU {device} memory", "MHz", start)
        yield from _level(t, rows, "utilisation", f"GPU {device} busy", "%", start)
    yield from _cores(t, host, start)


def _level(t: Columns, rows: NDArray[np.bool_], column: str, name: str, panel: str, start: int) -> Iterator[Gauge]:
    known = rows & (t[column] >= 0)
    if known.any():
        yield _gauge(name, panel, t["time"][known], t[column][known].astype(np.float64), start)


def _cores(t: Columns, host: NDArray[np.bool_], start: int) -> Iterator[Gauge]:
    """Cores busy with this process, and with everything else, from the differences of the cumulative CPU times."""
    known = host & (t["process_cpu"] >= 0)
    step = _stride(t["time"][known])
    time, own, system = (t[name][known][::step] for name in ("time", "process_cpu", "system_busy"))
    if len(time) < 2:
        return
    passed = np.maximum(np.diff(time), 1)
    own_cores = np.diff(own) / passed
    yield _gauge("this process", "cores", time[1:], own_cores, start)
    if (system >= 0).all():
        yield _gauge("others", "cores", time[1:], np.maximum(np.diff(system) / passed - own_cores, 0), start)


def _stride(time: Column) -> int:
    """Samples in a window of 0.2 s or a 300th of the run: the system counts CPU time in steps of 10 ms."""
    if len(time) < 2:
        return 1
    span = max(1, int(time[-1] - time[0]))
    return max(1, min(len(time) // 2, round(len(time) * max(0.2 * NS_PER_S, span / 300) / span)))


def _gauge(name: str, panel: str, time: Column, values: Numbers, start: int) -> Gauge:
    at = thin(values, POINTS // 4)
    return Gauge(name, panel, (time[at] - start) / NS_PER_S, values[at])
