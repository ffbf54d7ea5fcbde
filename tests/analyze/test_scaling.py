"""Batch scaling: the line through the costs, and the knee."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framepace.analyze.scaling import fit_scaling
from framepace.errors import NotEnoughSamples

BATCHES = (1, 2, 4, 8, 16)


@given(st.floats(0, 1e7), st.floats(1e5, 1e7))
def test_line_is_recovered(a: float, k: float) -> None:
    """Costs on a line give its intercept and slope back, whatever they are, with nothing left over."""
    found = fit_scaling(BATCHES, [a + b * k for b in BATCHES])
    assert found.a == pytest.approx(a, abs=1e-3 * (a + k))
    assert found.k == pytest.approx(k, rel=1e-3)
    assert found.residual < 1e-3


def test_one_wrong_cost_moves_the_line_little() -> None:
    """One batch size that was measured during a disturbance does not bend the line."""
    costs = [3e6 + 2e6 * b for b in BATCHES]
    costs[3] *= 2
    found = fit_scaling(BATCHES, costs)
    assert (found.a, found.k) == pytest.approx((3e6, 2e6), rel=0.05)


def test_knee_is_where_throughput_stops_growing() -> None:
    """With 3 ms fixed and 2 ms an image, doubling 8 gives 8.6 % more images a second: the knee is 8."""
    found = fit_scaling(BATCHES[::-1], [[3e6 + 2e6 * b] * 5 for b in BATCHES[::-1]])
    assert found.batches == BATCHES
    assert found.knee == 8
    assert found.throughput[0] == 200.0


def test_knee_of_linear_cost_is_the_smallest_batch() -> None:
    """Where a batch costs as much as its images apart, batching never pays."""
    assert fit_scaling((1, 2, 4), (5e6, 10e6, 20e6)).knee == 1


def test_medians_of_samples_count() -> None:
    """Of samples the median counts, so that one outlier does nothing."""
    samples = [np.array([c, c, c, 50 * c]) for c in (3e6, 4e6, 6e6)]
    assert fit_scaling((1, 2, 4), samples).costs == (3e6, 4e6, 6e6)


@pytest.mark.parametrize(("batches", "costs"), [((1,), (5e6,)), ((2, 2), (5e6, 5e6)), ((1, 2), ([5e6], []))])
def test_too_little_to_fit_is_refused(batches: tuple[int, ...], costs: tuple[list[float], ...]) -> None:
    """One batch size, or one that was never measured, is no line."""
    with pytest.raises(NotEnoughSamples, match="two batch sizes"):
        fit_scaling(batches, costs)
