"""What a strategy costs, and why one beats another: where the time of its models went.

With n frames in a wall time T, models at work for W ns in all, `together` of them at once on average while any was,
which was a share `busy` of T:   n / T = together * busy / (W / n).   So a strategy wins by running models side by side,
and loses by what each then takes longer, and by the time in which none is at work (hand-over, decoding, waiting).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from framepace.facts.summary import Cost, Summary
from framepace.facts.trace import Column, Trace
from framepace.units import NS_PER_MS, NS_PER_S, format_bytes, format_ms

_SAME = 0.05  # a difference below that share is not told
_PART = 0.15  # of what models take longer: a smaller part is not told
_NEIGHBOURS = 0.2  # of the machine's CPU time
_ALIKE = ("serial", "workers")  # what the others are held against, the first that was measured
_LOCK, _BLOCKED = "the interpreter lock", ": a blocking call holds the event loop"
_SHARES_LOCK = ("threads", "asyncio-threads")
_ELSEWHERE = ("threads", "asyncio-threads", "processes")


def cost(done: Trace, host: Mapping[str, Column], rates: Mapping[str, float]) -> Cost:
    """What the run took of the machine.

    Args:
        done: the delivered rows past warm-up.
        host: the host's telemetry of the run.
        rates: counters of the host's telemetry a second ('process_cpu_s', 'run_delay_s').
    """
    work = _inferences(done)
    took = work["delivered"] - work["batched"]
    names = done.meta.names
    union, startup, t = _union(work["batched"], work["delivered"]), done.meta.startup, done.telemetry
    return Cost(
        startup=float(startup["models"] + startup.get("workers", 0)) if "models" in startup else None,
        models={name: float(took[work["model"] == i].sum()) for i, name in enumerate(names)},
        computing=float(work["cpu"].sum()) if (work["cpu"] >= 0).all() else None,
        together=float(took.sum()) / union if union else 0.0,
        busy=union / _wall(done) if union else 0.0,
        cores=_rate(rates, "process_cpu_s"),
        waiting=_rate(rates, "run_delay_s"),
        memory=_peak(host["memory_bytes"]),
        device_memory=_peak(t["device_memory_bytes"][t["device"] >= 0]),
    )


def reasons(summaries: Mapping[str, Summary]) -> dict[str, str]:
    """One sentence a strategy, by name: how it compares with the plainest one measured, and why."""
    base = next((name for name in (*_ALIKE, *summaries) if name in summaries and summaries[name].cost), None)
    if base is None:
        return {}
    told = {name: ", ".join(_reason(name, s, base, summaries[base])) for name, s in summaries.items() if s.cost}
    return {name: text[:1].upper() + text[1:] + "." for name, text in told.items()}


def _reason(name: str, own: Summary, base_name: str, base: Summary) -> Iterator[str]:
    a, b = own.cost or Cost(), base.cost or Cost()
    if name == base_name:
        yield f"what the others are held against: {a.together:.1f} models at work at once, {_idle(a)}"
        if (others := base.neighbours_cpu or 0.0) > _NEIGHBOURS:
            yield f"while others used {others:.0%} of the machine, so that small differences mean nothing"
        return
    yield _compared(own, base, base_name)
    if abs(a.together / max(b.together, 1e-9) - 1) > _SAME:
        yield f"{a.together:.1f} models at work at once, not {b.together:.1f}"
    elif name != "workers" and a.together < 1 + _SAME:
        yield "one model after the other here too" + (_BLOCKED if name == "asyncio" else "")
    yield from _longer(name, own, base)
    if b.busy - a.busy > _SAME:
        yield f"{_idle(a)}{' (frames and results are handed over)' if name in _ELSEWHERE else ''}"
    yield from _price(a, b)


def _compared(own: Summary, base: Summary, base_name: str) -> str:
    """Frames a second where they differ, else, as under a paced load, the mean latency."""
    rate, time = own.throughput / max(base.throughput, 1e-9), own.frames.mean / max(base.frames.mean, 1e-9)
    if abs(rate - 1) > _SAME:
        return f"{rate:.2f} times the frames/s of {base_name}"
    latency = f", each in {time:.2f} times its time" if abs(time - 1) > _SAME else ""
    return f"as many frames/s as {base_name}{latency}"


def _longer(name: str, own: Summary, base: Summary) -> Iterator[str]:
    """What the models take longer than in the base, and for what."""
    a, b = _a_frame(own), _a_frame(base)
    longer = a["work"] - b["work"]
    if abs(longer) <= _SAME * b["work"]:
        return
    parts = _parts(name, own, longer, a, b) if longer > 0 else {}
    told = " and ".join(f"{format_ms(ns)} {what}" for what, ns in parts.items() if ns > _PART * longer)
    yield f"its models take {a['work'] / b['work']:.2f} times the time{f': a frame {told}' if told else ''}"


def _parts(name: str, own: Summary, longer: float, a: dict[str, float], b: dict[str, float]) -> dict[str, float]:
    """What models take `longer` (ns a frame) as parts: first their own CPU time, then the cores', then what is left."""
    device = own.devices[0] if own.devices else None
    rest = _LOCK if name in _SHARES_LOCK else "memory or other threads"
    if device is not None:
        overlap = device.overlap_kernels
        rest = "the device" if overlap is None else f"the device, whose kernels overlap {overlap:.0%}"
    if own.cost is None or own.cost.waiting is None:
        rest = f"a core or {rest}"
    computed = min(longer, max(0.0, a["computing"] - b["computing"]))
    core = min(longer - computed, max(0.0, a["waiting"] - b["waiting"]))
    return {"computing more": computed, "waiting for a core": core, f"waiting for {rest}": longer - computed - core}


def _a_frame(s: Summary) -> dict[str, float]:
    """ns a frame: models at work, their threads computing, threads waiting for a core."""
    c, frames = s.cost or Cost(), max(1, s.frames.requests)
    waiting = (c.waiting or 0.0) * NS_PER_S / max(s.throughput, 1e-9)
    return {"work": sum(c.models.values()) / frames, "computing": (c.computing or 0.0) / frames, "waiting": waiting}


def _price(a: Cost, b: Cost) -> Iterator[str]:
    """What it costs beside time, where that is much."""
    if a.memory and b.memory and a.memory > 1.25 * b.memory:
        yield f"{format_bytes(a.memory - b.memory)} more memory"
    if a.device_memory and b.device_memory and a.device_memory > 1.25 * b.device_memory:
        yield f"{format_bytes(a.device_memory - b.device_memory)} more device memory"
    if a.startup and b.startup and a.startup > 2 * b.startup and a.startup > 500 * NS_PER_MS:
        yield f"{format_ms(a.startup)} to start, not {format_ms(b.startup)}"


def _idle(c: Cost) -> str:
    return f"none at work for {max(0.0, 1 - c.busy):.0%} of the time"


def _inferences(done: Trace) -> dict[str, Column]:
    """One row an inference: the rows of a batch share theirs."""
    r = done.requests
    keys = [r[name] for name in ("worker", "model", "batch_id")]
    order = np.lexsort(keys)
    new = np.logical_or.reduce([np.diff(key[order], prepend=key[order[:1]] - 1) != 0 for key in keys])
    rows = order[new]
    return {name: r[name][rows] for name in ("model", "batched", "delivered", "cpu")}


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
    return rates[name] / NS_PER_S if name in rates else None


def _peak(values: Column) -> float | None:
    return float(values.max()) if len(values) and values.max() > 0 else None
