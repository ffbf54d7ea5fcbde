"""A share of the frames is a share of every camera's."""

from __future__ import annotations

import numpy as np
import pytest

from framepace.analyze.sampling import sampled

PER_CAMERA = 1000


@pytest.mark.parametrize("cameras", [1, 2, 4, 10, 64, 100])
@pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
def test_a_share_is_fair_to_cameras_that_take_turns(cameras: int, share: float) -> None:
    """Each has its share, within a few frames, and together they have it exactly enough."""
    frames = np.arange(PER_CAMERA * cameras)
    kept = frames[sampled(frames, share)]
    per_camera = np.bincount(kept % cameras, minlength=cameras)
    expected = share * PER_CAMERA
    assert len(kept) == pytest.approx(expected * cameras, rel=0.05)
    assert per_camera.min() >= expected / 2
    assert per_camera.max() <= 2 * expected


def test_all_are_kept_of_a_share_of_one() -> None:
    """Whatever their numbers are."""
    assert sampled(np.array([0, 1, 2**31, 2**40, 2**62]), 1.0).all()
