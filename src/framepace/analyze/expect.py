"""Another tool's number against the stream's latency: the steps from one to the other, each measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np

from framepace.analyze.account import ends, minus, typical
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
    "call": "the call, from its start until the outputs are ready",
    "sent": "from when a request was actually sent until its outputs are ready",
}
SAME = 0.05  # a number that is reproduced within this share is called the same
_TIMES = ("h2d", "compute", "d2h")
_BACK_TO_BACK = ("tool", "ahead", "gapless")  # runs without the stream's gaps

_DEVICE = {
    "transfers": "the copies to and from the device",
    "launch": "the device waits for the host to start its copies and kernels",
    "host wake-up": "from the device's end until the host continues",
}
_LEFT_OUT: Mapping[Counts, tuple[str, ...]] = {
    "compute": tuple(_DEVICE),
    "device": tuple(_DEVICE)[1:],
    "call": (),
    "sent": (),
}
_HOW = {**STAGES, "backlog": "counted from when the frame was due, not from when it was sent"}


def expected(
    tool: str, counts: Counts, number: float, runs: Mapping[str, Trace], notes: Mapping[str, str]
) -> Expectation:
    """The steps from `number` (ns) to the median latency of the stream.

    A part is the mean over its typical frames, the third in the middle, as in `analyze.account`: stages add up, and
    outliers do not make the answer. The difference to the median that is left is 'unexplained'.

    Args:
        counts: what the tool's number counts (COUNTS).
        runs: traces of one model: 'tool' (its settings and load), 'ahead' (the plan's settings, its load), 'gapless',
            'model' and 'stream' (see explaining.evidence). Without 'tool' or 'ahead' the next one stands for it.
        notes: texts on the steps 'set-up', 'settings' and 'load'.
    """
    numbers = {name: _number(trace, counts) for name, trace in runs.items() if name in _BACK_TO_BACK}
    reproduced = numbers.get("tool", numbers.get("ahead", numbers["gapless"]))
    stream = columns(runs["stream"])
    steps = [
        _part("another set-up", "real", _minus_number(reproduced, number), _set_up(number, reproduced, notes)),
        *_to_gapless(numbers, notes),
        *_to_stream(runs, numbers["gapless"], counts, typical(stream, "latency")),
    ]
    parts = [part for part in steps if part.ns]
    measured = _median(stream["latency"])
    parts.append(_unexplained(measured - number - sum(part.ns for part in parts)))
    return Expectation(
        tool=tool,
        counts=COUNTS[counts],
        said=number,
        reproduced=reproduced.value,
        seen=measured,
        parts=tuple(parts),
    )


def _to_gapless(numbers: Mapping[str, Estimate], notes: Mapping[str, str]) -> Iterator[ExpectationPart]:
    """From the run with the tool's settings and load to that with the plan's."""
    gapless = numbers["gapless"]
    ahead = numbers.get("ahead", gapless)
    yield _part("its settings", "real", minus(ahead, numbers.get("tool", ahead)), notes.get("settings", ""))
    yield _part("its load", "load", minus(gapless, ahead), notes.get("load", ""))


def _to_stream(
    runs: Mapping[str, Trace], gapless: Estimate, counts: Counts, stream: Mapping[str, Column]
) -> Iterator[ExpectationPart]:
    """From the run without gaps to the stream's typical frames."""
    alone = typical(columns(runs["model"]), "infer")
    slower = minus(mean_interval(alone[_base(counts)]), gapless)
    yield _part("gaps between frames", "load", slower, _clocks(runs["gapless"], runs["model"]))
    yield from _left_out(alone, counts)
    yield from _in_stream(alone, stream)


def _left_out(alone: Mapping[str, Column], counts: Counts) -> Iterator[ExpectationPart]:
    """The parts of an inference that the tool's number does not count."""
    for name in _LEFT_OUT[counts]:
        yield _part(name, "left out", mean_interval(alone[name]), _DEVICE[name])


def _in_stream(alone: Mapping[str, Column], stream: Mapping[str, Column]) -> Iterator[ExpectationPart]:
    """By how much the inference takes longer in the stream, and the stages around it."""
    slower = minus(mean_interval(stream["infer"]), mean_interval(alone["infer"]))
    yield _part("beside the pipeline", "load", slower, "the inference in the pipeline instead of alone")
    for name in STAGES:
        if name != "infer":
            yield _part(name, "left out", mean_interval(stream[name]), _HOW[name])


def _minus_number(estimate: Estimate, number: float) -> Estimate:
    """`estimate` less an exact number."""
    return minus(estimate, Estimate(value=number, low=number, high=number))


def _unexplained(ns: float) -> ExpectationPart:
    return ExpectationPart(
        name="unexplained", ns=ns, kind="unexplained", how="from the typical frames to the median frame"
    )


def _median(values: Column) -> float:
    """The median; 0 of no values."""
    if not len(values):
        return 0.0
    return float(np.median(values))


def columns(trace: Trace) -> dict[str, Column]:
    """The times of each measured frame, ns: 'latency', the stages, the device's parts of 'infer', and 'sent'.

    The device's parts are 'h2d', 'compute' and 'd2h', 'transfers' and 'device' (sums of them), 'launch' and 'host
    wake-up'; frames without device times are left out where others have them, and without any the whole of 'infer' is
    'compute'. 'sent' is the latency without what is done to the frame before and after the inference.
    """
    whole = frame_trace(trace.measured())
    timed = np.minimum.reduce([whole.requests[name] for name in _TIMES]) >= 0
    if timed.any():
        whole = whole.where(timed)
    times = {"latency": whole.latency} | stages(whole)
    around = sum(times[name] for name in ("decode", "hand-over", "prepare", "finish"))
    times["sent"] = times["latency"] - around
    if timed.any():
        return times | _device(whole, times["infer"])
    return times | _without_device(times["infer"])


def _without_device(infer: Column) -> dict[str, Column]:
    """The parts of `infer` where nothing is known of a device: all of it computes."""
    zero = np.zeros_like(infer)
    return dict.fromkeys((*_DEVICE, *_TIMES), zero) | {"compute": infer, "device": infer}


def _last_work(r: Mapping[str, Column]) -> Column:
    """When the device ended its last work for each frame; negative where that is not known."""
    return np.where(r["d2h_at"] >= 0, r["d2h_at"] + r["d2h"], r["compute_at"] + r["compute"])


def _device(whole: Trace, infer: Column) -> dict[str, Column]:
    """The parts of `infer` of frames that all have device times, ns."""
    r = whole.requests
    times = {name: r[name] for name in _TIMES}
    last = _last_work(r)
    # The device's clock is laid on the host's within 20 us: what that error adds to one part it takes from another.
    host = infer - sum(times.values())
    wake = np.where(last >= 0, np.clip(r["finished"] - last, 0, np.maximum(host, 0)), 0)
    transfers = times["h2d"] + times["d2h"]
    parts = {"transfers": transfers, "launch": host - wake, "host wake-up": wake}
    return times | parts | {"device": transfers + times["compute"]}


def _base(counts: Counts) -> str:
    """The column that the tool counts, in runs that have no queue of their own."""
    if counts in ("call", "sent"):
        return "infer"
    return counts


def _number(trace: Trace, counts: Counts) -> Estimate:
    """The number that the tool would print for this run.

    In a run without gaps a request waits for those that were sent before, which counts for 'sent' alone.
    """
    column = _base(counts)
    if counts == "sent":
        column = "sent"
    return mean_interval(typical(columns(trace), column)[column])


def _part(name: str, kind: PartKind, part: Estimate, how: str) -> ExpectationPart:
    return ExpectationPart(name=name, ns=part.value, kind=kind, how=how, interval=ends(part))


def _set_up(number: float, reproduced: Estimate, notes: Mapping[str, str]) -> str:
    text = f"its number is {format_ms(reproduced.value)} here"
    if abs(reproduced.value - number) > SAME * number:
        text += ": another clock, engine or batch"
    return "; ".join(filter(None, (text, notes.get("set-up"))))


def _clocks(gapless: Trace, paced: Trace) -> str:
    """How the gaps are measured, and the SM clock on both sides where it is known."""
    clocks = [trace.measured().requests["sm_clock_before"] for trace in (gapless, paced)]
    read = [clock[clock >= 0] for clock in clocks]
    text = "the same with the stream's gaps, compared with back to back"
    if not all(len(clock) for clock in read):
        return text
    before, after = (float(np.median(clock)) for clock in read)
    return f"{text}; SM clock {before:,.0f} to {after:,.0f} MHz"
