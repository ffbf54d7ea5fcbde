"""What became of each picture of a source, and results in its order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from framepace.facts.running import Result
from framepace.facts.trace import DropCause
from framepace.running.account import Account

MS = 10**6
events = st.lists(
    st.tuples(st.sampled_from(["take", "skip", "drop", "end", "fail", "give up"]), st.integers(0, 40)), max_size=120
)


def played(steps: list[tuple[str, int]], account: Account, check: bool) -> None:
    """What happens to frames, in any order: numbers name one of those that were taken so far."""
    taken = 0
    for step, (what, number) in enumerate(steps):
        now = step * MS
        if what == "take":
            account.take(taken, now, now / 1e9, now)
            taken += 1
        elif what == "skip":
            account.skip(now, number)
        elif taken:
            frame = number % taken
            if what == "drop":
                account.drop(frame, DropCause.BUFFER_FULL)
            elif what == "give up":
                account.drop(frame, DropCause.HUNG)
            else:
                account.end(frame, now, {}, "broken" if what == "fail" else "")
        if check:
            counts = account.counts()
            assert counts.accounted == counts.taken


@given(events, st.one_of(st.none(), st.integers(0, 20 * MS)))
def test_every_picture_is_in_exactly_one_count_at_every_moment(
    steps: list[tuple[str, int]], max_age: int | None
) -> None:
    """Whatever happens to which frame, also twice, or after it was given up."""
    results: list[Result] = []
    account = Account("a", results.append, max_age=max_age)
    played(steps, account, check=True)
    counts = account.counts()
    assert len(results) == counts.delivered + counts.failed


@given(events)
def test_results_come_in_the_order_of_their_source(steps: list[tuple[str, int]]) -> None:
    """However their frames end: each number once, rising."""
    results: list[Result] = []
    played(steps, Account("a", results.append), check=False)
    numbers = [result.number for result in results]
    assert numbers == sorted(set(numbers))


def test_a_frame_waits_for_those_before_it_and_goes_when_one_is_dropped() -> None:
    """The second of three ends first: it comes out when the first is dropped; the third when it ends."""
    results: list[Result] = []
    account = Account("a", results.append)
    for frame in range(3):
        account.take(frame, 0, 0.0, 0)
    account.end(1, 5 * MS, {}, "")
    assert results == []
    account.drop(0, DropCause.STALE)
    account.end(2, 7 * MS, {}, "")
    assert [(result.number, result.age_ms) for result in results] == [(1, 5.0), (2, 7.0)]


def test_what_is_too_old_at_the_sinks_is_dropped_with_that_cause() -> None:
    """An age of 30 ms where 20 are allowed; one of 10 is delivered, and late where 5 were the target."""
    results: list[Result] = []
    account = Account("a", results.append, max_age=20 * MS, target=5 * MS)
    account.take(0, 0, 0.0, 0)
    account.take(1, 20 * MS, 0.0, 20 * MS)
    account.end(0, 30 * MS, {})
    account.end(1, 30 * MS, {})
    assert account.counts().dropped == {"too old at the sink": 1}
    assert [(result.number, result.late) for result in results] == [(1, True)]


def test_a_failed_frame_is_a_result_that_says_why() -> None:
    """Its answers are empty."""
    results: list[Result] = []
    account = Account("a", results.append)
    account.take(0, 0, 0.0, 0)
    account.end(0, MS, {}, "the model broke")
    assert [(result.error, dict(result.answers)) for result in results] == [("the model broke", {})]
    assert account.counts().failed == 1


def test_a_picture_that_was_not_decoded_in_time_is_accounted_for() -> None:
    """It is taken and dropped, with its cause."""
    account = Account("a", lambda result: None)
    account.lose(5, DropCause.BEHIND)
    counts = account.counts()
    assert (counts.taken, counts.dropped, counts.accounted) == (1, {"not decoded in time": 1}, 1)
