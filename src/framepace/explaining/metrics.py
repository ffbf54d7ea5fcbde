"""Metrics: what a trial compares, how it is computed from the trace of a block, and what it means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from framepace.analyze.settling import last_level
from framepace.analyze.stages import frames, stages
from framepace.facts.finding import MetricKind
from framepace.facts.trace import Trace

Samples = NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """A quantity of a block: its samples, and the statistic of them that is compared.

    Args:
        name: as printed.
        unit: 'ns' or 'mW'.
        samples: trace -> samples, shape (n,).
        kind: what it measures, in the terms of the account.
        statistic: of the samples of a block.
        verified_by: the metric of the whole stream that a gain in this one must show up in; None: this one itself.
    """

    name: str
    unit: str
    samples: Callable[[Trace], Samples]
    kind: MetricKind = "latency"
    statistic: Literal["median", "mean"] = "median"
    verified_by: Metric | None = None

    def value(self, trace: Trace) -> float | None:
        """The metric of one block; None where it has no samples."""
        samples = self.samples(trace)
        if not len(samples):
            return None
        return float(np.mean(samples)) if self.statistic == "mean" else float(np.median(samples))


def latency(trace: Trace) -> Samples:
    """Latency of whole frames, ns, from where its level stays."""
    return _on_last_level(_latencies(trace))


def _latencies(trace: Trace) -> Samples:
    """Latency of all whole frames, ns."""
    return np.asarray(frames(trace.measured())["latency"], dtype=np.float64)


def inference(trace: Trace) -> Samples:
    """Inference time and the worker's wake-up before it, ns per (frame, model), from where their level stays."""
    parts = stages(trace.measured())
    return _on_last_level(np.asarray(parts["infer"] + parts["wake-up"], dtype=np.float64))


def compute(trace: Trace) -> Samples:
    """Time of the kernels on the device, ns per (frame, model), from where its level stays."""
    values = trace.measured().requests["compute"]
    return _on_last_level(np.asarray(values[values >= 0], dtype=np.float64))


def _on_last_level(values: Samples) -> Samples:
    """The samples of the last level: a block begins on that of the block before, until clocks have followed."""
    return values[last_level(values) :]


def cpu(trace: Trace) -> Samples:
    """CPU time of the whole process per frame, ns; one number per block."""
    telemetry = trace.telemetry
    count = len(_latencies(trace))
    host = (telemetry["device"] < 0) & (telemetry["process_cpu"] >= 0)
    times = telemetry["time"][host]
    if len(times) < 2 or count == 0:
        return np.empty(0)
    used = telemetry["process_cpu"][host]
    rate = (used[-1] - used[0]) / max(1, times[-1] - times[0])
    span = trace.requests["delivered"].max() - trace.measured().requests["due"].min()
    return np.array([rate * span / count])


def power(trace: Trace) -> Samples:
    """Power of the devices together, mW; one number per block."""
    telemetry = trace.telemetry
    metered = (telemetry["device"] >= 0) & (telemetry["power_mw"] >= 0)
    devices = np.unique(telemetry["device"][metered])
    if not len(devices):
        return np.empty(0)
    total = sum(float(np.mean(telemetry["power_mw"][metered & (telemetry["device"] == d)])) for d in devices)
    return np.array([total])


def interval(trace: Trace) -> Samples:
    """Wall time between deliveries of frames, ns (the inverse of throughput); one number per block.

    It counts from the end of the first batch on, whose own frames took time before that: with few large batches in a
    block they would seem faster than they are.
    """
    rows = trace.measured().requests
    if not len(rows["frame"]):
        return np.empty(0)
    first_batch = rows["batch_id"] == rows["batch_id"][np.argmin(rows["delivered"])]
    first = np.isin(rows["frame"], rows["frame"][first_batch])
    count = len(np.unique(rows["frame"][~first]))
    if not count:
        return np.empty(0)
    return np.array([(rows["delivered"].max() - rows["delivered"][first].max()) / count], dtype=np.float64)


def tail(trace: Trace) -> Samples:
    """Latencies of the slowest twentieth of frames, ns."""
    values = np.sort(_latencies(trace))
    return values[-max(1, len(values) // 20) :]


LATENCY = Metric("latency", "ns", latency)
MEAN_LATENCY = Metric("mean latency", "ns", latency, statistic="mean")
INFERENCE = Metric("inference", "ns", inference, verified_by=LATENCY)
MEAN_INFERENCE = Metric("mean inference", "ns", inference, statistic="mean", verified_by=MEAN_LATENCY)
COMPUTE = Metric("kernels on the device", "ns", compute, verified_by=LATENCY)
TAIL = Metric("slowest 5 % of frames", "ns", tail, "tail", "mean")
CPU = Metric("CPU time a frame", "ns", cpu, "cpu", "mean")
INTERVAL = Metric("time between frames", "ns", interval, "throughput", "mean")
POWER = Metric("power", "mW", power, "power", "mean")


def at_clock(kernels: float, mhz: float) -> Metric:
    """The kernels' time as the SM clock alone would have it: `kernels` ns at `mhz`, in proportion to 1 / clock."""

    def samples(trace: Trace) -> Samples:
        clocks = _settled(trace)["sm_clock_before"]
        return kernels * mhz / np.asarray(clocks[clocks > 0], dtype=np.float64)

    return Metric("kernels at the clock they met", "ns", samples, verified_by=LATENCY)


def beside_clock(mhz: float) -> Metric:
    """The kernels' time scaled to the clock `mhz`: what a clock that follows the gaps does not explain."""

    def samples(trace: Trace) -> Samples:
        rows = _settled(trace)
        clocked = (rows["compute"] >= 0) & (rows["sm_clock_before"] > 0)
        return np.asarray(rows["compute"][clocked] * rows["sm_clock_before"][clocked] / mhz, dtype=np.float64)

    return Metric("kernels at the same clock", "ns", samples, verified_by=LATENCY)


def _settled(trace: Trace) -> Mapping[str, NDArray[Any]]:
    """The second half of a block: a governor that follows the load still reacts to the block before in the first."""
    rows = trace.measured().requests
    return {name: values[len(values) // 2 :] for name, values in rows.items()}
