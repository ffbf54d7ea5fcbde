"""When a request would be answered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framepace.feeds.batchcosts import BatchCosts
from framepace.serving.admission import Queue, WayBack, answered_at
from framepace.units import NS_PER_MS as MS

COSTS = BatchCosts(a=2_000, k=1_000, sharing=1.0)  # 3000 ns for one item, 6000 for four


@pytest.mark.parametrize(
    ("queue", "end"),
    [
        (Queue(0, 0, 0, 1, 1), 3_000),  # nobody there
        (Queue(0, 1, 1_500, 1, 1), 1_500 + 3_000),  # one runs
        (Queue(2, 1, 1_500, 1, 1), 1_500 + 3 * 3_000),  # two wait besides
        (Queue(2, 1, 1_500, 1, 4), 1_500 + 5_000),  # they share its batch
        (Queue(4, 1, 1_500, 1, 4), 1_500 + 6_000 + 3_000),  # they are a batch of their own
        (Queue(0, 1, 1_500, 2, 1), 6_000),  # beside another, on a device that gains nothing by it
        (Queue(3, 2, 1_500, 2, 1), 1_500 + 3 * 3_000 + 6_000),
    ],
)
def test_what_is_ahead_is_counted_in_batches(queue: Queue, end: int) -> None:
    """By hand, with a device that runs one batch after the other."""
    assert answered_at(0, 1, queue, COSTS) == end


def test_nothing_is_refused_before_anything_was_measured() -> None:
    """Costs that are not known are none."""
    assert answered_at(7, 1, Queue(1000, 1, 7, 1, 1), BatchCosts()) == 7


@given(st.integers(0, 50), st.integers(1, 4), st.integers(1, 8), st.integers(0, 4))
def test_more_ahead_is_never_sooner(ahead: int, workers: int, size: int, flying: int) -> None:
    """One more batch that waits, or one that runs, only adds time."""
    queue = Queue(ahead, min(flying, workers), 500, workers, size)
    end = answered_at(0, 1, queue, COSTS)
    assert answered_at(0, 1, Queue(ahead + size, queue.flying, 500, workers, size), COSTS) >= end


def test_the_way_back_is_kept_in_hand_and_forgotten() -> None:
    """While answers wait for the event loop their time is shorter; a slow moment does not last."""
    way = WayBack()
    assert way.limit(0) == 0
    for number in range(200):
        way.add(10 * MS, number * MS)
    assert way.limit(199 * MS) == pytest.approx(10 * MS, rel=0.05)
    assert way.limit(10_000 * MS) < 0.01 * MS
