"""Rank correlation over independent rows: what goes with a latency, and how surely."""

from __future__ import annotations

import numpy as np
import pytest

from framepace.analyze.beside import beside, rank_correlation


def test_the_interval_of_noise_holds_nothing_nearly_always() -> None:
    """Of 200 pairs of independent series the 99 % interval misses 0 in a few at most."""
    rng = np.random.default_rng(2)
    intervals = [rank_correlation(rng.normal(size=100), rng.normal(size=100)).interval for _ in range(200)]
    assert sum(low > 0 or high < 0 for low, high in intervals) <= 6


def test_two_series_that_drift_agree_by_chance() -> None:
    """Random walks correlate strongly and mean nothing: hardly one is called sure."""
    rng = np.random.default_rng(3)
    walks = [np.cumsum(rng.normal(size=(2, 300)), axis=1) for _ in range(100)]
    intervals = [rank_correlation(*walk).interval for walk in walks]
    assert sum(low > 0 or high < 0 for low, high in intervals) <= 15


@pytest.mark.parametrize("sign", [1, -1])
def test_what_goes_with_the_latency_is_named_with_its_medians(sign: int) -> None:
    """In either direction; a column of one value, or of few numbers, is not."""
    rng = np.random.default_rng(4)
    objects = rng.integers(0, 10, 500)
    latency = (10_000_000 + sign * objects * 500_000 + rng.normal(0, 200_000, 500)).astype(np.int64)
    late = latency > np.quantile(latency, 0.9)
    few = np.full(500, np.nan)
    few[:5] = np.arange(5)
    (found,) = beside(latency, late, {"objects": objects.astype(float), "one": np.ones(500), "few": few})
    assert found.column == "objects"
    assert np.sign(found.correlation.value) == sign
    assert found.late is not None
    assert (found.late - found.other) * sign > 0
