"""The batcher's decisions, over all inputs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from framepace.feeds.batchcosts import BatchCosts
from framepace.feeds.batchrules import BatchRule, DeadlineRule

MS = 1_000_000
rules = st.builds(
    BatchRule,
    size=st.integers(1, 64),
    window=st.integers(0, 10**9),
    budget=st.none() | st.integers(0, 10**9),
    cost=st.integers(0, 10**9),
)
times = st.integers(0, 10**12)


@given(rules, times, times, st.integers(1, 64))
def test_a_batch_never_waits_past_its_window_nor_past_what_its_deadline_allows(
    rule: BatchRule, now: int, due: int, count: int
) -> None:
    """Whatever it waits for ends by oldest due + window, and by the deadline less the batch's cost if that is later."""
    until = rule.waits_until(now, due, count)
    if until is not None:
        assert now < until <= due + rule.window
        if rule.budget is not None:
            assert until <= max(due, due + rule.budget - rule.cost)


@given(rules, times, times)
def test_a_full_batch_is_taken_at_once(rule: BatchRule, now: int, due: int) -> None:
    """At the maximum there is nothing to wait for."""
    assert rule.waits_until(now, due, rule.size) is None


@given(rules, times, times, st.integers(1, 64))
def test_waiting_ends(rule: BatchRule, now: int, due: int, count: int) -> None:
    """Asked again at the time it named, the batch is taken: nobody starves."""
    until = rule.waits_until(now, due, count)
    if until is not None:
        assert rule.waits_until(until, due, count) is None


def test_without_a_window_nobody_waits() -> None:
    """Window 0 takes what is there."""
    assert BatchRule(8).waits_until(now=100, oldest_due=100, count=1) is None


# --- by deadline ------------------------------------------------------------------------------------------------------

NOW = 100 * MS
models = st.builds(
    BatchCosts,
    a=st.floats(0, 20 * MS),
    k=st.floats(1000, 5 * MS),
    residual=st.floats(0, 0.5),
    sharing=st.floats(0, 1),
)
by_deadline = st.builds(
    DeadlineRule,
    size=st.integers(1, 16),
    budget=st.integers(MS, 80 * MS),
    sizes=st.lists(st.integers(1, 16), max_size=3, unique=True).map(tuple),
)
ages = st.lists(st.integers(0, 90 * MS), min_size=1, max_size=24)
flights = st.integers(0, 4)


def dues(waited: list[int]) -> list[int]:
    """Due times of frames that have waited so long, oldest first."""
    return sorted(NOW - age for age in waited)


@given(by_deadline, ages, models, flights, st.integers(-50 * MS, 50 * MS))
def test_no_deadline_is_missed_by_waiting(
    rule: DeadlineRule, waited: list[int], costs: BatchCosts, flying: int, left: int
) -> None:
    """A frame that would be on time if it went now still is when a worker is free, and at the end of the wait."""
    waiting = dues(waited)
    until = rule.waits_until(NOW, waiting, costs, flying, NOW + left)
    if until is None:
        return
    now_done = NOW + costs.limit(len(waiting), flying)
    for begin in (max(NOW, NOW + left), until):
        later_done = begin + costs.limit(len(waiting) + 1, flying - 1)
        for due in waiting:
            assert later_done <= due + rule.budget or now_done > due + rule.budget


@given(by_deadline, ages, models, flights, st.integers(-50 * MS, 50 * MS))
def test_a_wait_is_ahead_and_only_beside_others(
    rule: DeadlineRule, waited: list[int], costs: BatchCosts, flying: int, left: int
) -> None:
    """It ends after now; with none in flight, a full batch, or a budget that one frame exceeds, there is none."""
    waiting = dues(waited)
    until = rule.waits_until(NOW, waiting, costs, flying, NOW + left)
    assert until is None or until > NOW
    if not flying or len(waiting) >= rule.full or rule.budget < costs.limit(1):
        assert until is None


@given(by_deadline, ages, models, flights)
def test_what_is_taken_is_within_the_maximum_and_misses_no_more_than_all_would(
    rule: DeadlineRule, waited: list[int], costs: BatchCosts, flying: int
) -> None:
    """At least one frame, at most the size; no more deadlines are missed than by taking as many as fit."""
    waiting = dues(waited)
    taken, there = rule.takes(NOW, waiting, costs, flying), min(len(waiting), rule.size)
    assert 1 <= taken <= there
    assert missed(rule, waiting[:there], taken, costs, flying) <= missed(rule, waiting[:there], there, costs, flying)


def missed(rule: DeadlineRule, waiting: list[int], size: int, costs: BatchCosts, flying: int) -> int:
    """How many are late when `size` go now and the rest when those are done."""
    done = [NOW + costs.cost(size, flying)] * size
    done += [done[0] + costs.cost(len(waiting) - size, flying)] * (len(waiting) - size)
    return sum(end > due + rule.budget for end, due in zip(done, waiting, strict=True))


def test_a_preferred_size_is_taken_unless_a_deadline_would_be_missed_by_it() -> None:
    """Of six frames four go, the largest preferred size; all six when the two left behind would then be late."""
    rule, costs = DeadlineRule(8, 30 * MS, (2, 4, 8)), BatchCosts(4 * MS, MS)
    assert rule.takes(NOW, [NOW] * 6, costs, 0) == 4
    assert rule.takes(NOW, [NOW - 19 * MS] * 6, costs, 0) == 6
    assert DeadlineRule(8, 30 * MS).takes(NOW, [NOW] * 6, costs, 0) == 6


def test_a_batch_is_cut_where_that_saves_the_oldest() -> None:
    """The oldest has 7 ms left, enough for three frames; the other five have time for the batch after it."""
    rule, costs = DeadlineRule(8, 30 * MS), BatchCosts(4 * MS, MS)
    assert rule.takes(NOW, [NOW - 23 * MS] + [NOW] * 7, costs, 0) == 3


def test_a_batch_grows_beside_others_only_where_that_is_worth_it() -> None:
    """A device that runs batches side by side, or one that gains nothing by larger ones, is given them at once."""
    rule = DeadlineRule(8, 50 * MS)
    shared, free, linear = BatchCosts(4 * MS, MS), BatchCosts(4 * MS, MS, sharing=0.0), BatchCosts(0, MS, sharing=0.3)
    assert rule.waits_until(NOW, [NOW], shared, 1, NOW + 5 * MS) == NOW + 50 * MS - 6 * MS
    assert rule.waits_until(NOW, [NOW], free, 1, NOW + 5 * MS) is None
    assert rule.waits_until(NOW, [NOW], linear, 1, NOW + 5 * MS) is None
