"""Runs on the simulated device: engine, feeds and telemetry in virtual time, with one worker and with several."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from framepace import api
from framepace.analyze.summary import summarize
from framepace.clock.system import SystemClock
from framepace.clock.virtual import VirtualClock
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.trace import Trace
from framepace.facts.workload import Closed, Stop
from framepace.measure.session import clock_for

FIXED: dict[str, Any] = {
    "option.device": "ideal", "option.kernels": 1, "option.gflops": 5.0, "option.mbytes": 0, "option.weights_mb": 0,
    "option.blocks": 100, "option.efficiency": 0.5, "transfer": "device",
}  # fmt: skip


def run(**changes: Any) -> Trace:
    """A closed loop of 60 requests of 1 ms each on a device without any effect."""
    load = Closed(concurrency=changes.pop("concurrency", None))
    settings = {"backend": "simulated", **FIXED, **changes}
    return api.bench("null", load=load, scope="model", stop=Stop(count=60), settings=settings)


def test_only_simulated_backends_get_a_virtual_clock() -> None:
    """A plan with one real model runs in real time."""
    models = [ModelPlan(name="a", model="null", backend=b) for b in ("simulated", "null")]
    assert isinstance(clock_for(Plan(models=(models[0],))), VirtualClock)
    assert isinstance(clock_for(Plan(models=tuple(models))), SystemClock)


def test_a_simulated_run_is_exact_and_says_that_it_is_simulated() -> None:
    """Each request takes 1 ms to the nanosecond, the trace is marked, and the summary says so first."""
    trace = run(slots=1)
    assert set((trace.measured().requests["compute"]).tolist()) == {1_000_000}
    assert trace.meta.simulated
    assert summarize(trace).notes[0].startswith("simulated")


def test_two_runs_are_equal_to_the_nanosecond() -> None:
    """With jitter and several workers, the same plan gives the same rows."""
    rows = [run(workers=3, **{"option.jitter": 0.1}).requests for _ in range(2)]
    assert all(np.array_equal(rows[0][name], rows[1][name]) for name in rows[0])


@pytest.mark.parametrize(("serialise", "expected"), [(False, 2.0), (True, 1.0)])
def test_workers_overlap_unless_they_share_a_stream(serialise: bool, expected: float) -> None:
    """Two workers of half a device each do twice the work of one, or no more when their kernels go to one stream."""
    half = {"option.blocks": 50, "option.gflops": 2.5}
    rates = []
    for workers in (1, 2):
        r = run(workers=workers, slots=1, **half, **{"option.serialise": serialise}).measured().requests
        rates.append(len(r["due"]) / float(r["delivered"].max() - r["due"].min()))
    assert rates[1] / rates[0] == pytest.approx(expected, rel=0.1)


def test_the_devices_telemetry_is_in_the_trace() -> None:
    """Clock, power and activity of the device, and the host's CPU time, over the run."""
    trace = run(**{"option.device": "t4"})
    device = summarize(trace).devices[0]
    assert device.medians["sm_clock_mhz"] > 0
    assert device.medians["power_mw"] > 0
    host = trace.telemetry["device"] < 0
    assert trace.telemetry["process_cpu"][host][-1] > trace.telemetry["process_cpu"][host][0]
