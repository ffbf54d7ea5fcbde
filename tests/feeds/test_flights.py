"""What batches cost, learnt from those in flight."""

from __future__ import annotations

import random

from framepace.feeds.flights import Flights
from framepace.video.frame import Frame

MS = 1_000_000


def frames(number: int, count: int = 1) -> list[Frame]:
    """A batch whose first frame has this number."""
    return [Frame(number + place, 0, 0, 0, 0, 0, 0) for place in range(count)]


def test_a_batch_alone_is_learnt_as_it_is() -> None:
    """From take-off to landing."""
    flights = Flights()
    for number in range(50):
        flights.take_off(number * 20 * MS, frames(number))
        assert flights.land(frames(number), number * 20 * MS + 10 * MS, failed=False) == 10 * MS
    assert abs(flights.costs.cost(1) - 10 * MS) < 0.1 * MS
    assert len(flights) == 0


def test_stamps_that_are_older_than_other_threads_do_no_harm() -> None:
    """A worker that stamps its batch and is held up before it says so, while others take off and land: as on a machine
    with too few cores. The costs stay those of batches side by side, and finite.
    """
    draw = random.Random(1)
    flights = Flights()
    now = 0
    for number in range(0, 9000, 3):
        flights.take_off(now, frames(number))  # alone
        now += 5 * MS
        flights.land(frames(number), now, failed=False)
        flights.take_off(now, frames(number + 1))
        flights.take_off(now + MS, frames(number + 2))
        ends = now + 10 * MS
        now = ends + round(draw.expovariate(1 / 20) * MS)  # the other is stamped so much later, and says so first
        flights.land(frames(number + 2), now, failed=False)
        flights.land(frames(number + 1), ends, failed=False)
    assert 3 * MS < flights.costs.cost(1) < 8 * MS
    assert flights.costs.limit(1, 1) < 100 * MS


def test_a_failed_batch_teaches_nothing() -> None:
    """It has landed all the same."""
    flights = Flights()
    flights.take_off(0, frames(0))
    flights.land(frames(0), 10 * MS, failed=True)
    assert (len(flights), flights.costs.cost(1)) == (0, 0)
