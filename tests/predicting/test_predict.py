"""Predictions on paper: the real engine in virtual time, on primitives whose outcome can be worked out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from framepace.errors import UsageError
from framepace.facts.plan import Batching, EnginePlan, Plan, SourcePolicy
from framepace.facts.trace import DropCause
from framepace.facts.workload import Closed, Delay, Input, Paced, Stop, Warmup, Workload
from framepace.predicting.predict import predict
from tests.doubles.primitives import MS, foretold, model, point, primitives


@pytest.mark.parametrize(("workers", "rate"), [(1, 200), (2, 400), (3, 400), (4, 400)])
def test_workers_scale_until_the_cores_are_full(workers: int, rate: float) -> None:
    """Frames of 5 ms on two cores: 200 a second a core, whatever the workers beyond that."""
    found = foretold(primitives(point(prepare=1.0, infer=4.0)), Closed(), workers=workers)
    assert found.throughput == pytest.approx(rate, rel=0.03)


def test_workers_that_decode_for_themselves_take_turns_at_a_source() -> None:
    """Pictures that are made one by one, as in virtual time, are made by one worker at a time."""
    work = Workload(load=Closed(), scope="stream", stop=Stop(count=100), warmup=Warmup(seconds_max=0.1))
    plan = Plan(models=(model(),), engine=EnginePlan(workers=2, decode="inline"))
    trace = predict(plan, work, primitives(point(decode=1.0, infer=2.0)))
    assert (trace.requests["decoded"] - trace.requests["captured"] >= MS).all()


def test_an_inference_on_both_cores_leaves_none() -> None:
    """Two workers with inferences on two threads are no faster than one."""
    known = primitives(point(infer=4.0, cpu=8 * MS), plan=model(threads=2))
    one, two = (foretold(known, Closed(), plan=model(threads=2), workers=n) for n in (1, 2))
    assert one.throughput == pytest.approx(two.throughput, rel=0.03)
    assert one.process_cpu == pytest.approx(8 * MS, rel=0.05)


def test_a_batch_costs_its_line() -> None:
    """With t(b) = 2 + b ms and 1 ms of preparation each, a batch of 4 takes 10 ms, not measured."""
    known = primitives(point(1, prepare=1.0, infer=3.0), point(8, prepare=1.0, infer=10.0))
    found = foretold(known, Closed(), plan=model(batch=Batching(max=4)))
    assert found.throughput == pytest.approx(400, rel=0.03)
    assert found.frames.mean == pytest.approx(10 * MS, rel=0.01)


def test_a_batch_waits_for_company_as_the_batcher_says() -> None:
    """Frames every 10 ms, a batch of 2 within 50 ms: the first waits for the second, and both for the inference."""
    known = primitives(point(1, infer=2.0), point(8, infer=9.0))
    found = foretold(known, Paced(fps=100), plan=model(batch=Batching(max=2, window_ms=50)))
    assert found.frames.mean == pytest.approx((13 + 3) / 2 * MS, rel=0.01)


def test_spinning_pools_cost_cpu_time_in_pauses() -> None:
    """A frame every 50 ms whose pool thread spins for 16 ms afterwards: 4 ms of inference on two cores and that."""
    points = point(infer=2.0, cpu=4 * MS), point(gap_ms=30.0, infer=2.0, cpu=20 * MS)
    known = primitives(*points, plan=model(threads=2))
    found = foretold(known, Paced(fps=20), plan=model(threads=2), wait="sleep")
    assert found.process_cpu == pytest.approx(20 * MS, rel=0.05)


def test_streams_on_a_device_share_what_they_fill() -> None:
    """Kernels of 4 ms that fill half of the device: two at once cost nothing, four halve the rate of each."""
    stages: dict[str, Any] = {"enqueue": 0.1, "lag": 0.0, "h2d": 0.5, "d2h": 0.5, "tail": 0.0}
    together = replace(point(workers=4, compute=8.0, **stages), rate=500.0)
    known = primitives(point(compute=4.0, **stages), together, cores=8)
    rates = [foretold(known, Closed(), workers=n, plan=model(slots=1)).throughput for n in (1, 2, 4)]
    assert rates[0] == pytest.approx(200, rel=0.02)
    assert rates[1] == pytest.approx(400, rel=0.02)
    assert rates[2] == pytest.approx(500, rel=0.05)


@pytest.mark.parametrize("workers", [1, 4])
def test_workers_that_wait_for_the_interpreter_are_foretold_so(workers: int) -> None:
    """Four workers were measured to reach twice the rate of one, for the host's stages took longer: so they do."""
    stages: dict[str, Any] = {"lag": 0.0, "h2d": 0.0, "d2h": 0.0, "compute": 0.05}
    alone = point(enqueue=0.2, after=0.1, tail=0.0, **stages)
    together = replace(point(workers=4, enqueue=0.6, after=0.3, tail=0.0, **stages), rate=4 / 0.9 * 1000)
    known = primitives(replace(alone, rate=1 / 0.3e-3), together, cores=16)
    found = foretold(known, Closed(), workers=workers, plan=model(slots=1), count=2000)
    assert found.throughput == pytest.approx({1: 3333, 4: 4444}[workers], rel=0.05)


def test_slots_overlap_copies_and_kernels() -> None:
    """With two requests in flight, 2 ms copies hide behind 4 ms of kernels."""
    stages: dict[str, Any] = {"enqueue": 0.1, "lag": 0.0, "h2d": 2.0, "compute": 4.0, "d2h": 0.0, "tail": 0.0}
    known = primitives(point(**stages), cores=8)
    one, two = (foretold(known, Closed(concurrency=2), plan=model(slots=slots)).throughput for slots in (1, 2))
    assert one == pytest.approx(1000 / 6, rel=0.02)
    assert two == pytest.approx(250, rel=0.02)


def _stream(workers: int, fps: float, cameras: int, **policy: object) -> tuple[Plan, Workload]:
    source = SourcePolicy(**policy)  # type: ignore[arg-type]
    plan = Plan(models=(model(),), engine=EnginePlan(workers=workers), source=source)
    given = Input(videos=("a",) * cameras)
    warmup = Warmup(seconds_max=0.0)
    return plan, Workload(load=Paced(fps=fps), scope="stream", input=given, stop=Stop(count=200), warmup=warmup)


@pytest.mark.parametrize("workers", [1, 2])
def test_sources_decode_in_threads_of_their_own(workers: int) -> None:
    """Decoding of 3 ms beside an inference of 4 ms, a frame every 5 ms: what one thread could not keep up with."""
    known = primitives(point(decode=3.0, infer=4.0), scope="stream")
    trace = predict(*_stream(workers, 200, 1), known)
    assert len(trace) >= 200
    assert float(np.median(trace.measured().latency)) == pytest.approx(7 * MS, rel=0.02)


def test_a_live_policy_drops_in_a_prediction_too() -> None:
    """Two cameras at 200 a second against an inference of 4 ms: a third or more is dropped, with its cause."""
    known = primitives(point(decode=0.1, infer=4.0), scope="stream")
    trace = predict(*_stream(1, 200, 2, drop="oldest", buffer=1), known)
    dropped = np.count_nonzero(trace.requests["cause"] == DropCause.BUFFER_FULL)
    assert dropped / len(trace) == pytest.approx(0.375, abs=0.03)


@pytest.mark.parametrize("strategy", ["serial", "asyncio"])
def test_a_strategy_that_virtual_time_allows_is_predicted_as_it_runs(strategy: str) -> None:
    """2 ms of copies and 4 ms of kernels: two slots overlap them, a frame at a time waits for both."""
    stages: dict[str, Any] = {"enqueue": 0.1, "lag": 0.0, "h2d": 2.0, "compute": 4.0, "d2h": 0.0, "tail": 0.0}
    known = primitives(point(**stages), cores=8)
    plan = model(slots=2)
    overlapped = foretold(known, Closed(concurrency=2), plan=plan).throughput
    one_by_one = foretold(known, Closed(concurrency=2), plan=plan, strategy=strategy).throughput
    assert overlapped == pytest.approx(250, rel=0.02)
    assert one_by_one == pytest.approx(1000 / 6, rel=0.02)


def test_a_prediction_says_that_it_is_one_and_repeats() -> None:
    """The trace is marked, has the plan that was asked about, and the same seed gives the same rows."""
    plan = Plan(models=(model(batch=Batching(max=2)),), engine=EnginePlan(strategy="processes", workers=2))
    workload = Workload(load=Closed(), scope="pipeline", stop=Stop(count=50))
    first, second = (predict(plan, workload, primitives(point(infer=4.0))) for _ in range(2))
    assert first.meta.simulated
    assert "predicted" in first.meta.notes[0]
    assert first.meta.plan == plan
    assert all((first.requests[name] == second.requests[name]).all() for name in first.requests)


def test_what_was_not_measured_is_not_predicted() -> None:
    """Another number of threads needs primitives of its own."""
    with pytest.raises(UsageError, match="threads=3"):
        foretold(primitives(point(infer=4.0)), Closed(), plan=model(threads=3))


@pytest.mark.parametrize(("wait", "ms"), [("sleep", 3.0), ("spin", 2.0)])
def test_only_a_core_that_slept_is_slow_afterwards(wait: str, ms: float) -> None:
    """An inference of 2 ms takes 3 ms after a pause of 30 ms, unless the worker spun through it."""
    known = primitives(point(infer=2.0), point(gap_ms=30.0, infer=3.0))
    found = foretold(known, Delay(delay_ms=30.0), wait=wait)
    assert found.frames.mean == pytest.approx(ms * MS, rel=0.02)
