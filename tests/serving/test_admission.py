"""When a request would be answered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framepace.serving.admission import Queue, WayBack, answered_at
from framepace.serving.durations import Durations
from framepace.units import NS_PER_MS as MS


def learnt(*batches: tuple[int, int]) -> Durations:
    """What is known after batches of so many items that took so long (ns), each of them twenty times."""
    durations = Durations()
    for _ in range(20):
        for count, took in batches:
            durations.add(count, took)
    return durations


KNOWN = learnt((1, 3_000), (4, 6_000))


@pytest.mark.parametrize(
    ("queue", "end"),
    [
        (Queue(0, 0, 0, 1, 1), 3_000),  # nobody there
        (Queue(0, 1, 1_500, 1, 1), 1_500 + 3_000),  # one runs
        (Queue(2, 1, 1_500, 1, 1), 1_500 + 3 * 3_000),  # two wait besides
        (Queue(0, 1, 1_500, 1, 4), 1_500 + 6_000),  # others may join its batch before that
        (Queue(2, 1, 1_500, 1, 4), 1_500 + 6_000),  # they share its batch
        (Queue(4, 1, 1_500, 1, 4), 1_500 + 6_000 + 6_000),  # they are a batch of their own
        (Queue(0, 1, 1_500, 2, 1), 3_000),  # beside another
        (Queue(3, 2, 1_500, 2, 1), 1_500 + 4_500 + 3_000),
    ],
)
def test_what_is_ahead_is_counted_in_batches(queue: Queue, end: int) -> None:
    """By hand, with batches that always take the same."""
    assert answered_at(0, 1, queue, KNOWN) == pytest.approx(end, rel=0.02)


def test_nothing_is_refused_before_anything_was_measured() -> None:
    """Durations that are not known are none."""
    assert answered_at(7, 1, Queue(1000, 1, 7, 1, 1), Durations()) == 7


def test_a_queue_takes_the_mean_of_its_batches() -> None:
    """Not what most of them take: one in ten takes ten times as long."""
    durations = learnt(*[(1, 1_000)] * 9, (1, 10_000))
    assert durations.mean(1) == pytest.approx(1_900, rel=0.1)
    assert durations.margin(1, 4) == 2 * durations.margin(1)


def test_one_stall_does_not_count_for_all_that_it_took() -> None:
    """What is expected after it, with what is kept in hand, is less than twice what was expected before."""
    durations = learnt(*[(1, 1_000)] * 10)
    durations.add(1, 1_000_000)
    assert durations.mean(1) + durations.margin(1) < 2 * 1_000


def test_a_first_batch_that_loads_the_rest_of_a_model_is_forgotten() -> None:
    """With the first one after it."""
    durations = Durations()
    durations.add(1, 1_000_000)
    durations.add(1, 2_000)
    assert durations.mean(1) == pytest.approx(2_000)


def test_a_model_that_becomes_slower_is_noticed() -> None:
    """Fifty times, within a few dozen batches."""
    durations = learnt((1, 1_000))
    for _ in range(60):
        durations.add(1, 50_000)
    assert durations.mean(1) > 25_000


@given(st.integers(0, 50), st.integers(1, 4), st.integers(1, 8), st.integers(0, 4))
def test_more_ahead_is_never_sooner(ahead: int, workers: int, size: int, flying: int) -> None:
    """One more batch that waits, or one that runs, only adds time."""
    queue = Queue(ahead, min(flying, workers), 500, workers, size)
    end = answered_at(0, 1, queue, KNOWN)
    assert answered_at(0, 1, Queue(ahead + size, queue.flying, 500, workers, size), KNOWN) >= end


def test_the_way_back_is_kept_in_hand_and_forgotten() -> None:
    """While answers wait for the event loop their time is shorter; a slow moment does not last."""
    way = WayBack()
    assert way.limit(0) == 0
    for number in range(200):
        way.add(10 * MS, number * MS)
    assert way.limit(199 * MS) == pytest.approx(10 * MS, rel=0.05)
    assert way.limit(10_000 * MS) < 0.01 * MS
