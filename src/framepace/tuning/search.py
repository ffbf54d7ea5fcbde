"""The step to try next, from all trials so far: pure decisions, no device and no time.

Predictions are cheap and measurements decide. Candidates are predicted from the most hopeful downwards, each only as
far as it may still be among the best; the best of them are measured in turn, and then those one step away from the
best measured so far. One run at the level above the best's is enough to see that another candidate is no better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any

from framepace.facts.tuning import Candidate, Figures, Goal, Trial, carried, tried
from framepace.tuning.levels import next_level
from framepace.tuning.objective import best_of, level_of, rate, scales, standing
from framepace.units import NS_PER_MS

Step = tuple[int, int]  # the number of a candidate and the level to try it at
Neighbours = Callable[[Mapping[str, Any]], Sequence[Mapping[str, Any]]]
FRONT = 5  # candidates that are measured because of their predictions, beside the original plan
_CLOSE = 0.95  # of the best predicted level: candidates below it are of no interest
_OVERLOADED = 0.97  # share of the frames that must come out
_FAR = 0.8  # of the bound: the first guess, where nothing was predicted yet
_COARSE = 0.05  # of a level: how finely predictions are resolved, and measurements at first
_ROUGH = 0.25  # likewise, of the original plan where it is not the best so far
_HOPE = 1.25  # times the predicted level: the most that a measurement may still bring
_QUARTER_MORE = 1.25  # times a load: the next one, as far as a limit is known that well
_NEAR = 5  # times the frames that may be late: a level missed by no more is tried a second time
_SURE = 0.5  # of what is expected: a load that is carried though the expectation is too high
_REPEATS = (3, 3, 2)  # trials of the first, second and third where runs differ when repeated


def next_prediction(goal: Goal, candidates: Sequence[Candidate]) -> Step | None:
    """The prediction that is worth most now; None when all candidates are predicted as far as they matter."""
    best = _predicted_bar(candidates)
    bounds = {n: c.bound for n, c in enumerate(candidates) if c.bound is not None and c.error is None}
    highest_bound = max(bounds.values(), default=0.0)
    for number, bound in sorted(bounds.items(), key=lambda item: -item[1]):
        if scales(goal):
            level = _predicted_level(goal, candidates[number], bound, best)
        else:
            level = _only_level(goal, candidates[number], bound, highest_bound)
        if level is not None:
            return number, level
    return None


def _only_level(goal: Goal, candidate: Candidate, bound: float, highest_bound: float) -> int | None:
    """The level of a goal without levels, where the candidate is not predicted and its bound is high enough."""
    level = level_of(goal, bound)
    if candidate.predicted or bound < min(rate(goal, level), highest_bound):
        return None
    return level


def _predicted_level(goal: Goal, candidate: Candidate, bound: float, best: int) -> int | None:
    """The level to predict a candidate at; None where it is known well enough, or cannot come near `best`."""
    highest = level_of(goal, bound)
    floor = _times(goal, _CLOSE, best)
    if 0 < highest <= floor:
        return None
    trials = candidate.predicted
    expected = came_out(goal, trials)
    if not trials:
        expected = max(1, _first_guess(goal, highest, best))
    ceiling = highest + highest // 2 + 1  # beyond the bound, which has the error of a measurement
    return next_level(tried(trials), expected, floor, _COARSE, ceiling, partial(rate, goal))


def _first_guess(goal: Goal, highest: int, best: int) -> int:
    if best:
        return min(highest, _times(goal, 1 / _CLOSE, best))
    return _times(goal, _FAR, highest)


def came_out(goal: Goal, trials: Sequence[Trial]) -> int:
    """The level that the throughput of an overloaded run is enough for: its limit; 0 where no run was overloaded."""
    through = [t.figures.throughput for t in trials if overloaded(goal, t.figures, t.level)]
    if not through:
        return 0
    return level_of(goal, max(through))


def overloaded(goal: Goal, result: Figures, level: int) -> bool:
    """Whether fewer frames came out of a run than came in."""
    return result.throughput < _OVERLOADED * rate(goal, level)


def next_trial(
    goal: Goal, candidates: Sequence[Candidate], neighbours: Neighbours, *, repeats: bool = True
) -> Step | None:
    """The measurement that is worth most now; None when nothing is left that may be better than the best.

    `repeats`: a run is not the same when it is run again, so that a comparison needs several.
    """
    front = _front(goal, candidates)
    around = sorted(set(_around(goal, candidates, neighbours)) - set(front), key=lambda n: _order(goal, candidates[n]))
    # To a twentieth first: which candidate it is matters more than its last level.
    for fine in (_COARSE, 0.0):
        for group in (front, around):
            step = _next_of(goal, candidates, group, repeats, fine)
            if step is not None:
                return step
    for number in (*front, *around):
        if repeats and _near_miss(goal, candidates, number):
            return number, _bar(candidates) + 1
    return None


def sure_level(goal: Goal, candidates: Sequence[Candidate], number: int) -> int | None:
    """A level that is surely carried, where none was yet; None: the lowest was tried.

    Half of what is expected or came out; half of that where it was missed, a quarter of the next, and so on. The lowest
    level alone proves little: a large batch waits too long for the pictures of one camera.
    """
    candidate = candidates[number]
    done = tried(candidate.measured)
    if not scales(goal) or any(done.values()) or 1 in done:
        return None
    expected = _expected(goal, candidates, number) or level_of(goal, candidate.bound or 0.0)
    level = _times(goal, _SURE, expected)
    if done:
        level = min(level or min(done), _times(goal, _SURE ** len(done), min(done)))
    return max(1, level)


def _next_of(
    goal: Goal, candidates: Sequence[Candidate], group: Sequence[int], repeats: bool, fine: float
) -> Step | None:
    """The measurement of one of these candidates that is worth most; None where none is needed."""
    levels = [(n, _trial_level(goal, candidates, n, repeats, fine)) for n in group]
    steps = [(n, level) for n, level in levels if level is not None]
    if not steps:
        return None
    if scales(goal):  # the most hopeful first: its level spares the others all but a trial
        return max(steps, key=lambda step: _hope(goal, candidates, step[0]))
    # In turn, so that a disturbance does not meet one alone.
    return min(steps, key=lambda step: len(candidates[step[0]].measured))


def settled(goal: Goal, candidates: Sequence[Candidate]) -> bool:
    """Whether the level that the best candidate carries is known to a twentieth."""
    best = best_of(goal, candidates)
    return best is not None and scales(goal) and _trial_level(goal, candidates, best, True, _COARSE) is None


def _front(goal: Goal, candidates: Sequence[Candidate]) -> list[int]:
    """The best by prediction, then the original plan, with which the best is compared."""
    predicted = [n for n, c in enumerate(candidates) if c.predicted and c.error is None]
    ranked = sorted(predicted, key=lambda n: _order(goal, candidates[n]))[:FRONT]
    if candidates and candidates[0].error is None and 0 not in ranked:
        ranked.insert(1, 0)
    return ranked


def _order(goal: Goal, candidate: Candidate) -> tuple[float, ...]:
    """Best predicted first; candidates without a prediction come last, since only a measurement can decide."""
    stands = standing(goal, candidate.predicted)
    if stands is None:
        return (1.0,)
    return (0.0, *(-part for part in stands))


def _around(goal: Goal, candidates: Sequence[Candidate], neighbours: Neighbours) -> Iterator[int]:
    """Candidates one step from the best; without levels, only those that are not predicted to be worse."""
    best = best_of(goal, candidates)
    if best is None:
        return
    near = neighbours(candidates[best].settings)
    for number, candidate in enumerate(candidates):
        if candidate.error is None and candidate.settings in near and not _worse(goal, candidate, candidates[best]):
            yield number


def _worse(goal: Goal, candidate: Candidate, best: Candidate) -> bool:
    """Whether a candidate is predicted to be no better than the best, by a goal without levels."""
    stands = standing(goal, candidate.predicted)
    reference = standing(goal, best.predicted)
    return not scales(goal) and stands is not None and reference is not None and stands <= reference


def _trial_level(goal: Goal, candidates: Sequence[Candidate], number: int, repeats: bool, fine: float) -> int | None:
    """The level to measure a candidate at; None when nothing more is to be known of it."""
    candidate = candidates[number]
    if not scales(goal):
        needed = _wanted(goal, candidates, number, repeats)
        if len(candidate.measured) >= needed or _hopeless(goal, candidates, number):
            return None
        return level_of(goal, 0.0)
    if number == 0 and fine and carried(candidate.measured) < _bar(candidates):
        return _rough_level(goal, candidates)
    return _level_above(goal, candidates, number, fine)


def _level_above(goal: Goal, candidates: Sequence[Candidate], number: int, fine: float) -> int | None:
    """The level to measure a candidate at, to see whether it carries more than the best."""
    candidate = candidates[number]
    best = _bar(candidates)
    predicted = carried(candidate.predicted)
    done = tried(candidate.measured)
    if candidate.predicted and not done and max(predicted + 1, _times(goal, _HOPE, predicted)) <= best:
        return None
    guess = _expected(goal, candidates, number)
    if not guess and not done:
        guess = best + 1  # without a prediction only one level above the best is of interest
    floor = best
    if carried(candidate.measured) == best:
        floor = 0
    return next_level(done, guess, floor, fine, stands_for=partial(rate, goal))


def _rough_level(goal: Goal, candidates: Sequence[Candidate]) -> int | None:
    """The level at which to try the original plan where another is better; None when its limit is roughly known."""
    as_given = candidates[0]
    guess = _expected(goal, candidates, 0)
    if not guess and not as_given.measured:
        guess = _bar(candidates) + 1
        if as_given.bound is not None:
            guess = level_of(goal, as_given.bound)
    return next_level(tried(as_given.measured), guess, 0, _ROUGH, stands_for=partial(rate, goal))


def _hope(goal: Goal, candidates: Sequence[Candidate], number: int) -> float:
    """The level that a candidate may carry: the expected one, below any that it missed.

    Optimism in the face of uncertainty (Lai and Robbins, 1985): one trial that disappoints passes the turn on.
    """
    candidate = candidates[number]
    if number == 0 and carried(candidate.measured) < _bar(candidates) and _rough_level(goal, candidates) is not None:
        return math.inf  # the plan with which the best is compared is due
    missed = min((level for level, kept in tried(candidate.measured).items() if not kept), default=math.inf)
    return max(carried(candidate.measured), min(_expected(goal, candidates, number), missed - 1))


def _expected(goal: Goal, candidates: Sequence[Candidate], number: int) -> int:
    """The level of a candidate's overloaded throughput, or the predicted one, corrected by `_trust`; 0: not known."""
    candidate = candidates[number]
    likely = _times(goal, _trust(goal, candidates), carried(candidate.predicted))
    return came_out(goal, candidate.measured) or likely


def _trust(goal: Goal, candidates: Sequence[Candidate]) -> float:
    """Measured over predicted rates of candidates whose limit was reached, in the median; 1 at most."""
    limits = [(c, _limit(goal, c.measured)) for c in candidates if carried(c.predicted)]
    shares = [rate(goal, limit) / rate(goal, carried(c.predicted)) for c, limit in limits if limit]
    if not shares:
        return 1.0
    return min(1.0, median(shares))


def _limit(goal: Goal, trials: Sequence[Trial]) -> int:
    """The level that trials show to be the highest, to within a quarter of its load; 0 where they do not."""
    best = carried(trials)
    missed = [level for level, kept in tried(trials).items() if not kept]
    if best and missed and _is_near(goal, best, min(missed)):
        return max(came_out(goal, trials), best)
    return came_out(goal, trials)


def _is_near(goal: Goal, low: int, high: int) -> bool:
    """Whether the load of a level is no more than a quarter above that of another, or there is none between them."""
    return high <= low + 1 or rate(goal, high) <= _QUARTER_MORE * rate(goal, low)


def _near_miss(goal: Goal, candidates: Sequence[Candidate], number: int) -> bool:
    """Whether the only trial of a candidate above the best's level may have failed by chance.

    It may where few frames were late, and where predictions do not tell the candidate from the best.
    """
    best = best_of(goal, candidates)
    above = _bar(candidates) + 1
    trials = [trial for trial in candidates[number].measured if trial.level == above]
    if best is None or not scales(goal) or len(trials) != 1 or trials[0].met:
        return False
    predicted, predicted_best = (carried(candidates[n].predicted) for n in (number, best))
    alike = number != best and 0 < _times(goal, _CLOSE, predicted_best) <= predicted
    return alike or trials[0].figures.missed <= _NEAR * goal.late


def _bar(candidates: Sequence[Candidate]) -> int:
    """The level that the best carries."""
    return max((carried(c.measured) for c in candidates if c.error is None), default=0)


def _predicted_bar(candidates: Sequence[Candidate]) -> int:
    """The highest level that is predicted to be carried."""
    return max((carried(c.predicted) for c in candidates), default=0)


def _times(goal: Goal, share: float, level: int) -> int:
    """The level of `share` times the load of another one; 0 stays 0."""
    if not level:
        return 0
    return level_of(goal, share * rate(goal, level))


def _hopeless(goal: Goal, candidates: Sequence[Candidate], number: int) -> bool:
    """Whether a candidate that was not measured is predicted so far from the best that no measurement may bring it."""
    candidate = candidates[number]
    best = best_of(goal, candidates)
    if number == 0 or best is None or candidate.measured:
        return False
    predicted = standing(goal, candidate.predicted)
    reached = standing(goal, candidates[best].measured)
    if predicted is None or reached is None or not reached[0]:
        return False
    kept, negated, negated_p99 = predicted
    if kept:
        return negated < _HOPE * reached[1]
    return -negated_p99 > _HOPE * goal.p99_ms * NS_PER_MS


def _wanted(goal: Goal, candidates: Sequence[Candidate], number: int, repeats: bool) -> int:
    """How many trials a candidate needs to be compared with the others: more of the best."""
    if not repeats:
        return 1
    stands = [(s, -n) for n, c in enumerate(candidates) if c.error is None and (s := standing(goal, c.measured))]
    ranked = [-minus for _, minus in sorted(stands, reverse=True)]
    place = [*ranked, number].index(number)  # one that was not measured comes last
    if place >= len(_REPEATS):
        return 1
    return _REPEATS[place]
