"""What happened at the same time as a slow request: hints, no proofs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from framepace.analyze.stages import parts, stages, take
from framepace.facts.summary import Coincidence
from framepace.facts.trace import Trace

_BUSY = 0.25  # share of the machine that others take beyond their usual share
_HALF = 0.5  # of what a request takes more, that a cause has to account for
_OF_GC = 0.2  # the same for a collection, after which caches are cold
_LOWER_CLOCK = 0.95  # of the usual one
_LARGER_BATCH = 1.5  # times the usual one
_NAMES: tuple[Coincidence, ...] = get_args(Coincidence)  # the first that fits is named
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def coincidences(trace: Trace, worst: NDArray[np.intp], excess: Floats) -> list[Coincidence | Literal[""]]:
    """What coincides with each of the requests `worst`; `excess` (ns, all requests) is the latency over the level.

    The first that fits of these, '' where none does: 'gc', 'page faults', 'decode' (a picture that took long),
    'backlog' (behind a slow one), 'preempted', 'neighbours' (others' CPU time), 'pacer' (late wake-up), 'batch' (a
    larger one), 'clocks' (lower ones), 'device' (kernels or copies took longer), 'computing' (the thread computed
    longer), 'blocked' (it computed no longer, but waited: a sleep, a lock, a file, a network).
    """
    rows = take(trace, worst)
    beyond = excess[worst]
    happened = _waiting(rows, beyond, trace) | _working(rows, beyond, trace)
    happened["neighbours"] = _others(trace, worst)
    happened["clocks"] = _lower_clock(rows, trace)
    return [next((word for word in _NAMES if happened[word][i]), "") for i in range(len(worst))]


def _waiting(rows: Trace, beyond: Floats, trace: Trace) -> dict[Coincidence, Mask]:
    """What each of the requests `rows` waited for, which took `beyond` ns more than their level."""
    r = rows.requests
    every = trace.requests
    stage = stages(rows)
    return {
        "gc": r["gc"] > _OF_GC * beyond,
        "page faults": r["faults"] > 4 * np.median(every["faults"]) + 16,
        "decode": stage["decode"] - np.median(every["decoded"] - every["captured"]) > _HALF * beyond,
        "backlog": stage["backlog"] + stage["queue"] > _HALF * beyond,
        "preempted": r["preempted"] > np.median(every["preempted"]),
        "pacer": stage["wake-up"] > _HALF * beyond,
    }


def _working(rows: Trace, beyond: Floats, trace: Trace) -> dict[Coincidence, Mask]:
    """Whether the thread, or the device, was at work for what each request took more, or neither."""
    more = _more_cpu(rows, trace)
    measured = rows.requests["cpu"] >= 0
    slept = (rows.requests["switched"] > 0) | (trace.meta.clock == "virtual")
    return {
        "batch": rows.requests["batch_size"] > _LARGER_BATCH * np.median(trace.requests["batch_size"]),
        "device": _more_on_device(rows, trace) > _HALF * beyond,
        "computing": measured & (more > _HALF * beyond),
        "blocked": measured & slept & (more <= _HALF * beyond),
    }


def _more_cpu(rows: Trace, trace: Trace) -> Floats:
    """CPU time of the worker's thread beyond the usual, ns."""
    usual = np.median(trace.requests["cpu"])
    return np.asarray(rows.requests["cpu"] - usual, np.float64)


def _more_on_device(rows: Trace, trace: Trace) -> Floats:
    """Time of copies and kernels beyond the usual, ns; 0 where it was not measured."""
    usual = parts(trace)
    if "compute" not in usual:
        return np.zeros(len(rows))
    return _on_device(parts(rows)) - float(np.median(_on_device(usual)))


def _on_device(columns: Mapping[str, NDArray[np.int64]]) -> Floats:
    return np.asarray(columns["h2d"] + columns["compute"] + columns["d2h"], np.float64)


def _lower_clock(rows: Trace, trace: Trace) -> Mask:
    """Whether the clock of the device was lower than usual before or after each request."""
    clocks = np.stack([trace.requests["sm_clock_before"], trace.requests["sm_clock_after"]])
    measured = clocks[clocks > 0]
    if not len(measured):
        return np.zeros(len(rows), dtype=bool)
    met = np.stack([rows.requests["sm_clock_before"], rows.requests["sm_clock_after"]])
    return np.asarray(((met > 0) & (met < _LOWER_CLOCK * np.median(measured))).any(axis=0))


def _others(trace: Trace, worst: NDArray[np.intp]) -> Mask:
    """Whether others took more of the CPU than usual around each request."""
    times, share = others_share(trace)
    if not len(share):
        return np.zeros(len(worst), dtype=bool)
    middle = (trace.requests["due"][worst] + trace.requests["delivered"][worst]) // 2
    at = np.clip(np.searchsorted(times, middle, side="right") - 1, 0, len(share) - 1)
    return np.asarray(share[at] > np.median(share) + _BUSY)


def others_share(trace: Trace) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Starts (ns) of the spans between host samples, and the share of the machine's CPU time that others took in each.

    The whole machine's busy time less that of this process, over all cores; empty where either was not measured.
    """
    t = trace.telemetry
    host = (t["system_busy"] >= 0) & (t["process_cpu"] >= 0)
    times = t["time"][host]
    others = np.diff(t["system_busy"][host]) - np.diff(t["process_cpu"][host])
    span = np.maximum(np.diff(times), 1) * trace.meta.machine.cores_logical
    return times[:-1], np.clip(others / span, 0.0, 1.0)
