"""Drop rules: how many frames stay, which ones go, and why; nothing goes that need not."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from framepace.facts.plan import SourcePolicy
from framepace.facts.trace import DropCause
from framepace.feeds.droprules import DropRule, drop_rule
from framepace.units import NS_PER_MS
from framepace.video.frame import Frame

ages = st.lists(st.integers(0, 100), max_size=12).map(sorted)


def waiting(due: list[int]) -> deque[Frame]:
    """A buffer of frames that were due at these times, the oldest first."""
    return deque(Frame(number, 0, at, at, at, at, 0, None) for number, at in enumerate(due))


@given(ages, st.integers(1, 12))
def test_the_oldest_give_way_until_there_is_room_for_one(due: list[int], room: int) -> None:
    """And none of them while there is room."""
    buffer = waiting(due)
    gone = list(DropRule(room, waits=False).make_room(buffer))
    assert [frame.number for frame, _ in gone] == list(range(max(0, len(due) - room + 1)))
    assert all(cause == DropCause.BUFFER_FULL for _, cause in gone)
    assert len(buffer) == min(len(due), room - 1)


@given(ages, st.integers(1, 12))
def test_where_the_source_waits_no_frame_gives_way(due: list[int], room: int) -> None:
    """It is the source that stands still."""
    assert list(DropRule(room, waits=True).make_room(waiting(due))) == []


@given(ages, st.integers(0, 120), st.integers(0, 120))
def test_frames_older_than_the_age_go_and_no_others(due: list[int], now: int, age: int) -> None:
    """Exactly those that were due more than `age` ago."""
    buffer = waiting(due)
    gone = list(DropRule(1, waits=True, age=age).discard_stale(buffer, now))
    assert [frame.due for frame, _ in gone] == [at for at in due if at < now - age]
    assert all(cause == DropCause.STALE for _, cause in gone)
    assert list(DropRule(1, waits=True).discard_stale(buffer, now)) == []


def test_the_rule_is_that_of_the_plan() -> None:
    """In ns, and without an age where the plan has none."""
    assert drop_rule(SourcePolicy(buffer=3, drop="oldest", stale_ms=2)) == DropRule(3, waits=False, age=2 * NS_PER_MS)
    assert drop_rule(SourcePolicy(buffer=1, drop="never")) == DropRule(1, waits=True)
