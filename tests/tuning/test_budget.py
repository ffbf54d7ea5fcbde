"""How long the runs of a tuning are."""

from __future__ import annotations

import pytest

from framepace.tuning.budget import RunLength


@pytest.mark.parametrize(
    ("fps", "at_least", "seconds"), [(100, 0, 3), (1000, 0, 1), (10, 0, 6), (100, 4, 4), (100, 9, 6)]
)
def test_a_run_lasts_for_its_frames_within_limits(fps: float, at_least: float, seconds: float) -> None:
    """300 frames take 3 s at 100 frames/s; never under 1 s, nor over 6 s, whatever else is asked."""
    length = RunLength(frames=300, shortest_s=1.0, longest_s=6.0)
    assert length.seconds(fps, at_least) == seconds
