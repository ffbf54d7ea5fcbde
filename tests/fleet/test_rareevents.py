"""Rare events in the costs of a model."""

from __future__ import annotations

from framepace.facts.primitives import Point, Primitives
from framepace.fleet.rareevents import without_rare_events
from tests.doubles.primitives import MS, primitives

_BUDGET_MS = 100.0


def _known(events: int, inferences: int = 200) -> Primitives:
    """Two situations of a model with so many inferences of 10 to 14 ms, the first of which take 50 ms."""
    usual = tuple((10 + number % 5) * MS for number in range(inferences // 2))
    disturbed = (50 * MS,) * events + usual[events:]
    return primitives(Point(batch=1, samples={"infer": disturbed}), Point(batch=8, samples={"infer": usual}))


def _longest(known: Primitives) -> int:
    return max(known.costs[0].points[0].samples["infer"])


def test_what_hardly_ever_happens_becomes_the_longest_usual_duration() -> None:
    """Two of two hundred are a hundredth, which a p99 does not notice."""
    assert _longest(without_rare_events(_known(2), _BUDGET_MS)) == 14 * MS


def test_what_happens_more_often_stays() -> None:
    """Three of two hundred: nothing is changed."""
    assert without_rare_events(_known(3), _BUDGET_MS) == _known(3)


def test_a_single_event_does_not_show_that_its_kind_is_frequent() -> None:
    """However few inferences there are."""
    assert _longest(without_rare_events(_known(1, inferences=20), _BUDGET_MS)) == 14 * MS


def test_what_costs_little_of_the_budget_is_no_event() -> None:
    """40 ms more of a second."""
    assert without_rare_events(_known(2), 1000.0) == _known(2)


def test_situations_without_samples_stay() -> None:
    """Their runs delivered nothing."""
    known = primitives(Point(batch=1, samples={"infer": ()}), Point(batch=2))
    assert without_rare_events(known, _BUDGET_MS) == known
