"""What a goal asks, in numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from framepace.errors import UsageError
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.settings import Case
from framepace.facts.tuning import Candidate, Figures, Goal, Objective, Trial, Tuning, carried, decisive
from framepace.facts.workload import Closed, Paced, Workload
from framepace.reporting.views.tuning import tuning_view
from framepace.tuning.objective import best_of, case_at, level_of, met, rate, shortfalls, standing
from framepace.tuning.tune import make_goal
from tests.tuning.test_search import trial

CASE = Case(plan=Plan(models=(ModelPlan(name="m", model="null"),)), workload=Workload(load=Closed()))


@given(st.sampled_from(["cameras", "fps"]), st.integers(1, 200), st.integers(1, 8))
def test_level_and_rate_are_inverse(objective: Objective, level: int, cameras: int) -> None:
    """The level of a level's rate is that level, and a little less is the level below."""
    goal = Goal(objective=objective, fps=25, cameras=cameras)
    assert level_of(goal, rate(goal, level)) == level
    assert level_of(goal, rate(goal, level) * 0.999) == level - 1


@pytest.mark.parametrize(
    ("goal", "level", "cameras", "fps"),
    [
        (Goal(objective="cameras", fps=25), 7, 7, 25.0),
        (Goal(objective="fps", cameras=3), 100, 3, 1.02**100),
        (Goal(objective="p99", fps=30, cameras=5), 5, 5, 30.0),
    ],
)
def test_the_load_of_a_level(goal: Goal, level: int, cameras: int, fps: float) -> None:
    """A level is a number of cameras, or a rate of each; the budget goes into the plan."""
    case = case_at(CASE, goal, level)
    assert case.workload.input.cameras == cameras
    assert case.workload.load == Paced(fps=fps)
    assert case.plan.target.budget_ms == goal.p99_ms


def test_the_constraints() -> None:
    """One frame in a hundred may be late, and they must have come; the device's memory has its own limit."""
    goal = Goal(p99_ms=33, memory_bytes=2**30)
    fine = Figures(frames=300, missed=0.01, p99=32e6, device_memory=2.0**29, throughput=60.0)
    assert met(goal, fine, 2)
    (late,) = shortfalls(goal, replace(fine, missed=0.02, p99=41e6), 2)
    assert "2.0%" in late
    assert "41.0 ms" in late
    (memory,) = shortfalls(goal, replace(fine, device_memory=2.0**31), 2)
    assert "2048 MiB" in memory
    (few,) = shortfalls(goal, fine, 3)
    assert "60 of 90 frames/s came through" in few


def test_the_longest_run_at_a_level_decides() -> None:
    """A level that a short run carried and a long one did not is not carried."""
    assert carried([trial(5, True), trial(6, True), trial(6, False, frames=900)]) == 5


def test_more_cameras_are_better_then_less_latency() -> None:
    """The level comes first, then p99 at that level; what failed counts for nothing."""
    goal = Goal()
    few, many = (trial(4, True, 5.0),), (trial(5, True, 30.0), trial(6, False))
    assert standing(goal, many) > standing(goal, few)  # type: ignore[operator]
    quick = (trial(5, True, 20.0),)
    made = [Candidate(settings={"n": i}, measured=trials) for i, trials in enumerate((few, many, quick))]
    assert best_of(goal, made) == 2
    assert best_of(goal, [*made[:2], replace(made[2], error="died")]) == 1


def test_without_levels_constraints_come_first() -> None:
    """Of candidates at one load, one that keeps the budget beats one that does not, however little CPU that takes."""
    goal = Goal(objective="cpu", cameras=2)
    kept, missed = trial(2, True), trial(2, False)
    costly = replace(kept, figures=replace(kept.figures, cpu=9e6))
    cheap = replace(missed, figures=replace(missed.figures, cpu=1e6))
    assert standing(goal, (costly,)) > standing(goal, (cheap,))  # type: ignore[operator]


def test_what_people_ask() -> None:
    """The most cameras by default; the least p99 where their number is given; nonsense is refused."""
    assert make_goal(None, 30, None, None, None).objective == "cameras"
    assert make_goal(None, 30, None, 8, None) == Goal(objective="p99", fps=30, p99_ms=1000 / 30, cameras=8)
    with pytest.raises(UsageError, match="cameras"):
        make_goal(None, 30, None, 0, None)


def test_a_candidate_is_reported_by_the_trials_that_decide() -> None:
    """A short run that was kept where a long one was not is neither what is carried nor what people read."""

    def run(level: int, kept: bool, count: int) -> Trial:
        return trial(level, kept, frames=count)

    short, long, below = run(28, True, 279), run(28, False, 652), run(26, True, 587)
    assert decisive([short, long, below]) is below
    alike = run(28, False, 300)
    assert decisive([short, alike]) is decisive([alike, short]) is short, "of runs that say as much, the one kept"
    candidate = Candidate(settings={}, measured=(short, long, below))
    assert tuning_view(Tuning(goal=Goal(), candidates=(candidate,), best=0)).rows[0].reached == "26 cameras"
