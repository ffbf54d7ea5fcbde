"""The account of the scopes: why the same model takes longer in a stream than alone."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from framepace.analyze.correlation import Values
from framepace.analyze.stages import STAGES, frames
from framepace.analyze.stats import mean_interval
from framepace.facts.finding import Account, AccountLine
from framepace.facts.summary import Estimate
from framepace.facts.trace import Column, Trace

SLOWER = "inference slower than alone"
_UNLIKE = 1.1  # times as many frames in an inference
_FEWEST = 9  # fewest frames for which a third is enough


def account(model: Trace, pipeline: Trace, stream: Trace) -> Account:
    """Where the time goes between the model alone and a frame in the stream, stage by stage, in ns.

    `model` is the median inference of a frame in the scope 'model', `pipeline` and `stream` are median latencies of
    whole frames. Medians of stages do not add up to a median, and means belong to the outliers; so the lines are means
    over the typical frames, the third in the middle by latency, where stages add up and the sum is all but the
    median. The difference that is left is `unexplained`. Each line has its 95 % interval; stages that are always 0 are
    left out.
    """
    alone, between, whole = (frames(t.measured()) for t in (model, pipeline, stream))
    lines = _lines(typical(alone, "infer"), typical(whole, "latency"), _compared(model, stream))
    model_ns = _median(alone["infer"])
    stream_ns = _median(whole["latency"])
    unexplained = 0.0
    if lines:
        unexplained = stream_ns - model_ns - sum(line.ns for line in lines)
    return Account(
        model=model_ns,
        pipeline=_median(between["latency"]),
        stream=stream_ns,
        lines=lines,
        unexplained=unexplained,
    )


def _compared(model: Trace, stream: Trace) -> str:
    """What the difference of the two inferences is called: of batches of unlike size it says nothing else."""
    sizes = [mean_batch(trace) for trace in (model, stream)]
    if min(sizes) and max(sizes) > _UNLIKE * min(sizes):
        return f"inference in batches of {sizes[1]:.1f}, alone of {sizes[0]:.1f}"
    return SLOWER


def mean_batch(trace: Trace) -> float:
    """Frames per inference past warm-up; 0 where none was measured."""
    sizes = trace.measured().requests["batch_size"]
    if not len(sizes):
        return 0.0
    return float(len(sizes) / np.sum(1 / np.maximum(sizes, 1)))


def _lines(alone: Mapping[str, Column], stream: Mapping[str, Column], compared: str) -> tuple[AccountLine, ...]:
    """The stages of the stream's typical frames, the inference as what it takes beyond that of the model alone."""
    parts = {stage: mean_interval(stream[stage]) for stage in STAGES if stream[stage].any()}
    if "infer" in parts:
        parts["infer"] = minus(parts["infer"], mean_interval(alone["infer"]))
    return tuple(_line({"infer": compared}.get(stage, stage), part) for stage, part in parts.items())


def typical(columns: dict[str, Column], by: str) -> dict[str, Column]:
    """The frames in the middle third by one of their columns (all of length n); all frames of under nine."""
    values = columns[by]
    if len(values) < _FEWEST:
        return columns
    low, high = np.quantile(values, [1 / 3, 2 / 3])
    keep = (values >= low) & (values <= high)
    return {name: column[keep] for name, column in columns.items()}


def minus(a: Estimate, b: Estimate) -> Estimate:
    """a - b of two independent estimates; no interval unless both have one."""
    value = a.value - b.value
    if a.low is None or b.low is None:
        return Estimate(value=value)
    half = math.hypot(a.value - a.low, b.value - b.low)
    return Estimate(value=value, low=value - half, high=value + half)


def _line(name: str, part: Estimate) -> AccountLine:
    return AccountLine(name=name, ns=part.value, interval=ends(part))


def ends(part: Estimate) -> tuple[float, float] | None:
    """The interval of an estimate that has one."""
    if part.low is None or part.high is None:
        return None
    return part.low, part.high


def _median(values: Values) -> float:
    """The median; 0 of no values."""
    if not len(values):
        return 0.0
    return float(np.median(values))
