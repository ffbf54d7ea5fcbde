"""Batches by deadline, end to end: on the simulated device in virtual time, and from sources with their threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from framepace.clock.virtual import VirtualClock
from framepace.engine.engine import Engine
from framepace.errors import UsageError
from framepace.facts.plan import Batching, EnginePlan, Plan, Target
from framepace.facts.settings import Case, apply
from framepace.facts.trace import Column, Trace
from framepace.facts.workload import Input, Paced, Stop, Warmup, Workload
from framepace.feeds.batchrules import DeadlineRule
from framepace.feeds.deadline import DeadlineBatcher, DeadlineFeed
from framepace.feeds.pacer import Pacer
from framepace.feeds.runstate import RunState
from framepace.measure.load import Open, Recorded
from framepace.measure.session import measure
from framepace.testing import FakeClock
from tests.doubles.engine import Rows, run_state
from tests.doubles.simulation import MS, ONE_MS, plan

# Bandwidth-bound: 4 ms, and 0.5 ms an image; batches side by side gain nothing.
SHARED: dict[str, Any] = {
    **ONE_MS, "gflops": 0.001, "weights_mb": 3200, "mbytes": 400, "dram_gb_s": 1000, "dram_efficiency": 0.8,
}  # fmt: skip


def bench(cameras: int, policy: str, workers: int = 1, options: dict[str, Any] = SHARED, **fields: Any) -> Trace:
    """Cameras at 30 fps, out of phase, for four seconds past one of warm-up."""
    batch = Batching(max=32, policy=policy, **fields.pop("batch", {}))  # type: ignore[arg-type]
    target = Target(fps=30, p99_ms=fields.pop("p99_ms", None))
    model = plan(options, batch=batch, **{"slots": 1} | fields)
    whole = Plan(models=(model,), engine=EnginePlan(workers=workers, wait="sleep"), target=target)
    given = Input(videos=("synthetic",) * cameras, frames=1, size=(32, 32))
    stop, warm = Stop(seconds=4), Warmup(seconds_max=1.0, window=10**6)
    load = Workload(load=Paced(fps=30), scope="pipeline", input=given, stop=stop, warmup=warm)
    return measure(whole, load, clock=VirtualClock()).measured()


def late(trace: Trace, budget_ms: float = 1000 / 30) -> float:
    """The share of frames over the budget."""
    return float(np.mean(trace.latency > budget_ms * MS))


def test_cameras_at_different_phases_are_carried_by_workers_that_would_get_in_each_other_s_way() -> None:
    """24 cameras, four workers on a device they share: one frame at a time they miss half, by deadline none."""
    assert late(bench(24, "window", workers=4)) > 0.3
    trace = bench(24, "deadline", workers=4)
    assert late(trace) == 0
    assert trace.requests["batch_size"].mean() > 4


def test_a_camera_alone_never_waits() -> None:
    """With nothing in flight a frame is taken when it is due."""
    trace = bench(1, "deadline", workers=2)
    assert len(set(trace.latency.tolist())) == 1
    assert np.array_equal(trace.requests["batched"], trace.requests["due"])


def test_workers_run_side_by_side_where_the_device_lets_them() -> None:
    """20 ms an image on a fraction of the device: eight cameras, four workers, and nobody waits for another's batch."""
    free = {**ONE_MS, "gflops": 1.0, "blocks": 5, "efficiency": 0.1}
    trace = bench(8, "deadline", workers=4, options=free)
    assert late(trace) == 0
    assert late(bench(8, "deadline", workers=1, options=free)) > 0.2


def test_an_impossible_deadline_is_not_waited_for() -> None:
    """A budget of 1 ms for batches of 4.5 ms: with a worker free, frames go when they are due."""
    trace = bench(6, "deadline", workers=6, p99_ms=1.0)
    r = trace.requests
    assert np.mean(r["batched"] == r["due"]) > 0.99


def test_a_slow_batch_is_made_up_for() -> None:
    """The host stalls for 60 ms now and then: late frames catch up in larger batches, in order, and none is lost."""
    trace = bench(16, "deadline", options={**SHARED, "stall_share": 0.01, "stall_ms": 60.0})
    r = trace.requests
    assert 0 < late(trace) < 0.2
    assert r["batch_size"].max() > 2 * np.median(r["batch_size"])
    for source in range(16):
        own = r["source"] == source
        order = np.argsort(r["due"][own], kind="stable")
        assert (np.diff(r["batched"][own][order]) >= 0).all()
        assert np.diff(r["due"][own][order]).max() < 34 * MS


def test_preferred_sizes_are_taken() -> None:
    """Where batches are large, most frames travel in batches of the sizes that were asked for."""
    trace = bench(40, "deadline", batch={"sizes": (8, 16)})
    assert np.isin(trace.requests["batch_size"], (8, 16)).mean() > 0.9
    assert late(trace) == 0


def test_two_slots_are_used_as_far_as_they_gain() -> None:
    """A worker with two slots on a device that runs one after the other is as good as one with one slot."""
    one, two = (bench(24, "deadline", slots=slots) for slots in (1, 2))
    assert np.quantile(two.latency, 0.99) < 1.1 * np.quantile(one.latency, 0.99)


def test_a_source_that_floods_does_not_make_the_others_late() -> None:
    """One source at 2000 fps, more than the device can do, beside four at 30: these are on time, it has the rest."""
    r = flooded(budget=33 * MS)
    latency = r["delivered"] - r["due"]
    flood = r["source"] == 0
    assert np.mean(latency[~flood] <= 33 * MS) > 0.98
    assert np.mean(latency[flood] <= 33 * MS) < 0.5
    assert flood.sum() > 4 * (~flood).sum()
    for source in range(5):
        own = r["source"] == source
        assert (np.diff(r["due"][own][np.argsort(r["batched"][own], kind="stable")]) >= 0).all()


def flooded(budget: int) -> dict[str, Column]:
    """Rows of 3 seconds of one worker with batches of up to 4."""
    clock = VirtualClock()
    model = plan(SHARED, batch=Batching(max=4), slots=1)
    engine = Engine(Plan(models=(model,), engine=EnginePlan(wait="sleep")), clock)
    state = RunState(clock, *run_state_parts(3.0))
    rows = Rows()

    def begin() -> DeadlineFeed:
        rates = (2000.0, 30.0, 30.0, 30.0, 30.0)
        parts = [Open(Paced(fps=fps), i * 7 * MS, 0) for i, fps in enumerate(rates)]
        state.batches = batcher = DeadlineBatcher(DeadlineRule(4, budget))
        return DeadlineFeed([_Endless() for _ in parts], parts, batcher, Pacer(engine.plan.engine, clock, state))

    engine.run("model", begin, state, rows)
    engine.close()
    return rows.columns


def run_state_parts(seconds: float) -> tuple[Any, Any]:
    """No warm-up, and that long."""
    from framepace.measure.stoprules import Enough, Steady

    return Steady(Warmup(seconds_max=0.0)), Enough(Stop(seconds=seconds))


class _Endless:
    """Any number of pictures."""

    live = False

    def read(self) -> int:
        """A picture."""
        return 1


def test_the_end_of_a_recording_is_the_end() -> None:
    """Three frames, of which the last two wait for the batch in flight: all are delivered, and the run ends."""
    clock, state = FakeClock(), run_state(100)
    batcher = DeadlineBatcher(DeadlineRule(8, 50 * MS))
    feed = DeadlineFeed([_Endless()], [Recorded(np.array([0, MS, 2 * MS]), 0)], batcher,
                      Pacer(EnginePlan(), clock, state))  # fmt: skip
    taken = []
    while frames := feed.take(None):
        taken.append([frame.due for frame in frames])
        clock.spin_until(clock.now() + 5 * MS)
        batcher.end(frames, clock.now(), failed=False)
    assert taken == [[0], [MS, 2 * MS]]


def test_a_source_that_ends_ends_the_run() -> None:
    """Three pictures at 1000 fps and a batch of 5 ms: what was read while it ran is delivered, then it ends."""
    clock, state = FakeClock(), run_state(100)
    batcher = DeadlineBatcher(DeadlineRule(8, 50 * MS))
    feed = DeadlineFeed([_Ending(3)], [Open(Paced(fps=1000), 0)], batcher, Pacer(EnginePlan(), clock, state))
    first = feed.take(None)
    assert first is not None
    assert feed.take(None, wait=False) == []
    clock.spin_until(2 * MS)
    assert feed.take(None, wait=False) == []
    clock.spin_until(5 * MS)
    batcher.end(first, clock.now(), failed=False)
    assert [frame.due for frame in feed.take(None) or []] == [MS, 2 * MS]
    assert feed.take(None) is None
    assert state.stopped == "source ended"


class _Ending:
    live = False

    def __init__(self, count: int) -> None:
        self.left = count

    def read(self) -> int | None:
        """A picture, while there are some."""
        self.left -= 1
        return 1 if self.left >= 0 else None


# --- from a plan ------------------------------------------------------------------------------------------------------


def case(settings: dict[str, Any], target: Target = Target(fps=30)) -> Case:
    """A null model under 30 fps with these settings."""
    whole = Plan(models=(replace(plan(ONE_MS), name="m"),), target=target, engine=EnginePlan(wait="sleep"))
    load = Workload(load=Paced(fps=30), scope="model", stop=Stop(count=3), warmup=Warmup(seconds_max=0.0))
    return apply(Case(plan=whole, workload=load), settings)


def test_policy_and_sizes_are_settings() -> None:
    """By name, as in --set; sizes joined by +, so that --vary can list several."""
    made = case({"batch": 8, "batch-policy": "deadline", "batch-sizes": "4+8"}).plan.models[0].batch
    assert made == Batching(max=8, policy="deadline", sizes=(4, 8))
    assert case({"batch-sizes": "4,8"}).plan.models[0].batch.sizes == (4, 8)
    assert case({"batch-sizes": "none"}).plan.models[0].batch.sizes == ()


@pytest.mark.parametrize("wrong", ["3+x", "0+4", ""])
def test_sizes_that_are_none_are_refused(wrong: str) -> None:
    """Words and nothing are no sizes."""
    with pytest.raises(UsageError):
        case({"batch-sizes": wrong})


def test_a_deadline_needs_a_target_and_sizes_within_the_maximum() -> None:
    """Both are said before anything runs."""
    with pytest.raises(UsageError, match="needs a deadline"):
        ran(case({"batch-policy": "deadline"}, Target()))
    with pytest.raises(UsageError, match="over the largest batch"):
        ran(case({"batch": 4, "batch-policy": "deadline", "batch-sizes": "8"}))


def ran(given: Case) -> Trace:
    """The case measured."""
    return measure(given.plan, given.workload, clock=VirtualClock())
