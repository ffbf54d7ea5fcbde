"""The null backend's durations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framepace.backends.null import durations


@given(st.integers(1, 200), st.integers(0, 200), st.integers(0, 5))
def test_the_first_durations_do_not_depend_on_how_many_are_drawn(count: int, more: int, seed: int) -> None:
    """What calibration compares with is what the backend took."""
    options: dict[str, str | int | float | bool] = {"latency_us": 100, "noise": 0.1, "outlier_share": 0.1, "seed": seed}
    assert np.array_equal(durations(options, count), durations(options, count + more)[:count])


def test_level_ramp_noise_and_outliers_are_as_asked() -> None:
    """Ten thousand draws: mean, spread, share of outliers and the second level."""
    flat = durations({"latency_us": 1000, "noise": 0.1}, 10_000) / 1e6
    assert flat.mean() == pytest.approx(1, rel=0.01)
    assert flat.std() == pytest.approx(0.1, rel=0.05)
    spiky = durations({"latency_us": 1000, "outlier_share": 0.02, "outlier_factor": 5}, 10_000) / 1e6
    assert (spiky > 4).mean() == pytest.approx(0.02, rel=0.2)
    stepped = durations({"latency_us": 1000, "tier_at": 100, "tier_factor": 3, "ramp": 50}, 300) / 1e6
    assert stepped[:99].max() == pytest.approx(1)
    assert 1 < stepped[125] < 3
    assert stepped[150:].min() == pytest.approx(3)
