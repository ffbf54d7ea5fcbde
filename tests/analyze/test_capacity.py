"""The search for the capacity of a plan, and what a run says of a count of cameras."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framepace.analyze.capacity import capacity, capacity_point, carried, limit, next_count, next_step
from framepace.analyze.summary import summarize
from framepace.facts.capacity import CapacityPoint
from framepace.facts.plan import EnginePlan, ModelPlan, Plan, Target
from framepace.facts.trace import Trace
from framepace.testing import make_machine, make_trace

MS = 1_000_000


def point(cameras: int, holds: bool, **fields: Any) -> CapacityPoint:
    """A point as a run would give it."""
    return CapacityPoint(cameras=cameras, holds=holds, late=0.0 if holds else 1.0, **({"seconds": 2.0} | fields))


def run(ms: Any, count: int = 2000, **columns: Any) -> Trace:
    """A trace of latencies (ms) under a budget of 10 ms."""
    latency = (np.broadcast_to(np.asarray(ms, float), (count,)) * MS).astype(np.int64)
    plan = Plan(models=(ModelPlan(name="model", model="null"),), engine=EnginePlan(), target=Target(fps=30, p99_ms=10))
    return make_trace(latency, plan=plan, **columns)


@given(truth=st.integers(0, 300), most=st.integers(1, 300))
def test_the_search_finds_the_largest_count_that_holds(truth: int, most: int) -> None:
    """For every threshold: exactly it (or `most`), each count once, in about twice the logarithm of steps."""
    known: dict[int, bool] = {}
    while (count := next_count(known, most)) is not None:
        assert count not in known
        assert 1 <= count <= most
        known[count] = count <= truth
    assert max((n for n, holds in known.items() if holds), default=0) == min(truth, most)
    assert len(known) <= 2 * math.log2(min(truth, most) + 1) + 3


@given(data=st.data(), most=st.integers(1, 64))
def test_noise_cannot_keep_the_search_going(data: st.DataObject, most: int) -> None:
    """Whatever runs say, no count is measured more than twice, and the answer was measured for long."""
    points: list[CapacityPoint] = []
    long: dict[int, bool] = {}
    while (step := next_step(points, most)) is not None:
        holds, sure = data.draw(st.booleans()), data.draw(st.booleans())
        points.append(point(step[0], holds, sure=sure))
        if step[1]:
            long[step[0]] = holds
        assert sum(p.cameras == step[0] for p in points) <= 2
    found = capacity(points, 30, 10 * MS)
    assert found.cameras == 0 or long[found.cameras]
    assert found.cameras == most or found.exact


def test_an_answer_that_fails_its_long_run_is_no_answer() -> None:
    """4 held for short and missed for long: the search goes on below, and 3 is tried."""
    points = [point(n, n <= 4) for n in (1, 2, 4, 8, 6, 5)]
    assert next_step(points, 64) == (4, True)
    points.append(point(4, False, seconds=6.0))
    assert next_step(points, 64) == (3, False)


def test_a_miss_below_outweighs_what_held_above() -> None:
    """What holds above a count that misses is chance."""
    assert carried([point(1, True), point(2, False), point(4, True)]) == 1


@pytest.mark.parametrize(
    ("ms", "count", "holds"),
    [(5.0, 2000, True), (12.0, 2000, False), (5.0, 100, True), (12.0, 100, False)],
)
def test_the_budget_decides_with_and_without_a_p99(ms: float, count: int, holds: bool) -> None:
    """Clear cases are clear, even with too few frames for a p99."""
    found = capacity_point(run(ms, count), 3)
    assert found.holds is holds
    assert found.sure
    assert (found.p99 is None) is (count == 100)


def test_few_late_frames_are_no_sure_verdict() -> None:
    """Two late of 100: it does not hold, and another run may say otherwise."""
    ms = np.full(100, 5.0)
    ms[[20, 70]] = 50.0
    found = capacity_point(run(ms, 100), 1)
    assert (found.holds, found.sure) == (False, False)
    assert found.late == pytest.approx(0.02)


def test_one_lost_frame_is_a_miss() -> None:
    """Dropped frames are no way to meet a budget."""
    trace = run(5.0)
    trace.requests["outcome"][1500] = 2
    found = capacity_point(trace, 1)
    assert (found.holds, found.lost, found.sure) == (False, 1, True)


def test_a_run_without_frames_does_not_hold() -> None:
    """Nothing delivered is not 'nothing late'."""
    trace = run(5.0)
    trace.requests["outcome"][:] = 2
    found = capacity_point(trace, 1)
    assert (found.holds, found.limited_by) == (False, "no frame was delivered")


def test_one_camera_is_told_how_slow_a_frame_is() -> None:
    """A frame that takes longer than the budget without any queue: nothing is to blame but its own way."""
    assert "path of a frame" in limit(summarize(run(12.0)), 1, 1, make_machine())


def test_an_early_end_tells_between_what_the_answer_is() -> None:
    """1 and 2 held, 4 did not, 3 is not known."""
    found = capacity([point(1, True), point(2, True), point(4, False, limited_by="x")], 30, 10 * MS, stopped="time")
    assert (found.cameras, found.missed, found.exact, found.fits, found.limited_by) == (2, 4, False, True, "x")
    assert capacity([point(1, False)], 30, 10 * MS).fits is False
    assert capacity([], 30, 10 * MS).fits is None
