"""The cost of a strategy, and why one beats another: where the time of its models went.

With n frames in a wall time T, models at work for W ns in all, `together` of them at once on average while any was,
which was a share `busy` of T:   n / T = together * busy / (W / n).   So a strategy wins by running models side by side,
and loses where each then takes longer, and by the time in which none is at work (hand-over, decoding, waiting).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from framepace.facts.plan import Plan
from framepace.facts.strategy import STRATEGIES
from framepace.facts.summary import Cost, Summary
from framepace.facts.trace import Column, Trace
from framepace.units import NS_PER_MS, NS_PER_S, format_bytes, format_ms

_SAME = 0.05  # share below which a difference is not mentioned
_PART = 0.15  # of the time that models take longer: a smaller part is not mentioned
_AWAITED = ("null", "server")  # backends whose inferences leave the core: they sleep, or another machine runs them
_NEIGHBOURS = 0.2  # of the machine's CPU time
_PLAIN = ("serial", "workers")  # the first of these that was measured is the base of the comparison
_LOCK = "the interpreter lock"
_SHARES_LOCK = frozenset(name for name, kind in STRATEGIES.items() if kind.shares_interpreter)
_ELSEWHERE = frozenset(name for name, kind in STRATEGIES.items() if kind.waits_elsewhere)
_BLOCKS_LOOP = frozenset(name for name, kind in STRATEGIES.items() if kind.blocks_loop)


def cost(done: Trace, host: Mapping[str, Column], rates: Mapping[str, float]) -> Cost:
    """The resources that the run used.

    Args:
        done: the delivered rows past warm-up.
        host: the host's telemetry of the run.
        rates: counters of the host's telemetry per second ('process_cpu_s', 'run_delay_s').
    """
    work = _inferences(done)
    durations = work["delivered"] - work["batched"]
    busy_ns = _union(work["batched"], work["delivered"])
    names = done.meta.names
    devices = done.telemetry["device"] >= 0
    return Cost(
        startup=_startup(done.meta.startup),
        models={name: float(durations[work["model"] == i].sum()) for i, name in enumerate(names)},
        computing=_computing(work, durations),
        together=float(durations.sum()) / max(1, busy_ns),
        busy=busy_ns / _wall(done),
        cores=_rate(rates, "process_cpu_s"),
        waiting=_rate(rates, "run_delay_s"),
        lock_wait=_lock_wait(done, work, _rate(rates, "run_delay_s")),
        memory=_peak(host["memory_bytes"]),
        device_memory=_peak(done.telemetry["device_memory_bytes"][devices]),
        memory_growth=_growth(work["batched"].min(), host["time"], host["memory_bytes"]),
        device_memory_growth=_growth(
            work["batched"].min(), *(done.telemetry[name][devices] for name in ("time", "device_memory_bytes"))
        ),
    )


def _lock_wait(done: Trace, work: Mapping[str, Column], waiting: float | None) -> float | None:
    """What workers that share an interpreter were off their cores, ns per inference; less what they waited for cores.

    Nothing is left but the lock where they spin for the device and call no hook. None where that is not so.
    """
    if not _waits_for_the_lock_alone(done) or work["cpu"].min() < 0:
        return None
    away = 0.0
    for worker in np.unique(work["worker"]):
        own = work["worker"] == worker
        away += _union(work["batched"][own], work["delivered"][own]) - float(work["cpu"][own].sum())
    cores = (waiting or 0.0) * _wall(done)
    return max(0.0, away - cores) / len(work["cpu"])


def _waits_for_the_lock_alone(done: Trace) -> bool:
    """Whether several workers in one interpreter wait for nothing else that takes them off their cores."""
    if not isinstance(done.meta.subject, Plan) or done.meta.clock == "virtual":
        return False
    engine, models = done.meta.plan.engine, done.meta.plan.models
    hooked = engine.finish is not None or any(model.prepare.hook is not None for model in models)
    spins = all(model.spinning and model.backend not in _AWAITED for model in models)
    return engine.workers > 1 and engine.strategy == "workers" and spins and not hooked


def _growth(since: int, times: Column, values: Column) -> float | None:
    """From the median of the first quarter of the samples after `since` (ns) to that of the last; None for a few."""
    values = values[(times >= since) & (values >= 0)]
    quarter = len(values) // 4
    if quarter < 2:
        return None
    return float(np.median(values[-quarter:]) - np.median(values[:quarter]))


def _startup(startup: Mapping[str, int]) -> float | None:
    """Time before the load began, ns."""
    if "models" not in startup:
        return None
    return float(startup["models"] + startup.get("workers", 0))


def _computing(work: Mapping[str, Column], durations: Column) -> float | None:
    """CPU time of all inferences, ns; None where one was not measured. A thread may wait for a device on a core."""
    if (work["cpu"] < 0).any():
        return None
    on_device = work["compute"] >= 0
    waits = np.where(on_device, work["finished"] - work["enqueued"], 0)
    return float(np.minimum(work["cpu"], durations - waits).sum())


def reasons(summaries: Mapping[str, Summary]) -> dict[str, str]:
    """One sentence per strategy, by name: how it compares with the plainest one measured, and why."""
    measured = {name: summary for name, summary in summaries.items() if summary.cost}
    base_name = next((name for name in (*_PLAIN, *measured) if name in measured), None)
    if base_name is None:
        return {}
    base = measured[base_name]
    reasons = {name: _sentence(_reason(name, summary, base_name, base)) for name, summary in measured.items()}
    return reasons | {base_name: _sentence(_base_text(base))}


def _sentence(parts: Iterable[str]) -> str:
    text = ", ".join(parts)
    return text[:1].upper() + text[1:] + "."


def _base_text(base: Summary) -> Iterator[str]:
    cost = base.cost or Cost()
    yield f"the baseline: {cost.together:.1f} models at work at once"
    if 1 - cost.busy > _SAME:
        yield _idle(cost)
    if (others := base.neighbours_cpu or 0.0) > _NEIGHBOURS:
        yield f"while others used {others:.0%} of the machine, so small differences mean nothing"


def _reason(name: str, summary: Summary, base_name: str, base: Summary) -> Iterator[str]:
    a = summary.cost or Cost()
    b = base.cost or Cost()
    yield _compared(summary, base, base_name)
    yield from _overlap(name, a, b)
    yield from _longer(name, summary, base)
    if b.busy - a.busy > _SAME:
        idle = _idle(a)
        if name in _ELSEWHERE:
            idle += " (frames and results are handed over)"
        yield idle
    yield from _price(a, b)


def _overlap(name: str, a: Cost, b: Cost) -> Iterator[str]:
    """Whether the strategy runs more or fewer models at once than the base."""
    if abs(a.together / max(b.together, 1e-9) - 1) > _SAME:
        yield f"{a.together:.1f} models at work at once instead of {b.together:.1f}"
    elif name in _BLOCKS_LOOP and a.together < 1 + _SAME:
        yield "one model after the other here too: a blocking call holds the event loop"
    elif name != "workers" and a.together < 1 + _SAME:
        yield "one model after the other here too"


def _compared(summary: Summary, base: Summary, base_name: str) -> str:
    """Frames per second where they differ, else, as under a paced load, the mean latency."""
    rate = summary.throughput / max(base.throughput, 1e-9)
    time = summary.frames.mean / max(base.frames.mean, 1e-9)
    if abs(rate - 1) > _SAME:
        return f"{rate:.2f} times the frames/s of {base_name}"
    if abs(time - 1) > _SAME:
        return f"as many frames/s as {base_name}, each taking {time:.2f} times as long"
    return f"as many frames/s as {base_name}"


def _longer(name: str, summary: Summary, base: Summary) -> Iterator[str]:
    """By how much the models take longer than in the base, and why."""
    a = _per_frame(summary)
    b = _per_frame(base)
    longer = a.work - b.work
    if abs(longer) <= _SAME * b.work:
        return
    text = f"its models take {a.work / b.work:.2f} times as long"
    if longer > 0:
        parts = _parts(a, b, _bottleneck(name, summary))
        causes = " and ".join(f"{format_ms(ns)} {cause}" for cause, ns in parts.items() if ns > _PART * longer)
        text += f": per frame {causes}"
    yield text


def _parts(a: _PerFrame, b: _PerFrame, bottleneck: str) -> dict[str, float]:
    """The time that models take longer, ns per frame: their CPU time first, then waiting for cores, then the others."""
    longer = a.work - b.work
    computing = min(longer, max(0.0, a.computing - b.computing))
    waiting = min(longer - computing, max(0.0, a.waiting - b.waiting))
    return {
        "computing more": computing,
        "waiting for a core": waiting,
        f"waiting for {bottleneck}": longer - computing - waiting,
    }


def _bottleneck(name: str, summary: Summary) -> str:
    """What models wait for that is neither measured nor a core."""
    text = "memory or other threads"
    if name in _SHARES_LOCK:
        text = _LOCK
    if summary.devices:
        overlap = summary.devices[0].overlap_kernels
        text = "the device"
        if overlap is not None:
            text = f"the device (kernels overlap {overlap:.0%})"
    if summary.cost is None or summary.cost.waiting is None:
        return f"a core or {text}"
    return text


class _PerFrame(NamedTuple):
    """ns per frame: models at work, their threads computing, threads waiting for a core."""

    work: float
    computing: float
    waiting: float


def _per_frame(s: Summary) -> _PerFrame:
    cost = s.cost or Cost()
    frames = max(1, s.frames.requests)
    waiting = (cost.waiting or 0.0) * NS_PER_S / max(s.throughput, 1e-9)
    return _PerFrame(sum(cost.models.values()) / frames, (cost.computing or 0.0) / frames, waiting)


def _price(a: Cost, b: Cost) -> Iterator[str]:
    """What it costs beside time, where that is much."""
    if a.memory and b.memory and a.memory > 1.25 * b.memory:
        yield f"{format_bytes(a.memory - b.memory)} more memory"
    if a.device_memory and b.device_memory and a.device_memory > 1.25 * b.device_memory:
        yield f"{format_bytes(a.device_memory - b.device_memory)} more device memory"
    if a.startup and b.startup and a.startup > 2 * b.startup and a.startup > 500 * NS_PER_MS:
        yield f"{format_ms(a.startup)} to start instead of {format_ms(b.startup)}"


def _idle(c: Cost) -> str:
    return f"none at work for {max(0.0, 1 - c.busy):.0%} of the time"


def _inferences(done: Trace) -> dict[str, Column]:
    """One row per inference: the rows of a batch share theirs."""
    r = done.requests
    keys = [r[name] for name in ("worker", "model", "batch_id")]
    order = np.lexsort(keys)
    new = np.logical_or.reduce([np.diff(key[order], prepend=key[order[:1]] - 1) != 0 for key in keys])
    rows = order[new]
    columns = ("worker", "model", "batched", "enqueued", "finished", "delivered", "cpu", "compute")
    return {name: r[name][rows] for name in columns}


def _union(begun: NDArray[np.int64], ended: NDArray[np.int64]) -> int:
    """Time in which any of the intervals runs, ns."""
    if not len(begun):
        return 0
    order = np.argsort(begun, kind="stable")
    reached = np.maximum.accumulate(ended[order])
    before = np.concatenate([begun[order][:1], reached[:-1]])
    return int(np.maximum(reached - np.maximum(before, begun[order]), 0).sum())


def _wall(done: Trace) -> int:
    return max(1, int(done.requests["delivered"].max() - done.requests["due"].min()))


def _rate(rates: Mapping[str, float], name: str) -> float | None:
    if name not in rates:
        return None
    return rates[name] / NS_PER_S


def _peak(values: Column) -> float | None:
    if not len(values) or values.max() <= 0:
        return None
    return float(values.max())
