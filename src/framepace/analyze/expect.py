"""Another tool's number against the stream's latency: the steps from one to the other, each measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from framepace.analyze.account import minus, typical
from framepace.analyze.stages import STAGES, frame_trace, stages
from framepace.analyze.stats import mean_interval
from framepace.facts.finding import Expectation, ExpectationPart, PartKind
from framepace.facts.summary import Estimate
from framepace.facts.trace import Column, Trace
from framepace.units import format_ms

Counts = Literal["compute", "device", "call", "sent"]
COUNTS: Mapping[Counts, str] = {
    "compute": "the kernels, from CUDA events",
    "device": "the copies and the kernels, from CUDA events",
    "call": "the call, from its start until the outputs are there",
    "sent": "from when a request was really sent until its outputs are there",
}
SAME = 0.05  # a number that is reproduced within this share is called the same

_DEVICE = {
    "transfers": "the copies to and from the device",
    "launch": "the device waits for the host to start its copies and kernels",
    "host wake-up": "from the device's end until the host goes on",
}
_LEFT_OUT: Mapping[Counts, tuple[str, ...]] = {
    "compute": tuple(_DEVICE),
    "device": tuple(_DEVICE)[1:],
    "call": (),
    "sent": (),
}
_HOW = {**STAGES, "backlog": "counted from when the frame was due, not from when it was sent"}


def expected(tool: str, counts: Counts, said: float, runs: Mapping[str, Trace], told: Mapping[str, str]) -> Expectation:
    """The way from `said` (ns) to the median latency of the stream.

    A number is the mean over its typical frames, the third in the middle, as in `analyze.account`: stages add up, and
    outliers do not make the answer. What that leaves to the median is 'unexplained'.

    Args:
        counts: what the tool's number counts (COUNTS).
        runs: traces of one model: 'tool' (its settings and load), 'ahead' (the plan's settings, its load), 'gapless',
            'model' and 'stream' (see explaining.situation). Without 'tool' or 'ahead' the next one stands for it.
        told: what to say of the steps 'set-up', 'settings' and 'load', in words.
    """
    at = {name: _number(trace, counts) for name, trace in runs.items() if name in ("tool", "ahead", "gapless")}
    gapless = at["gapless"]
    ahead = at.get("ahead", gapless)
    reproduced = at.get("tool", ahead)
    alone, whole = typical(columns(runs["model"]), "infer"), typical(columns(runs["stream"]), "latency")
    paced, infer = (mean_interval(alone[name]) for name in (_base(counts), "infer"))
    parts = [
        _part(
            "another set-up",
            "real",
            minus(reproduced, Estimate(value=said, low=said, high=said)),
            _set_up(said, reproduced, told),
        ),
        _part("its settings", "real", minus(ahead, reproduced), told.get("settings", "")),
        _part("its load", "load", minus(gapless, ahead), told.get("load", "")),
        _part("gaps between frames", "load", minus(paced, gapless), _clocks(runs["gapless"], runs["model"])),
        *(_part(name, "left out", mean_interval(alone[name]), _DEVICE[name]) for name in _LEFT_OUT[counts]),
        _part("beside the pipeline", "load", minus(mean_interval(whole["infer"]), infer), "the inference, not alone"),
        *(_part(name, "left out", mean_interval(whole[name]), _HOW[name]) for name in STAGES if name != "infer"),
    ]
    seen = float(np.median(columns(runs["stream"])["latency"])) if len(whole["latency"]) else 0.0
    kept = [part for part in parts if part.ns]
    rest = seen - said - sum(part.ns for part in kept)
    kept.append(
        ExpectationPart(name="unexplained", ns=rest, kind="unexplained", how="the typical frames to the median")
    )
    return Expectation(
        tool=tool, counts=COUNTS[counts], said=said, reproduced=reproduced.value, seen=seen, parts=tuple(kept)
    )


def columns(trace: Trace) -> dict[str, Column]:
    """What each measured frame spent, ns: 'latency', the stages, the device's parts of 'infer', and 'sent'.

    The device's parts are 'h2d', 'compute' and 'd2h', 'transfers' and 'device' (sums of them), 'launch' and 'host
    wake-up'; frames without device times are left out where others have them, and without any the whole of 'infer' is
    'compute'. 'sent' is all but what is done to the frame before and after the inference.
    """
    whole = frame_trace(trace.measured())
    known = np.minimum.reduce([whole.requests[name] for name in ("h2d", "compute", "d2h")]) >= 0
    whole = whole.where(known) if known.any() else whole
    found = {"latency": whole.latency} | stages(whole)
    around = sum(found[name] for name in ("decode", "hand-over", "prepare", "finish"))
    return found | {"sent": found["latency"] - around} | _device(whole, found["infer"], bool(known.any()))


def _device(whole: Trace, infer: Column, known: bool) -> dict[str, Column]:
    r, zero = whole.requests, np.zeros_like(infer)
    if not known:
        return dict.fromkeys((*_DEVICE, "h2d", "d2h"), zero) | {"compute": infer, "device": infer}
    times = {name: r[name] for name in ("h2d", "compute", "d2h")}
    last = np.where(r["d2h_at"] >= 0, r["d2h_at"] + r["d2h"], r["compute_at"] + r["compute"])
    # The device's clock is laid on the host's within 20 us: what that error adds to one part it takes from another.
    host = infer - sum(times.values())
    wake = np.where(last >= 0, np.clip(r["finished"] - last, 0, np.maximum(host, 0)), 0)
    transfers = times["h2d"] + times["d2h"]
    parts = {"transfers": transfers, "launch": host - wake, "host wake-up": wake}
    return times | parts | {"device": transfers + times["compute"]}


def _base(counts: Counts) -> str:
    """The column of what the tool counts, in runs that have no queue of their own."""
    return "infer" if counts in ("call", "sent") else counts


def _number(trace: Trace, counts: Counts) -> Estimate:
    """What the tool would print of this run; in a run without gaps a request waits for those that were sent before."""
    column = "sent" if counts == "sent" else _base(counts)
    return mean_interval(typical(columns(trace), column)[column])


def _part(name: str, kind: PartKind, part: Estimate, how: str) -> ExpectationPart:
    interval = None if part.low is None or part.high is None else (part.low, part.high)
    return ExpectationPart(name=name, ns=part.value, kind=kind, how=how, interval=interval)


def _set_up(said: float, reproduced: Estimate, told: Mapping[str, str]) -> str:
    same = abs(reproduced.value - said) <= SAME * said
    words = f"its number is {format_ms(reproduced.value)} here"
    return "; ".join(filter(None, (words if same else f"{words}: another clock, engine or batch", told.get("set-up"))))


def _clocks(gapless: Trace, paced: Trace) -> str:
    """What the gaps are measured by, and the SM clock on both sides where it is known."""
    clocks = [trace.measured().requests["sm_clock_before"] for trace in (gapless, paced)]
    known = [clock[clock >= 0] for clock in clocks]
    told = "the same with the stream's gaps, against back to back"
    if not all(len(clock) for clock in known):
        return told
    before, after = (float(np.median(clock)) for clock in known)
    return f"{told}; SM clock {before:,.0f} to {after:,.0f} MHz"
