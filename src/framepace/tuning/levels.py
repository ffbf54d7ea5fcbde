"""The search for the highest level that is carried: whole numbers, each a heavier load than the one before. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

Load = Callable[[int], float]
"""The load that a level stands for."""


def next_level(
    done: Mapping[int, bool],
    guess: int,
    floor: int = 0,
    fine: float = 0.0,
    ceiling: int | None = None,
    stands_for: Load = float,
) -> int | None:
    """The level to try next, to find the highest one above `floor` that is carried; None when it is known.

    Args:
        done: levels tried so far, and whether each was carried (the lower the level, the easier).
        guess: the level that is expected. Where it was carried and a higher one was not, the level just above the one
            carried is tried next, once: with `fine`, that ends the search.
        floor: a level at or below which the answer is of no interest; one above it is tried first.
        fine: the answer is known well enough when the loads of the levels around it are this share apart.
        ceiling: the highest level there is.
        stands_for: the load of a level. One that was carried against expectation is followed by an eighth more, then
            by a quarter more, by half as much again, and by twice as much as long as all are carried (galloping search:
            Bentley and Yao, 1976); one that was not, by an eighth less, a quarter less, and half as long as none is.
    """
    low = max((level for level, kept in done.items() if kept), default=0)
    high = min((level for level, kept in done.items() if not kept and level > low), default=None)
    # Nothing has failed above `low`: upwards.
    if high is None:
        return _upwards(low, guess, floor, ceiling, len(done), stands_for)
    return _between(low, high, guess, floor, fine, done, stands_for)


def _between(
    low: int, high: int, guess: int, floor: int, fine: float, done: Mapping[int, bool], stands_for: Load
) -> int | None:
    """The next level where `low` was carried and `high` was not; None where no level between is of interest."""
    start = max(low, floor)
    # 1. The answer is between neighbours, or between levels that `fine` does not distinguish.
    if high - start <= 1 or stands_for(high) <= (1 + fine) * stands_for(start):
        return None
    # 2. The expectation lies between and was not tried.
    if start < guess < high and guess not in done:
        return guess
    # 3. The expectation was carried, and no more than that: one failure just above it is proof enough.
    if low and low <= (1 + fine) * guess and guess <= start and start == low:
        return _finest(start, high, fine, stands_for)
    # 4. Nothing was carried: downwards, in growing steps.
    if start == 0:
        return _below(high, len(done), stands_for)
    # 5. Halve the gap.
    return (start + high) // 2


def _upwards(low: int, guess: int, floor: int, ceiling: int | None, count: int, stands_for: Load) -> int | None:
    """The next level where all `count` levels so far were carried, up to `low`; None at the ceiling."""
    start = max(low, floor)
    level = guess
    if floor and low <= floor:
        level = floor + 1  # whether it is better than the best at all
    elif guess <= start:
        level = _further(start, count, stands_for)
    if ceiling is not None:
        level = min(level, ceiling)
    if level <= start:
        return None
    return level


def _finest(low: int, high: int, fine: float, stands_for: Load) -> int:
    """The level above `low` and below `high` whose failure proves that `low` is the answer, to within `fine`."""
    level = low + 1
    while level + 1 < high and stands_for(level + 1) <= (1 + fine) * stands_for(low):
        level += 1
    return level


def _below(level: int, count: int, stands_for: Load) -> int:
    """The next level to try where none of the `count` ones so far was carried; half the highest at least."""
    share = max(0.5, 1 - 2.0**count / 16)
    lower = level - 1
    while lower > level // 2 and stands_for(lower) > share * stands_for(level):
        lower -= 1
    return max(1, lower)


def _further(level: int, count: int, stands_for: Load) -> int:
    """The next level to try where all of the `count` ones so far were carried."""
    share = min(1.0, 2.0**count / 16)
    higher = level + 1
    while stands_for(higher + 1) <= (1 + share) * stands_for(level):
        higher += 1
    return higher
