"""Capacities in words: the sentence says how sure the number is."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from framepace.facts.capacity import Capacity
from framepace.reporting.views.capacity import capacity_view
from tests.reporting.samples import MS, capacity


@pytest.mark.parametrize(
    ("cameras", "missed", "says"),
    [
        (2, 3, "2 cameras at"),
        (1, 2, "1 camera at"),
        (4, None, "at least 4 cameras at"),
        (4, 8, "between 4 and 7 cameras at"),
        (1, 3, "between 1 and 2 cameras at"),
        (0, None, "nothing was measured"),
        (0, 2, "not one camera"),
    ],
)
def test_the_sentence_claims_what_was_seen(cameras: int, missed: int | None, says: str) -> None:
    """Exact, a lower end, a range, or nothing."""
    found = Capacity(cameras=cameras, missed=missed, fps=30, budget=33 * MS)
    assert capacity_view(found).sentence.startswith(says)


def test_measurement_and_prediction_stand_side_by_side() -> None:
    """One row a count; what was only foreseen has no measured number."""
    view = capacity_view(capacity())
    assert [(row.texts[0], row.holds) for row in view.rows] == [("2", True), ("3", False), ("4", None)]
    assert view.rows[0].texts[1] == "21.0 ms [20.0, 24.0]"
    assert view.rows[2].texts[1:6] == ("", "", "", "", "")
    assert view.limit == "limited by the CPU: 1.9 of 2 cores busy"
    assert "predicted: 2 cameras" in view.notes


def test_not_one_camera_says_by_how_much() -> None:
    """How far p99 is over, how many are late, how many lost."""
    point = replace(capacity().points[0], cameras=1, holds=False, late=0.5, lost=3)
    found = Capacity(cameras=0, missed=1, fps=30, budget=11 * MS, points=(point,))
    sentence = capacity_view(found).sentence
    assert sentence.endswith("p99 is 10.0 ms over, 50.0% of the frames are late, 3 lost")
