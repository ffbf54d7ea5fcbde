"""Which calibration is best, and how many frames are enough."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from framepace.analyze.calibrating import best_point, calibration_counts, enough_frames, still_falling
from framepace.facts.calibrating import CalibrationPoint


def point(frames: int = 1, error: float | None = 0.1, **fields: Any) -> CalibrationPoint:
    """A point of a curve."""
    return CalibrationPoint(**{"method": "minmax", "frames": frames, "error": error, "passed": True, **fields})


@given(st.integers(1, 200))
def test_counts_double_and_end_with_all(available: int) -> None:
    """From one on, none twice, none more than there are."""
    counts = calibration_counts(available)
    assert (counts[0], counts[-1]) == (1, available)
    assert all(one < other <= 2 * one for one, other in pairwise(counts))


def test_enough_is_where_the_curve_stays_low() -> None:
    """A dip that the next count leaves again is not enough; a tenth more is the same."""
    curve = [point(1, 0.4), point(2, 0.1), point(4, 0.3), point(8, 0.109), point(16, 0.1)]
    assert enough_frames(curve) == 8
    assert not still_falling(curve)
    assert still_falling([point(1, 0.4), point(2, 0.2)])
    assert enough_frames([point(1, None)]) is None


def test_a_good_try_on_fewer_frames_is_chance() -> None:
    """The best is one of those on all frames; one that tells nothing comes after those that do."""
    few = point(2, 0.01)
    assert best_point([point(8, 0.2), few]) == 0
    empty = point(8, 50.0, negligible=True)
    assert best_point([empty, point(8, 0.2, passed=False)]) == 0
    assert best_point([empty, point(8, 0.2)]) == 1


def test_the_best_passes_then_scores_then_errs_least() -> None:
    """Of equals the first."""
    failing = point(error=0.01, passed=False)
    assert best_point([failing, point(error=0.2), point(error=0.1), point(error=0.1)]) == 2
    assert best_point([point(error=0.1, score=0.8), point(error=0.2, score=0.9)]) == 1
