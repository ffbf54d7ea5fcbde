"""A tuning never ends with nothing: it begins with a load that is surely carried, and a run that fails costs itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from framepace.errors import BackendError, DeviceMemoryError
from framepace.facts.tuning import Candidate, Figures, Goal, Trial, Tuning, carried
from framepace.lab.lab import Lab
from framepace.tuning.objective import rate
from framepace.tuning.search import sure_level
from framepace.tuning.state import TuningState
from framepace.tuning.trials import Trials
from framepace.tuning.tune import tune
from tests.tuning.test_tune import GOAL, simulated

GRID = {"batch": (1, 4)}


def trial(level: int, kept: bool, throughput: float | None = None) -> Trial:
    """A run of enough frames to need no other."""
    came = rate(GOAL, level) if throughput is None else throughput
    return Trial(level=level, figures=Figures(frames=700, missed=0.0 if kept else 1.0, throughput=came), met=kept)


def candidate(*measured: Trial, predicted: int = 0, bound: float | None = None) -> Candidate:
    """One that is predicted to carry a level."""
    trials = (trial(predicted, True),) if predicted else ()
    return Candidate(settings={}, bound=bound, predicted=trials, measured=measured)


def test_the_first_load_is_half_of_what_is_expected() -> None:
    """Of what is predicted, else of the bound; one camera where nothing is known."""
    assert sure_level(GOAL, [candidate(predicted=40)], 0) == 20
    assert sure_level(GOAL, [candidate(bound=30 * 12)], 0) == 6
    assert sure_level(GOAL, [candidate()], 0) == 1
    assert sure_level(GOAL, [candidate(predicted=1)], 0) == 1


def test_what_was_missed_is_followed_by_half_of_what_came_out_then_by_one() -> None:
    """And by nothing where one is missed, or where anything is carried."""
    missed = trial(20, False, throughput=30 * 8)
    assert sure_level(GOAL, [candidate(missed, predicted=40)], 0) == 4
    assert sure_level(GOAL, [candidate(missed, trial(4, False), predicted=40)], 0) == 1
    assert sure_level(GOAL, [candidate(missed, trial(1, False), predicted=40)], 0) is None
    assert sure_level(GOAL, [candidate(missed, trial(4, True), predicted=40)], 0) is None
    assert sure_level(Goal(objective="cpu", cameras=1), [candidate()], 0) is None


def test_what_was_missed_by_little_is_followed_by_half_of_it() -> None:
    """A run whose frames came out, some of them late, says nothing of how many are carried: half, then a quarter."""
    late = trial(300, False)
    assert sure_level(GOAL, [candidate(late, predicted=600)], 0) == 150
    assert sure_level(GOAL, [candidate(late, trial(150, False), predicted=600)], 0) == 37
    assert sure_level(GOAL, [candidate(late, trial(150, False), trial(37, False), predicted=600)], 0) == 4


def limited(monkeypatch: pytest.MonkeyPatch, limit: int, seen: list[int]) -> None:
    """Runs of any candidate carry `limit` cameras, whatever is predicted."""

    def run(trials: Trials, number: int, level: int, seconds: float) -> Trial:
        seen.append(level)
        return trial(level, level <= limit, throughput=30.0 * min(level, limit))

    monkeypatch.setattr(Trials, "_run", run)


def best_level(found: Tuning) -> int:
    """The level that the best carries."""
    assert found.best is not None
    return carried(found.candidates[found.best].measured)


@pytest.mark.long
@pytest.mark.parametrize("limit", [1, 2, 7])
def test_predictions_that_promise_too_much_do_not_lead_to_nothing(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """What is really carried is found, and the goal is reached."""
    seen: list[int] = []
    limited(monkeypatch, limit, seen)
    found = tune(simulated("t4"), GOAL, grid=GRID)
    assert found.met
    assert best_level(found) == limit


def test_not_reached_is_said_only_where_not_even_one_camera_is_carried(monkeypatch: pytest.MonkeyPatch) -> None:
    """One was tried."""
    seen: list[int] = []
    limited(monkeypatch, 0, seen)
    found = tune(simulated("t4"), GOAL, grid=GRID)
    assert found.met is False
    assert found.shortfalls[0].startswith("not even 1 camera: ")
    assert 1 in seen


@pytest.mark.parametrize(("limit", "levels"), [(7, 2), (1, 3)])
def test_time_that_is_over_leaves_a_load_that_is_carried(
    monkeypatch: pytest.MonkeyPatch, limit: int, levels: int
) -> None:
    """Where the first load is missed and no time is left, two more runs at most find one that is carried."""
    seen: list[int] = []
    limited(monkeypatch, limit, seen)
    left = Lab.left.fget  # type: ignore[attr-defined]
    monkeypatch.setattr(Lab, "left", property(lambda lab: 0.0 if seen else left(lab)))
    found = tune(simulated("t4"), GOAL, grid=GRID)
    assert found.met
    assert len(seen) <= levels
    assert 1 <= best_level(found) <= limit


def test_the_first_load_of_a_tuning_is_carried(monkeypatch: pytest.MonkeyPatch) -> None:
    """In real time, where predictions may promise too much: half of what is expected, then what is expected."""
    count = trials_fail(monkeypatch, lambda number: False)
    set_up = Trials.__init__

    def in_real_time(trials: Trials, state: TuningState) -> None:
        set_up(trials, state)
        trials.repeats = True

    monkeypatch.setattr(Trials, "__init__", in_real_time)
    found = tune(simulated("t4"), GOAL, grid=GRID)
    assert found.met
    assert count[0] <= (count[1] + 1) // 2
    assert count[0] <= best_level(found)


BROKEN = BackendError("CUDA failed while an inference ran", got="CUBLAS failure 14")


def trials_fail(monkeypatch: pytest.MonkeyPatch, fails: Callable[[int], bool], error: Exception = BROKEN) -> list[int]:
    """Trials of candidates, counted from 0, that the library fails; primitives are measured."""
    count: list[int] = []
    original = Trials._run

    def run(trials: Trials, number: int, level: int, seconds: float) -> Trial:
        count.append(level)
        if fails(len(count) - 1):
            raise error
        return original(trials, number, level, seconds)

    monkeypatch.setattr(Trials, "_run", run)
    return count


@pytest.mark.long
def test_a_plan_that_carried_a_load_is_the_answer_though_every_later_run_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first trial counts, the goal is reached, and what failed is told with the library's words."""
    trials_fail(monkeypatch, lambda number: number > 0)
    found = tune(simulated("t4"), GOAL, grid=GRID)
    assert found.met
    assert best_level(found) >= 1
    assert found.plan is not None
    assert any("failed, so that it counts as missed: CUDA failed" in note for note in found.notes)


@pytest.mark.long
def test_a_run_that_fails_costs_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the third trial lost the same load is reached as without, or all but a camera."""
    whole = best_level(tune(simulated("t4"), GOAL, grid=GRID))
    trials_fail(monkeypatch, lambda number: number == 2)
    found = tune(simulated("t4"), GOAL, grid=GRID)
    assert best_level(found) >= min(whole - 1, 0.95 * whole)


@pytest.mark.long
@pytest.mark.parametrize(("error", "runs"), [(BROKEN, 2), (DeviceMemoryError("too little memory"), 1)])
def test_in_real_time_a_run_that_fails_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, error: Exception, runs: int
) -> None:
    """What ran before it in the process may have been to blame; for too little memory nothing else is."""
    count = trials_fail(monkeypatch, lambda number: number == 0, error)
    monkeypatch.setattr(Trials, "measure", lambda trials, number, level: again(trials, number, level))

    def again(trials: Trials, number: int, level: int) -> None:
        if not count:
            trials.repeats = True
            trials._measure(number, level, trials._state.budget.trial)
            told.append(len(count))
            trials.repeats = False
            return
        trials._measure(number, level, trials._state.budget.trial)

    told: list[int] = []
    found = tune(simulated("t4"), GOAL, grid=GRID)
    assert told == [runs]
    assert any("failed and was tried again: CUDA failed" in note for note in found.notes) == (runs == 2)
    assert found.met
