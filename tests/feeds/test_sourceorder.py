"""Which frames of several sources go next."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from framepace.feeds.sourceorder import next_frames

times = st.integers(0, 10**12)
queues = st.lists(st.lists(times, max_size=6).map(sorted), min_size=1, max_size=6).filter(any)


@given(queues, st.integers(1, 20), times, st.integers(0, 50))
def test_frames_are_chosen_in_the_order_of_their_source(
    waiting: list[list[int]], count: int, late: int, given_so_far: int
) -> None:
    """What is chosen of a source is the beginning of its queue; as many as are there, up to `count`."""
    chosen = next_frames(dict(enumerate(waiting)), count, late, {}, given_so_far)
    assert len(chosen) == min(count, sum(map(len, waiting)))
    for source, queue in enumerate(waiting):
        own = [due for due, of in chosen if of == source]
        assert own == queue[: len(own)]


@given(queues, st.integers(1, 20))
def test_the_oldest_deadline_goes_first_while_all_can_be_met(waiting: list[list[int]], count: int) -> None:
    """With nobody late the choice is the `count` oldest of all."""
    chosen = next_frames(dict(enumerate(waiting)), count, 0, {})
    assert [due for due, _ in chosen] == sorted(due for queue in waiting for due in queue)[:count]


def test_who_can_still_be_on_time_goes_before_who_cannot() -> None:
    """A frame that is late already does not make a second one late, but has its turn after that."""
    assert [source for _, source in next_frames({0: [10, 11, 12], 1: [100, 101]}, 5, 50, {0: 5, 1: 4}, 5)] == [
        1,
        0,
        1,
        0,
        0,
    ]


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=6), st.integers(0, 2000))
def test_no_source_starves(steps: list[int], late: int) -> None:
    """However far behind another one is: of sources that always have frames each is given one in two rounds at most."""
    waiting = [deque(step * i for i in range(120)) for step in steps]
    sources = len(steps)
    turns = [0] * sources
    content = [0] * sources  # the turn in which each was given a frame, or had none that was late
    for turn in range(1, 100):
        [(_, source)] = next_frames(dict(enumerate(waiting)), 1, late * turn, dict(enumerate(turns)), turn - 1)
        waiting[source].popleft()
        turns[source] = turn
        for place, queue in enumerate(waiting):
            if place == source or queue[0] >= late * turn:
                content[place] = turn
            assert turn - content[place] < 2 * sources
