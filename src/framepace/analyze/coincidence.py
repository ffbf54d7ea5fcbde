"""What happened at the same time as a slow request: hints, no proofs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from framepace.analyze.stages import parts, stages, take
from framepace.facts.summary import Coincidence
from framepace.facts.trace import Trace

_BUSY = 0.25  # share of the machine that others take beyond their usual share
_HALF = 0.5  # of what a request takes more, that a cause has to account for
_OF_GC = 0.2  # the same for a collection, after which caches are cold, and for what the host counts
_LOWER_CLOCK = 0.95  # of the usual one
_LARGER_BATCH = 1.5  # times the usual one
_NAMES: tuple[Coincidence, ...] = get_args(Coincidence)  # the first that fits is named
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def coincidences(trace: Trace, worst: NDArray[np.intp], excess: Floats) -> list[Coincidence | Literal[""]]:
    """What coincides with each of the requests `worst`; `excess` (ns, all requests) is the latency over the level.

    The first that fits of these, '' where none does: 'gc', 'page faults', 'decode' (a picture that took long),
    'backlog' (behind a slow one), 'preempted' (the thread lost its core, and computed no longer), 'neighbours' (others'
    CPU time), 'pacer' (late wake-up), 'throttled' (by the CPU quota), 'disk' (the thread waited, and somebody for a
    disk), 'batch' (a larger one), 'clocks' (lower ones), 'device' (kernels or copies took longer), 'computing' (the
    thread computed longer), 'blocked' (it computed no longer, but waited: a sleep, a lock, a pipe, a network).
    """
    slow = _Slow(trace, take(trace, worst), excess[worst])
    happened = _waiting(slow) | _working(slow) | _of_host(slow)
    return [next((word for word in _NAMES if happened[word][i]), "") for i in range(len(worst))]


class _Slow(NamedTuple):
    """Slow requests (`rows`) of a trace, and what each took more than its level, ns."""

    trace: Trace
    rows: Trace
    beyond: Floats

    def column(self, name: str) -> NDArray[np.int64]:
        """A request column of the slow ones."""
        return self.rows.requests[name]

    def usual(self, name: str) -> float:
        """The median of a request column over all of them."""
        return float(np.median(self.trace.requests[name]))

    def more(self, name: str) -> Floats:
        """What the slow ones have more than usual of a request column."""
        return np.asarray(self.column(name) - self.usual(name), np.float64)


def _waiting(slow: _Slow) -> dict[Coincidence, Mask]:
    """What the slow requests waited for, by their stages and the counters of their thread."""
    stage = stages(slow.rows)
    every = slow.trace.requests
    longer = stage["decode"] - np.median(every["decoded"] - every["captured"])
    return {
        "gc": slow.column("gc") > _OF_GC * slow.beyond,
        "page faults": slow.column("faults") > 4 * slow.usual("faults") + 16,
        "decode": longer > _HALF * slow.beyond,
        "backlog": stage["backlog"] + stage["queue"] > _HALF * slow.beyond,
        "preempted": _preempted(slow),
        "pacer": stage["wake-up"] > _HALF * slow.beyond,
    }


def _working(slow: _Slow) -> dict[Coincidence, Mask]:
    """Whether the thread, or the device, was at work for what each request took more, or neither."""
    switched = (slow.column("switched") > 0) | (slow.trace.meta.clock == "virtual")
    return {
        "batch": slow.column("batch_size") > _LARGER_BATCH * slow.usual("batch_size"),
        "clocks": _lower_clock(slow),
        "device": _more_on_device(slow) > _HALF * slow.beyond,
        "computing": _computed(slow),
        "blocked": (slow.column("cpu") >= 0) & switched & ~_computed(slow),
    }


def _of_host(slow: _Slow) -> dict[Coincidence, Mask]:
    """What the samples of the host show around each request."""
    least = _OF_GC * slow.beyond
    waited = (slow.column("cpu") >= 0) & ~_computed(slow)
    return {
        "neighbours": _others(slow),
        "throttled": _rise(slow, "throttled") > least,
        "disk": waited & (_rise(slow, "io_stalled") > least),
    }


def _computed(slow: _Slow) -> Mask:
    """Whether CPU time of the thread accounts for what a request took more, or is another whole frame's at least.

    Who computes for longer also loses the core more often, where others want it.
    """
    more = slow.more("cpu")
    usual = float(np.median(slow.trace.latency))
    return np.asarray((slow.column("cpu") >= 0) & (more > np.minimum(_HALF * slow.beyond, max(usual, 1.0))))


def _preempted(slow: _Slow) -> Mask:
    """Whether the thread was put off its core, or the process's threads waited for one."""
    put_off = (slow.more("preempted") > 0) & ~_waits_in_hook(slow)
    queued = _rise(slow, "run_delay") > _HALF * slow.beyond
    return np.asarray((put_off | queued) & ~_computed(slow))


def _waits_in_hook(slow: _Slow) -> Mask:
    """Whether the thread gave its core away itself, in what is not the library's: preparing or finishing."""
    names = ("prepare", "finish")
    usual = stages(slow.trace)
    met = stages(slow.rows)
    more = np.sum([met[name] - np.median(usual[name]) for name in names], axis=0)
    return np.asarray((slow.more("switched") > 0) & (more > _HALF * slow.beyond))


def _more_on_device(slow: _Slow) -> Floats:
    """Time of copies and kernels beyond the usual, ns; 0 where it was not measured."""
    usual = parts(slow.trace)
    if "compute" not in usual:
        return np.zeros(len(slow.rows))
    return _on_device(parts(slow.rows)) - float(np.median(_on_device(usual)))


def _on_device(columns: Mapping[str, NDArray[np.int64]]) -> Floats:
    return np.asarray(columns["h2d"] + columns["compute"] + columns["d2h"], np.float64)


def _lower_clock(slow: _Slow) -> Mask:
    """Whether the clock of the device was lower than usual before or after each request."""
    lower = np.zeros(len(slow.rows), dtype=bool)
    for name in ("sm_clock_before", "sm_clock_after"):
        clocks = slow.trace.requests[name]
        usual = np.median(clocks[clocks > 0]) if (clocks > 0).any() else 0.0
        met = slow.column(name)
        lower |= (met > 0) & (met < _LOWER_CLOCK * usual)
    return lower


def _rise(slow: _Slow, counter: str) -> Floats:
    """How much more a counter of the host rose around each request than in as long a time usually.

    0 where it was not measured.
    """
    times, values = _counted(slow.trace, counter)
    if len(times) < 2:
        return np.zeros(len(slow.rows))
    usual = float(np.median(np.diff(values) / np.maximum(np.diff(times), 1)))
    around = _samples_around(slow, times)
    rises, spans = (np.diff(column[around], axis=0)[0] for column in (values, times))
    return np.asarray(rises - usual * spans)


def _counted(trace: Trace, counter: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Times and values of a counter's samples; some are read at every tenth only, and repeat the one before."""
    samples = trace.telemetry.get(counter, np.empty(0, np.int64))
    fresh = np.flatnonzero((samples >= 0) & (np.diff(samples, prepend=-1) != 0))
    return trace.telemetry["time"][fresh], samples[fresh]


def _samples_around(slow: _Slow, times: NDArray[np.int64]) -> NDArray[np.intp]:
    """The samples before and after each request, shape (2, requests); `times` are those of the samples."""
    before = np.searchsorted(times, slow.column("due"), side="right") - 1
    after = np.searchsorted(times, slow.column("delivered"))
    return np.asarray(np.clip([before, after], 0, len(times) - 1))


def _others(slow: _Slow) -> Mask:
    """Whether others took more of the CPU than usual around each request."""
    times, share = others_share(slow.trace)
    if not len(share):
        return np.zeros(len(slow.rows), dtype=bool)
    middle = (slow.column("due") + slow.column("delivered")) // 2
    at = np.clip(np.searchsorted(times, middle, side="right") - 1, 0, len(share) - 1)
    return np.asarray(share[at] > np.median(share) + _BUSY)


def others_share(trace: Trace) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Starts (ns) of the spans between host samples, and the share of the cores' time that others took in each.

    The busy time of the cores that this process may use less its own; empty where either was not measured.
    """
    t = trace.telemetry
    host = (t["system_busy"] >= 0) & (t["process_cpu"] >= 0)
    times = t["time"][host]
    others = np.diff(t["system_busy"][host]) - np.diff(t["process_cpu"][host])
    machine = trace.meta.machine
    span = np.maximum(np.diff(times), 1) * (machine.cores_usable or machine.cores_logical)
    return times[:-1], np.clip(others / span, 0.0, 1.0)
