"""A trial: the same case with and without one change, in interleaved blocks (A B B A), and the verdict on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.analyze.stages import frames, stages
from framepace.analyze.stats import paired_ratio
from framepace.facts.finding import Intervention, Verdict
from framepace.facts.settings import Case, apply
from framepace.facts.summary import Estimate
from framepace.facts.trace import Trace
from framepace.facts.workload import Warmup
from framepace.lab.lab import Lab

Samples = NDArray[np.float64]
MATERIAL = 0.05  # an effect under 5 % of the metric is not reported as a cause
FEWEST_PAIRS = 2
_BLOCK_WARMUP = Warmup(window=3, tolerance=0.15, seconds_max=0.6)  # the models ran just before


def latency(trace: Trace) -> Samples:
    """Latency of whole frames, ns."""
    return _whole(trace, "latency")


def inference(trace: Trace) -> Samples:
    """Inference time and the worker's wake-up before it, ns a (frame, model)."""
    parts = stages(trace.measured())
    return np.asarray(parts["infer"] + parts["wake-up"], dtype=np.float64)


def compute(trace: Trace) -> Samples:
    """Time of the kernels on the device, ns a (frame, model)."""
    values = trace.measured().requests["compute"]
    return np.asarray(values[values >= 0], dtype=np.float64)


def at_clock(kernels: float, mhz: float) -> Metric:
    """The kernels' time as the SM clock alone would have it: `kernels` ns at `mhz`, in proportion to 1 / clock."""

    def samples(trace: Trace) -> Samples:
        clocks = _settled(trace)["sm_clock_before"]
        return kernels * mhz / np.asarray(clocks[clocks > 0], dtype=np.float64)

    return Metric("kernels at the clock they met", "ns", samples)


def beside_clock(mhz: float) -> Metric:
    """The kernels' time brought to the clock `mhz`: what a clock that follows the gaps does not explain."""

    def samples(trace: Trace) -> Samples:
        rows = _settled(trace)
        known = (rows["compute"] >= 0) & (rows["sm_clock_before"] > 0)
        return np.asarray(rows["compute"][known] * rows["sm_clock_before"][known] / mhz, dtype=np.float64)

    return Metric("kernels at the same clock", "ns", samples)


def _settled(trace: Trace) -> Mapping[str, NDArray[Any]]:
    """The second half of a block: a governor that follows the load still has the block before in mind at first."""
    rows = trace.measured().requests
    return {name: values[len(values) // 2 :] for name, values in rows.items()}


def cpu(trace: Trace) -> Samples:
    """CPU time of the whole process a frame, ns; one number a block."""
    t, n = trace.telemetry, len(latency(trace))
    host = (t["device"] < 0) & (t["process_cpu"] >= 0)
    used, times = t["process_cpu"][host], t["time"][host]
    if len(times) < 2 or n == 0:
        return np.empty(0)
    span = trace.requests["delivered"].max() - trace.measured().requests["due"].min()
    rate = (used[-1] - used[0]) / max(1, times[-1] - times[0])
    return np.array([rate * span / n])


def power(trace: Trace) -> Samples:
    """Power of the devices together, mW; one number a block."""
    t = trace.telemetry
    known = (t["device"] >= 0) & (t["power_mw"] >= 0)
    devices = np.unique(t["device"][known])
    total = sum(float(np.mean(t["power_mw"][known & (t["device"] == d)])) for d in devices)
    return np.array([total]) if len(devices) else np.empty(0)


def interval(trace: Trace) -> Samples:
    """Wall time between deliveries of frames, ns (the inverse of throughput); one number a block."""
    r = trace.measured().requests
    count = len(np.unique(r["frame"]))
    if count < 2:
        return np.empty(0)
    return np.array([(r["delivered"].max() - r["delivered"].min()) / (count - 1)], dtype=np.float64)


def tail(trace: Trace) -> Samples:
    """Latencies of the slowest twentieth of frames, ns."""
    values = np.sort(_whole(trace, "latency"))
    return values[-max(1, len(values) // 20) :]


def _whole(trace: Trace, column: str) -> Samples:
    return np.asarray(frames(trace.measured())[column], dtype=np.float64)


@dataclass(frozen=True)
class Metric:
    """What a trial looks at: samples of a block, and which number of them counts ('median', 'mean')."""

    name: str
    unit: str
    samples: Callable[[Trace], Samples]
    statistic: str = "median"


LATENCY = Metric("latency", "ns", latency)
MEAN_LATENCY = Metric("mean latency", "ns", latency, "mean")
INFERENCE = Metric("inference", "ns", inference)
CPU = Metric("CPU time a frame", "ns", cpu, "mean")
POWER = Metric("power", "mW", power, "mean")
MEAN_INFERENCE = Metric("mean inference", "ns", inference, "mean")
COMPUTE = Metric("kernels on the device", "ns", compute)
INTERVAL = Metric("time between frames", "ns", interval, "mean")
TAIL = Metric("slowest 5 % of frames", "ns", tail, "mean")


@dataclass
class Blocks:
    """The blocks of a trial as they come in."""

    before: list[Trace] = field(default_factory=list)
    after: list[Trace] = field(default_factory=list)

    def ratio(self, metric: Metric) -> Estimate:
        """After/before of the metric, over interleaved pairs."""
        before, after = ([metric.samples(t) for t in side] for side in (self.before, self.after))
        return paired_ratio(before, after, metric.statistic)

    def value(self, side: list[Trace], metric: Metric) -> Estimate:
        """The metric of one side: median over its blocks, with their range."""
        reduce = np.mean if metric.statistic == "mean" else np.median
        values = [float(reduce(s)) for s in map(metric.samples, side) if len(s)]
        if not values:
            return Estimate(value=0.0)
        return Estimate(value=float(np.median(values)), low=min(values), high=max(values))


def run_trial(
    lab: Lab,
    base: Case,
    change: dict[str, Any],
    seconds: float,
    pairs: int = 2,
    text: str = "",
    clear: Callable[[Blocks], bool] | None = None,
) -> Blocks:
    """Measure `base` and `base` with `change` in the order A B B A ..., `seconds` a block.

    It ends after two pairs or three when what they show is `clear`.
    """
    blocks, changed = Blocks(), apply(base, change)
    for pair in range(pairs):
        if pair >= FEWEST_PAIRS and clear is not None and clear(blocks):
            break
        order = [(blocks.before, base), (blocks.after, changed)]
        for number, (side, case) in enumerate(order if pair % 2 == 0 else order[::-1]):
            lab.say(f"{text} ({2 * pair + number + 1}/{2 * pairs})")
            side.append(lab.run(case, seconds, warmup=_BLOCK_WARMUP))
    return blocks


def judge(ratio: Estimate, material: float = MATERIAL) -> Verdict:
    """Confirmed when the change surely and materially lowers the metric, refuted when it surely does not.

    An interval that leaves room for twice the least effect that counts has taught nothing, wherever its middle is.
    """
    if ratio.low is None or ratio.high is None:
        return "undecided"
    if ratio.high < 1 and ratio.value <= 1 - material:
        return "confirmed"
    refuted = ratio.low > 1 - material or (ratio.value >= 1 and ratio.low > 1 - 2 * material)
    return "refuted" if refuted else "undecided"


def intervention(blocks: Blocks, change: dict[str, Any], metric: Metric) -> Intervention:
    """The record of a trial."""
    return Intervention(
        changed=change,
        metric=metric.name,
        unit=metric.unit,
        before=blocks.value(blocks.before, metric),
        after=blocks.value(blocks.after, metric),
        ratio=blocks.ratio(metric),
        rounds=len(blocks.before),
    )
