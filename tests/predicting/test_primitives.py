"""Primitives are measured from what framepace measures, and plans predicted from them hold on a simulated device."""

from __future__ import annotations

import os
import signal
from typing import Any

import msgspec
import numpy as np
import pytest

from framepace.analyze.stages import frames
from framepace.analyze.summary import summarize
from framepace.errors import UsageError
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.primitives import Primitives
from framepace.facts.settings import Case, apply
from framepace.facts.trace import Trace
from framepace.facts.workload import Closed, Stop, Workload
from framepace.measure.session import measure
from framepace.predicting.predict import predict
from framepace.predicting.primitives import measure_primitives

# 5 ms of arithmetic of one image on half of the SMs; hosts that sleep, clocks that stay.
_DEVICE: dict[str, Any] = {
    "device": "ideal", "kernels": 20, "gflops": 12.5, "mbytes": 5, "weights_mb": 5, "blocks": 50, "efficiency": 0.5,
    "launch_us": 20, "copy_us": 10, "wake_us": 300, "jitter": 0.1,
}  # fmt: skip
_MODEL = ModelPlan(name="m", model="null", backend="simulated", options=_DEVICE)
_CASE = Case(plan=Plan(models=(_MODEL,)), workload=Workload(load=Closed(), scope="pipeline", stop=Stop(count=400)))


@pytest.fixture(scope="module")
def known() -> Primitives:
    """Primitives of the simulated device."""
    return measure_primitives(_CASE, batches=(1, 4, 8), seconds=2.0)


def _p99(trace: Trace) -> float:
    return float(np.quantile(frames(trace.measured())["latency"], 0.99))


@pytest.mark.long
@pytest.mark.parametrize(
    "changes",
    [
        {"workers": 2},
        {"workers": 3, "batch": 2},
        {"workers": 1, "batch": 6, "slots": 3},
        {"workers": 2, "fps": 60},
        {"workers": 1, "fps": 150, "batch": 3, "window-ms": 10},
        {"workers": 4, "batch": 8, "fps": 300},
    ],
)
def test_plans_that_were_not_measured_are_predicted(known: Primitives, changes: dict[str, Any]) -> None:
    """Within 15 % in p99 and 8 % in throughput, and what they cost in CPU time."""
    case = apply(_CASE, changes)
    truth, told = measure(case.plan, case.workload), predict(case.plan, case.workload, known)
    assert _p99(told) == pytest.approx(_p99(truth), rel=0.15)
    assert summarize(told).throughput == pytest.approx(summarize(truth).throughput, rel=0.08)


def interrupt(model: str, outputs: Any, number: int) -> None:
    """A finish hook: somebody presses Ctrl-C at the third frame."""
    if number == 2:
        os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_ends_the_measuring_of_primitives() -> None:
    """It is not taken for the end of one of its runs: nothing goes on from there."""
    with pytest.raises(KeyboardInterrupt):
        measure_primitives(apply(_CASE, {"finish": f"{__name__}:interrupt"}), batches=(1,), seconds=0.5)


def test_primitives_are_a_file(known: Primitives) -> None:
    """They come back from JSON as they were."""
    assert msgspec.json.decode(msgspec.json.encode(known), type=Primitives) == known


def test_the_points_are_those_that_a_prediction_needs(known: Primitives) -> None:
    """Each batch alone, after pauses and beside itself, with the parts of a device that tells its times."""
    (cost,) = known.costs
    assert {(p.batch, p.workers) for p in cost.points} == {(b, w) for b in (1, 4, 8) for w in (1, 4)}
    assert all({"enqueue", "lag", "h2d", "compute", "d2h", "tail", "after"} <= set(p.samples) for p in cost.points)
    assert "infer" not in cost.points[0].samples


def test_batch_and_slots_need_no_primitives_of_their_own(known: Primitives) -> None:
    """Another batch is the same way to run a model, another precision is not."""
    case = apply(_CASE, {"batch": 5, "slots": 4})
    assert known.of(case.plan.models[0]) is known.costs[0]
    with pytest.raises(UsageError, match="fp16"):
        known.of(apply(_CASE, {"precision": "fp16"}).plan.models[0])
