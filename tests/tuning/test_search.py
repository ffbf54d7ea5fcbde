"""What a tuning tries next: pure decisions, tested against truths that are made up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from framepace.facts.tuning import Candidate, Figures, Goal, Trial, carried, tried
from framepace.tuning.levels import next_level
from framepace.tuning.objective import best_of, level_of, rate
from framepace.tuning.search import FRONT, came_out, next_prediction, next_trial

CAMERAS = Goal(objective="cameras", fps=30, p99_ms=33)
LEAST = Goal(objective="p99", fps=30, p99_ms=33, cameras=4)
levels = st.integers(1, 300)


def trial(
    level: int,
    met: bool,
    p99_ms: float = 20.0,
    through: float | None = None,
    frames: int = 300,
    goal: Goal = CAMERAS,
) -> Trial:
    """A run at a level."""
    out = rate(goal, level) if through is None else through
    told = Figures(frames=frames, p99=p99_ms * 1e6, missed=0.0 if met else 0.5, throughput=out)
    return Trial(level=level, figures=told, met=met)


def searched(truth: int, guess: int, floor: int = 0) -> list[int]:
    """The levels that are tried where `truth` is the highest one carried."""
    done: dict[int, bool] = {}
    while (level := next_level(done, guess, floor)) is not None:
        assert level not in done, "no level is tried twice"
        done[level] = level <= truth
    return list(done)


@settings(deadline=None)
@given(st.integers(0, 300), levels)
def test_the_highest_level_is_found(truth: int, guess: int) -> None:
    """Whatever the guess, the search ends with the highest level that is carried, in a logarithmic number of trials."""
    found = searched(truth, guess)
    assert max((level for level in found if level <= truth), default=0) == truth
    assert truth + 1 in found
    assert len(found) <= 10 * math.log2(max(truth, guess) + 2) + 3


@settings(deadline=None)
@given(st.integers(8, 300), st.integers(1, 8))
def test_a_guess_far_too_low_is_left_at_a_gallop(truth: int, guess: int) -> None:
    """Steps grow while all is carried: the truth is passed after few of them, however low the guess."""
    climbed = [level for level in searched(truth, guess) if level <= truth]
    high = next(level for level in searched(truth, guess) if level > truth)
    before = searched(truth, guess).index(high)
    assert climbed[:before] == sorted(climbed[:before])
    assert before <= math.log2(truth / guess) + 6


@settings(deadline=None)
@given(st.integers(0, 300), levels, st.integers(1, 300))
def test_what_is_no_better_costs_one_trial(truth: int, guess: int, floor: int) -> None:
    """What does not carry more than the best is seen to by one trial at the level above; else it is found."""
    found = searched(truth, guess, floor)
    assert found[0] == floor + 1
    assert (len(found) == 1) == (truth <= floor)
    assert max([floor, *(level for level in found if level <= truth)]) == max(floor, truth)


@settings(deadline=None)
@given(st.integers(2, 300), st.floats(0.01, 0.2))
def test_a_coarse_answer_is_within_its_share(truth: int, fine: float) -> None:
    """With `fine`, the level found is at most that share (or one) under the truth."""
    done: dict[int, bool] = {}
    while (level := next_level(done, 10, fine=fine)) is not None:
        done[level] = level <= truth
    low = max((level for level, kept in done.items() if kept), default=0)
    assert low <= truth <= low + max(1.0, fine * low)


def test_an_overloaded_run_tells_the_level() -> None:
    """What comes out of a run that is overloaded is what the candidate can carry: the next guess."""
    assert came_out(CAMERAS, [trial(20, False, through=30 * 12.5)]) == 12
    assert came_out(CAMERAS, [trial(20, False)]) == 0, "late, but all came out: nothing is known"


def tuned(
    goal: Goal, truths: Sequence[float], told: Sequence[float], near: Mapping[int, Sequence[int]]
) -> tuple[list[Candidate], int]:
    """The search on made-up candidates: what each carries (or its p99), and what is predicted of it."""
    made = [Candidate(settings={"n": n}, bound=max(told) * 60) for n in range(len(truths))]

    def run(truth: float, level: int) -> Trial:
        return trial(level, level <= truth) if goal is CAMERAS else trial(level, True, truth)

    def around(named: Mapping[str, Any]) -> list[dict[str, int]]:
        return [{"n": n} for n in near.get(named["n"], ())]

    while (step := next_prediction(goal, made)) is not None:
        n, level = step
        made[n] = replace(made[n], predicted=(*made[n].predicted, run(told[n], level)))
    count = 0
    while (step := next_trial(goal, made, around)) is not None:
        n, level = step
        made[n] = replace(made[n], measured=(*made[n].measured, run(truths[n], level)))
        count += 1
        assert count < 200, "the search ends"
    return made, count


@settings(deadline=None)
@given(st.lists(st.integers(1, 100), min_size=1, max_size=15))
def test_with_true_predictions_the_best_is_found(truths: list[int]) -> None:
    """Where predictions are true, a candidate that carries the most (to a twentieth) is found, with few trials."""
    made, count = tuned(CAMERAS, truths, truths, {})
    best = best_of(CAMERAS, made)
    assert best is not None
    assert carried(made[best].measured) >= 0.94 * max(truths) - 1
    assert sum(bool(c.measured) for c in made) <= FRONT + 1
    assert count <= 40


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 100), st.floats(0.85, 1.15)), min_size=2, max_size=12))
def test_steps_make_up_for_predictions(drawn: list[tuple[int, float]]) -> None:
    """The result is at least as good as all that is one step from it, whatever was predicted."""
    truths = [truth for truth, _ in drawn]
    near = {n: [m for m in (n - 1, n + 1) if 0 <= m < len(drawn)] for n in range(len(drawn))}
    made, _ = tuned(CAMERAS, truths, [max(1.0, truth * wrong) for truth, wrong in drawn], near)
    best = best_of(CAMERAS, made)
    assert best is not None
    for other in near[best]:
        hopeless = made[other].predicted and 1.25 * carried(made[other].predicted) <= carried(made[best].measured)
        assert hopeless or truths[other] <= truths[best]


@settings(deadline=None)
@given(st.lists(st.floats(1, 30), min_size=3, max_size=20, unique=True))
def test_the_least_is_measured_several_times(values: list[float]) -> None:
    """Without levels, the best by prediction are measured in turn, and what looks best three times."""
    made, _ = tuned(LEAST, values, values, {})
    best = best_of(LEAST, made)
    assert best == values.index(min(values))
    assert len(made[best].measured) == 3
    assert all(set(tried(c.measured)) <= {4} for c in made)


def test_what_is_predicted_far_off_costs_no_run() -> None:
    """Without levels, a candidate of twice the best's value is not measured; one that may be as good is."""
    made, _ = tuned(LEAST, [9.0, 5.0, 5.5, 10.0], [9.0, 5.0, 5.5, 10.0], {})
    assert [bool(c.measured) for c in made] == [True, True, True, False]


def test_what_a_sure_beginning_carried_is_no_limit() -> None:
    """Between half of a missed level and that level the search halves the gap: it does not creep up from below."""
    begun = Candidate(settings={}, predicted=(trial(600, True),), measured=(trial(300, False), trial(150, True)))
    assert next_trial(CAMERAS, [begun], lambda _: []) == (0, 225)


def test_a_quarter_is_one_of_the_load_not_of_the_level() -> None:
    """Levels of the goal 'fps' are a ratio apart: the one for half of 120 fps is 85 % of its level, and no limit."""
    goal = Goal(objective="fps", fps=30, p99_ms=33, cameras=1)
    expected, missed, kept = (level_of(goal, fps) for fps in (240.0, 120.0, 60.0))
    measured = (trial(missed, False, goal=goal), trial(kept, True, goal=goal))
    begun = Candidate(settings={}, predicted=(trial(expected, True, goal=goal),), measured=measured)
    assert next_trial(goal, [begun], lambda _: []) == (0, (missed + kept) // 2)


def test_a_disappointing_trial_passes_the_turn_on() -> None:
    """Of candidates predicted alike, one whose overloaded run says less waits until the others had their trial."""
    alike = [Candidate(settings={"n": n}, predicted=(trial(100 - n, True),)) for n in range(3)]
    given = replace(alike[0], predicted=(trial(50, True),), measured=(trial(50, True), trial(60, False)))
    low = replace(alike[1], measured=(trial(99, False, through=30 * 70.0),))
    assert next_trial(CAMERAS, [given, low, alike[2]], lambda _: []) == (2, 51)
    carries = replace(alike[2], measured=(trial(60, True), trial(98, False, through=30 * 61.0)))
    assert next_trial(CAMERAS, [given, low, carries], lambda _: []) == (1, 70), "now it is the most hopeful again"


def test_a_limit_that_was_seen_is_tried_just_above() -> None:
    """Where what came out of a failed level is what is carried already, one trial a twentieth above ends the search."""
    done = {100: True, 160: False}
    assert next_level(done, 98, fine=0.05) == 105
    assert next_level({**done, 105: False}, 98, fine=0.05) is None
    assert next_level({**done, 105: True}, 98, fine=0.05) == 132, "it was wrong: halves again"
    assert next_level(done, 0, fine=0.05) == 130, "nothing is known"


def test_predictions_are_believed_as_far_as_they_came_true() -> None:
    """After a trial that came to half of what was predicted, the next candidate is first tried at half of its own."""
    first = Candidate(settings={}, predicted=(trial(100, True),), measured=(trial(100, False, through=30 * 50.0),))
    other = Candidate(settings={"n": 1}, predicted=(trial(96, True),))
    assert next_trial(CAMERAS, [first, other], lambda _: []) == (0, 50)
    spent = replace(first, measured=(*first.measured, *(trial(n, False, through=30.0 * n) for n in (50, 44, 33, 17))))
    assert next_trial(CAMERAS, [spent, other], lambda _: [])[0] == 1  # type: ignore[index]
    assert 40 <= next_trial(CAMERAS, [spent, other], lambda _: [])[1] <= 50  # type: ignore[index]


def test_what_was_never_predicted_climbs_in_steps() -> None:
    """Without a prediction, what carries one level above the best is tried an eighth higher next, not one higher."""
    first = Candidate(settings={}, predicted=(trial(40, True),), measured=(trial(40, True), trial(41, False)))
    other = Candidate(settings={"n": 1}, measured=(trial(41, True),))
    assert next_trial(Goal(), [first, other], lambda settings: [{"n": 1}]) == (1, 46)


def test_a_near_miss_above_the_best_has_a_second_chance() -> None:
    """What failed one above the best by a few late frames is tried there once more, where runs differ; once only."""
    near = replace(trial(41, False).figures, missed=0.03)
    best = Candidate(settings={}, measured=(trial(40, True, frames=700), trial(41, False)))
    other = Candidate(settings={"n": 1}, measured=(Trial(level=41, figures=near, met=False),))

    def around(named: Mapping[str, Any]) -> list[dict[str, int]]:
        return [{"n": 1}]

    assert next_trial(CAMERAS, [best, other], around) == (1, 41)
    assert next_trial(CAMERAS, [best, other], around, repeats=False) is None
    assert next_trial(CAMERAS, [best, replace(other, measured=other.measured * 2)], around) is None
    far = replace(other, measured=(trial(41, False),))
    assert next_trial(CAMERAS, [best, far], around) is None
    alike = [replace(c, predicted=(trial(level, True),)) for c, level in ((best, 40), (far, 39))]
    assert next_trial(CAMERAS, alike, around) == (1, 41), "predictions do not tell it from the best"


def test_what_failed_is_not_tried_again() -> None:
    """A candidate with an error is neither predicted nor measured, and is never the best."""
    made = [Candidate(settings={}, bound=100.0, error="out of memory", measured=(trial(3, True),))]
    assert next_prediction(CAMERAS, made) is None
    assert next_trial(CAMERAS, made, lambda _: []) is None
    assert best_of(CAMERAS, made) is None
