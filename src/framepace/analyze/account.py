"""The account of the scopes: why the same model takes longer in a stream than alone."""

from __future__ import annotations

import math

import numpy as np

from framepace.analyze.stages import STAGES, frames
from framepace.analyze.stats import Values, mean_interval
from framepace.facts.finding import Account, AccountLine
from framepace.facts.summary import Estimate
from framepace.facts.trace import Column, Trace

SLOWER = "inference slower than alone"


def account(model: Trace, pipeline: Trace, stream: Trace) -> Account:
    """Where the time goes between the model alone and a frame in the stream, stage by stage, in ns.

    `model` is the median inference of a frame in the scope 'model', `pipeline` and `stream` are median latencies of
    whole frames. Medians of stages do not add up to a median, and means belong to the outliers; so the lines are means
    over the typical frames, the third in the middle by latency, where stages add up and the sum is all but the
    median. What that leaves is `unexplained`. Each line has its 95 % interval; stages that are always 0 are left out.
    """
    alone, between, whole = (frames(t.measured()) for t in (model, pipeline, stream))
    usual = typical(whole, "latency")
    apart = minus(mean_interval(usual["infer"]), mean_interval(typical(alone, "infer")["infer"]))
    parts = {s: apart if s == "infer" else mean_interval(usual[s]) for s in STAGES if usual[s].any()}
    lines = tuple(_line(SLOWER if stage == "infer" else stage, part) for stage, part in parts.items())
    medians = [_median(alone["infer"]), _median(between["latency"]), _median(whole["latency"])]
    unexplained = medians[2] - medians[0] - sum(line.ns for line in lines) if lines else 0.0
    return Account(model=medians[0], pipeline=medians[1], stream=medians[2], lines=lines, unexplained=unexplained)


def typical(found: dict[str, Column], by: str) -> dict[str, Column]:
    """The frames in the middle third by one of their columns (all of length n); all of them under nine."""
    values = found[by]
    if len(values) < 9:
        return found
    low, high = np.quantile(values, [1 / 3, 2 / 3])
    keep = (values >= low) & (values <= high)
    return {name: column[keep] for name, column in found.items()}


def minus(a: Estimate, b: Estimate) -> Estimate:
    """a - b of two independent estimates; no interval unless both have one."""
    value = a.value - b.value
    if a.low is None or b.low is None:
        return Estimate(value=value)
    half = math.hypot(a.value - a.low, b.value - b.low)
    return Estimate(value=value, low=value - half, high=value + half)


def _line(name: str, part: Estimate) -> AccountLine:
    interval = None if part.low is None or part.high is None else (part.low, part.high)
    return AccountLine(name=name, ns=part.value, interval=interval)


def _median(values: Values) -> float:
    return float(np.median(values)) if len(values) else 0.0
