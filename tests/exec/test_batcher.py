"""The batcher's decisions, over all inputs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from framepace.exec.batcher import BatchRule

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
