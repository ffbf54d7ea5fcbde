"""Tasks handed out to places: in order, where they fit, and elsewhere after a loss."""

from __future__ import annotations

from framepace.lab.handout import MOST_LOSSES, Handout

ALL = {0, 1}


def test_tasks_go_out_in_order_to_places_that_fit() -> None:
    """A place takes the first task it can do; what it cannot do waits for another."""
    handout = Handout()
    for places in ([1], [0, 1], [0]):
        handout.add(places)
    assert [handout.take(0, ALL), handout.take(0, ALL), handout.take(0, ALL)] == [1, 2, None]
    assert handout.waiting == (0,)
    assert handout.take(1, ALL) == 0


def test_a_lost_task_is_done_elsewhere_and_next() -> None:
    """Not on the place that was lost while another lives; on it where none does."""
    handout = Handout()
    for _ in range(3):
        handout.add([0, 1])
    assert handout.take(0, ALL) == 0
    assert handout.lost(0, 0)
    assert handout.take(0, ALL) == 1
    assert handout.take(1, ALL) == 0
    assert handout.lost(0, 1)
    assert handout.take(0, {0}) == 0


def test_a_task_that_loses_place_after_place_is_given_up() -> None:
    """It may be what ends them: after so many losses more it is not handed out again."""
    handout = Handout()
    handout.add([0])
    for _ in range(MOST_LOSSES):
        assert handout.take(0, {0}) == 0
        assert handout.lost(0, 0)
    assert handout.take(0, {0}) == 0
    assert not handout.lost(0, 0)
    assert handout.waiting == ()
