"""What to try next, given all that is known so far: pure decisions, no device and no time.

Predictions are cheap and measurements decide. Candidates are predicted from the most hopeful downwards, each only as
far as it may still be among the best; the best of them are measured in turn, and then what is one step away from the
best measured so far. One run at the level above the best's is enough to see that another candidate is no better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any

from framepace.facts.tuning import Candidate, Figures, Goal, Trial, carried, tried
from framepace.tuning.objective import best_of, level_of, rate, scales, standing
from framepace.units import NS_PER_MS

Step = tuple[int, int]  # the number of a candidate and the level to try it at
Neighbours = Callable[[Mapping[str, Any]], Sequence[Mapping[str, Any]]]
FRONT = 5  # candidates that are measured because of what was predicted, beside the plan as given
_CLOSE = 0.95  # of the best predicted level: how far down predictions are of interest
_OVERLOADED = 0.97  # of the frames that come in go out
_COARSE = 0.05  # of a level: how finely predictions are resolved, and measurements at first
_ROUGH = 0.25  # likewise, of the plan as given where it is not the best so far
_HOPE = 1.25  # times the predicted level: what a measurement may still bring
_NEAR = 5  # times the frames that may be late: a level missed by no more is tried a second time
_REPEATS = (3, 3, 2)  # trials of the first, second and third where several are needed to tell them apart


def next_level(
    done: Mapping[int, bool],
    guess: int,
    floor: int = 0,
    fine: float = 0.0,
    ceiling: int | None = None,
    stands_for: Callable[[int], float] = float,
) -> int | None:
    """The level to try next, to find the highest one above `floor` that is carried; None when it is known.

    Args:
        done: levels tried so far, and whether each was carried (the lower the level, the easier).
        guess: about where it is expected. Where that much was carried and more was not, the level just above what was
            carried is tried next, once: with `fine`, that ends the search.
        floor: a level at or below which the answer is of no interest; one above it is tried first.
        fine: the answer is known well enough when what the levels around it stand for is this share apart.
        ceiling: the highest level there is.
        stands_for: the load of a level. One that was carried against expectation is followed by an eighth more, then
            by a quarter more, by half as much again, and by twice as much as long as all are carried (galloping search:
            Bentley and Yao, 1976); one that was not, by an eighth less, a quarter less, and half as long as none is.
    """
    low = max((level for level, kept in done.items() if kept), default=0)
    high = min((level for level, kept in done.items() if not kept and level > low), default=None)
    start = max(low, floor)
    if high is None:
        further = guess if guess > start else _further(start, len(done), stands_for)
        level = floor + 1 if floor and low <= floor else further
        level = level if ceiling is None else min(level, ceiling)
        return level if level > start else None
    if high - start <= 1 or stands_for(high) <= (1 + fine) * stands_for(start):
        return None
    if start < guess < high and guess not in done:
        return guess
    if low and low <= (1 + fine) * guess and guess <= start and start == low:
        return _finest(start, high, fine, stands_for)
    return _below(high, len(done), stands_for) if start == 0 else (start + high) // 2


def _finest(low: int, high: int, fine: float, stands_for: Callable[[int], float]) -> int:
    """The lowest level above `low` whose failing says that `low` is the answer; between both."""
    level = low + 1
    while level + 1 < high and stands_for(level + 1) <= (1 + fine) * stands_for(low):
        level += 1
    return level


def _below(level: int, count: int, stands_for: Callable[[int], float]) -> int:
    """The next level to try where none of the `count` ones so far was carried; half the highest at least."""
    share, less = max(0.5, 1 - 2.0**count / 16), level - 1
    while less > level // 2 and stands_for(less) > share * stands_for(level):
        less -= 1
    return max(1, less)


def _further(level: int, count: int, stands_for: Callable[[int], float]) -> int:
    """The next level to try where all of the `count` ones so far were carried."""
    share, more = min(1.0, 2.0**count / 16), level + 1
    while stands_for(more + 1) <= (1 + share) * stands_for(level):
        more += 1
    return more


def next_prediction(goal: Goal, candidates: Sequence[Candidate]) -> Step | None:
    """The prediction that is worth most now; None when all candidates are predicted as far as they matter."""
    best = max((carried(c.predicted) for c in candidates), default=0)
    hopeful = [n for n, c in enumerate(candidates) if c.bound is not None and c.error is None]
    most = max((candidates[n].bound or 0.0 for n in hopeful), default=0.0)
    for number in sorted(hopeful, key=lambda n: -(candidates[n].bound or 0.0)):
        level = _predicted_level(goal, candidates[number], best, most)
        if level is not None:
            return number, level
    return None


def _predicted_level(goal: Goal, candidate: Candidate, best: int, most: float) -> int | None:
    bound = candidate.bound or 0.0
    highest = level_of(goal, bound)
    if not scales(goal):
        return None if candidate.predicted or bound < min(rate(goal, highest), most) else highest
    floor = _times(goal, _CLOSE, best)
    if 0 < highest <= floor:
        return None
    guess = min(highest, _times(goal, 1 / _CLOSE, best)) if best else _times(goal, 0.8, highest)
    done, ceiling = candidate.predicted, highest + highest // 2 + 1  # the bound was measured too
    expected = came_out(goal, done) or (0 if done else max(1, guess))
    return next_level(tried(done), expected, floor, _COARSE, ceiling, partial(rate, goal))


def came_out(goal: Goal, trials: Sequence[Trial]) -> int:
    """The level that what came out of an overloaded run would be enough for: where its limit is; 0 where none was."""
    through = [t.figures.throughput for t in trials if overloaded(goal, t.figures, t.level)]
    return level_of(goal, max(through)) if through else 0


def overloaded(goal: Goal, found: Figures, level: int) -> bool:
    """Whether fewer frames came out of a run than came in."""
    return found.throughput < _OVERLOADED * rate(goal, level)


def next_trial(
    goal: Goal, candidates: Sequence[Candidate], neighbours: Neighbours, *, repeats: bool = True
) -> Step | None:
    """The measurement that is worth most now; None when nothing is left that may be better than the best.

    `repeats`: a run is not the same when it is run again, so that a comparison needs several.
    """
    front, best = _front(goal, candidates), best_of(goal, candidates)
    around = set() if best is None else set(_around(goal, candidates, best, neighbours))
    groups = (front, sorted(around - set(front), key=lambda n: _order(goal, candidates[n])))
    # To a twentieth first: which candidate it is matters more than its last level.
    for fine, group in ((fine, group) for fine in (_COARSE, 0.0) for group in groups):
        levels = [(n, _trial_level(goal, candidates, n, repeats, fine)) for n in group]
        steps = [(n, level) for n, level in levels if level is not None]
        if steps and scales(goal):  # the most hopeful first: its level spares the others all but a trial
            return max(steps, key=lambda step: _hope(goal, candidates, step[0]))
        if steps:  # in turn, so that a disturbance does not meet one alone
            return min(steps, key=lambda step: len(candidates[step[0]].measured))
    again = (n for group in groups for n in group if repeats and _near_miss(goal, candidates, n))
    return next(((n, _bar(candidates) + 1) for n in again), None)


def settled(goal: Goal, candidates: Sequence[Candidate]) -> bool:
    """Whether the level that the best candidate carries is known to a twentieth."""
    best = best_of(goal, candidates)
    return best is not None and scales(goal) and _trial_level(goal, candidates, best, True, _COARSE) is None


def _front(goal: Goal, candidates: Sequence[Candidate]) -> list[int]:
    """The best by prediction, and second the plan as given, which the best is told against."""
    known = [n for n, c in enumerate(candidates) if c.predicted and c.error is None]
    ranked = sorted(known, key=lambda n: _order(goal, candidates[n]))[:FRONT]
    given = [0] if candidates and candidates[0].error is None and 0 not in ranked else []
    return [*ranked[:1], *given, *ranked[1:]]


def _order(goal: Goal, candidate: Candidate) -> tuple[float, ...]:
    """Best predicted first; what was not predicted comes last, since only a measurement can tell."""
    stands = standing(goal, candidate.predicted)
    return (1.0,) if stands is None else (0.0, *(-part for part in stands))


def _around(goal: Goal, candidates: Sequence[Candidate], best: int, neighbours: Neighbours) -> Iterator[int]:
    """What is one step from the best; without levels, only what is not predicted to be worse."""
    settings, own = neighbours(candidates[best].settings), standing(goal, candidates[best].predicted)
    for n, c in enumerate(candidates):
        told = standing(goal, c.predicted)
        worse = not scales(goal) and own is not None and told is not None and told <= own
        if c.error is None and c.settings in settings and not worse:
            yield n


def _trial_level(goal: Goal, candidates: Sequence[Candidate], number: int, repeats: bool, fine: float) -> int | None:
    candidate, best = candidates[number], _bar(candidates)
    if not scales(goal):
        idle = len(candidate.measured) >= _wanted(goal, candidates, number, repeats)
        return None if idle or _hopeless(goal, candidates, number) else level_of(goal, 0.0)
    if number == 0 and fine and carried(candidate.measured) < best:
        return _rough_level(goal, candidates)
    foretold, done = carried(candidate.predicted), tried(candidate.measured)
    if candidate.predicted and not done and max(foretold + 1, _times(goal, _HOPE, foretold)) <= best:
        return None
    # Without a prediction: one above the best is of interest, and what comes after it is anybody's guess.
    guess = _expected(goal, candidates, number) or (0 if done else best + 1)
    floor = 0 if carried(candidate.measured) == best else best
    return next_level(done, guess, floor, fine, stands_for=partial(rate, goal))


def _rough_level(goal: Goal, candidates: Sequence[Candidate]) -> int | None:
    """The level at which to try the plan as given where another is better; None when its own is roughly known."""
    given, around = candidates[0], _bar(candidates) + 1
    bound = around if given.bound is None else level_of(goal, given.bound)
    guess = _expected(goal, candidates, 0) or (0 if given.measured else bound)
    return next_level(tried(given.measured), guess, 0, _ROUGH, stands_for=partial(rate, goal))


def _hope(goal: Goal, candidates: Sequence[Candidate], number: int) -> float:
    """The level that a candidate may carry: what is expected of it, under what it was seen to miss.

    Optimism in the face of uncertainty (Lai and Robbins, 1985): one trial that disappoints passes the turn on.
    """
    candidate = candidates[number]
    if number == 0 and carried(candidate.measured) < _bar(candidates) and _rough_level(goal, candidates) is not None:
        return math.inf  # what the best is told against is due
    missed = min((level for level, kept in tried(candidate.measured).items() if not kept), default=math.inf)
    return max(carried(candidate.measured), min(_expected(goal, candidates, number), missed - 1))


def _expected(goal: Goal, candidates: Sequence[Candidate], number: int) -> int:
    """What came out of a candidate's overloaded trials, or what is predicted as far as that came true; 0: not known."""
    candidate = candidates[number]
    likely = _times(goal, _trust(goal, candidates), carried(candidate.predicted))
    return came_out(goal, candidate.measured) or likely


def _trust(goal: Goal, candidates: Sequence[Candidate]) -> float:
    """The share of what was predicted that measurements have come to, where their limit was seen; 1 at most."""
    shares = [
        rate(goal, max(carried(c.measured), came_out(goal, c.measured))) / rate(goal, carried(c.predicted))
        for c in candidates
        if any(not t.met for t in c.measured) and carried(c.predicted)
    ]
    return min(1.0, median(shares)) if shares else 1.0


def _near_miss(goal: Goal, candidates: Sequence[Candidate], number: int) -> bool:
    """Whether the only trial of a candidate above the best's level may have failed by chance.

    It may where few frames were late, and where predictions do not tell the candidate from the best.
    """
    best, above = best_of(goal, candidates), _bar(candidates) + 1
    at = [t for t in candidates[number].measured if t.level == above]
    if best is None or not scales(goal) or len(at) != 1 or at[0].met:
        return False
    own, others = (carried(candidates[n].predicted) for n in (number, best))
    alike = number != best and 0 < _times(goal, _CLOSE, others) <= own
    return alike or at[0].figures.missed <= _NEAR * goal.late


def _bar(candidates: Sequence[Candidate]) -> int:
    """The level that the best carries."""
    return max((carried(c.measured) for c in candidates if c.error is None), default=0)


def _times(goal: Goal, share: float, level: int) -> int:
    """The level of `share` times the load of another one; 0 stays 0."""
    return level_of(goal, share * rate(goal, level)) if level else 0


def _hopeless(goal: Goal, candidates: Sequence[Candidate], number: int) -> bool:
    """Whether no measurement may still make of this candidate what the best has been measured to be."""
    candidate, best = candidates[number], best_of(goal, candidates)
    if number == 0 or best is None or candidate.measured or not candidate.predicted:
        return False
    own, reached = standing(goal, candidate.predicted), standing(goal, candidates[best].measured)
    if own is None or reached is None or not reached[0]:
        return False
    return own[1] < _HOPE * reached[1] if own[0] else -own[2] > _HOPE * goal.p99_ms * NS_PER_MS


def _wanted(goal: Goal, candidates: Sequence[Candidate], number: int, repeats: bool) -> int:
    """How many trials tell this candidate from the others: more of the best."""
    if not repeats:
        return 1
    stands = [(s, -n) for n, c in enumerate(candidates) if c.error is None and (s := standing(goal, c.measured))]
    ranked = [-minus for _, minus in sorted(stands, reverse=True)]
    place = ranked.index(number) if number in ranked else len(ranked)
    return _REPEATS[place] if place < len(_REPEATS) else 1
