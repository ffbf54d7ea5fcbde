"""Statistics of correlated latencies: intervals hold what they promise, and refuse where they cannot."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.stats import binom, norm

from framepace.analyze.correlation import autocorrelation_time
from framepace.analyze.stats import (
    effective_size,
    mean_interval,
    needed,
    paired_ratio,
    percentile,
    percentiles,
)
from framepace.analyze.tiers import find_tiers
from framepace.errors import UsageError
from framepace.facts.summary import Estimate

Floats = NDArray[np.float64]


def correlated(rng: np.random.Generator, n: int, rho: float, deviation: float = 1.0) -> Floats:
    """AR(1) noise of unit variance times `deviation`; its autocorrelation time is (1 + rho) / (1 - rho)."""
    noise = rng.normal(0, np.sqrt(1 - rho**2), n + 200)
    return np.asarray(lfilter([1], [1, -rho], noise)[200:] * deviation, dtype=np.float64)


def _holds(estimate: Estimate, truth: float) -> bool:
    return estimate.low is not None and estimate.high is not None and estimate.low <= truth <= estimate.high


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_autocorrelation_time_of_known_noise(rho: float) -> None:
    """The autocorrelation time of AR(1) noise is (1 + rho) / (1 - rho)."""
    tau = autocorrelation_time(correlated(np.random.default_rng(1), 20_000, rho))
    assert tau == pytest.approx((1 + rho) / (1 - rho), rel=0.15)


def test_constant_series_is_independent() -> None:
    """Equal values repeat themselves by nature: each counts; no value counts for none."""
    assert effective_size(np.full(100, 5_000_000)) == 100
    assert effective_size(np.empty(0)) == 0
    assert effective_size(np.array([1.0])) == 1


def test_two_levels_are_few_independent_samples() -> None:
    """A series of two long levels is worth a handful of samples however long it is."""
    steps = np.repeat([5.0, 10.0], 5000) + np.random.default_rng(0).normal(0, 0.1, 10_000)
    assert effective_size(steps) < 20


@given(arrays(np.float64, st.integers(1, 80), elements=st.floats(-1e9, 1e9)))
def test_effective_size_is_between_one_and_all(values: Floats) -> None:
    """No series is worth more samples than it has, nor less than one."""
    assert 1 <= effective_size(values) <= len(values)


@pytest.mark.parametrize(("q", "over", "count"), [(99, 1, 662), (99.9, 1, 6636), (90, 1, 64), (99, 0, 459)])
def test_needed_is_the_early_stopping_bound(q: float, over: int, count: int) -> None:
    """The counts are those of LoadGen's early-stopping table at 99 % confidence."""
    assert needed(q, 0.99, over) == count


@pytest.mark.parametrize(("n", "q"), [(600, 99), (1000, 50), (80, 90), (8, 50)])
def test_ranks_are_the_tightest_that_hold(n: int, q: int) -> None:
    """The ranks of the interval have binomial tails of at most 0.5 %, and the next ones in have more."""
    spread = 1.0 + np.argsort(np.arange(n) * 0.618034 % 1).astype(np.float64)  # no positive correlation
    p = percentile(spread, q)
    assert p.estimate is not None
    assert p.estimate.low is not None
    assert p.estimate.high is not None
    low, high = round(p.estimate.low), round(p.estimate.high)
    assert binom.cdf(low - 1, n, q / 100) <= 0.005 < binom.cdf(low, n, q / 100)
    assert 1 - binom.cdf(high - 1, n, q / 100) <= 0.005 < 1 - binom.cdf(high - 2, n, q / 100)


def test_too_few_samples_are_refused_with_the_count_needed() -> None:
    """A p99 of 300 requests is refused, and the text says how many it needs and how many there are."""
    p = percentile(np.random.default_rng(0).normal(5e6, 1e5, 300), 99)
    assert p.estimate is None
    assert p.refused == "p99 needs 309 requests, there are 300"


def test_correlated_samples_are_refused_by_their_worth() -> None:
    """A thousand samples of strongly correlated noise are worth too few for a p99."""
    p = percentile(correlated(np.random.default_rng(0), 1000, 0.95), 99)
    assert p.estimate is None
    assert p.refused is not None
    assert "independent" in p.refused


@pytest.mark.parametrize(("rho", "q", "n"), [(0.0, 99, 700), (0.5, 99, 3000), (0.8, 50, 1000)])
def test_percentile_interval_covers_the_truth(rho: float, q: float, n: int) -> None:
    """The interval holds the true percentile in at least 95 of 100 runs, correlated or not."""
    rng = np.random.default_rng(3)
    found = [percentile(np.exp(correlated(rng, n, rho, 0.1)), q).estimate for _ in range(100)]
    answered = [e for e in found if e is not None]
    assert len(answered) >= 90
    assert sum(_holds(e, float(np.exp(0.1 * norm.ppf(q / 100)))) for e in answered) >= 0.95 * len(answered)


def test_percentile_of_tiers_with_outliers_covers_the_truth() -> None:
    """Two tiers, a ramp, 10 % noise and 1 % outliers: p99 of that distribution is in its interval in >= 95 of 100."""
    weight = np.clip((np.arange(4000) - 600) / 400, 0, 1)

    def draw(rng: np.random.Generator, times: int = 1) -> Floats:
        level = np.tile(4.7e6 + 5.4e6 * weight, times)
        slow = np.where(rng.random(len(level)) < 0.01, 3.0, 1.0)
        return np.asarray(level * rng.lognormal(0, 0.1, len(level)) * slow, dtype=np.float64)

    truth = float(np.quantile(draw(np.random.default_rng(0), 500), 0.99))
    runs = [draw(np.random.default_rng(seed)) for seed in range(1, 101)]
    found = [percentiles(values, (99,), tiers=find_tiers(values))[0].estimate for values in runs]
    assert sum(e is not None and _holds(e, truth) for e in found) >= 95


@given(arrays(np.float64, st.integers(60, 200), elements=st.floats(1, 1e9)))
def test_percentiles_are_ordered(values: Floats) -> None:
    """Higher percentiles are no lower, and each lies within its interval, whatever the values."""
    found = [p.estimate for p in percentiles(values, (50, 75, 90)) if p.estimate is not None]
    assert [e.value for e in found] == sorted(e.value for e in found)
    assert all(_holds(e, e.value) for e in found)


def test_mean_interval_covers_a_correlated_mean() -> None:
    """The 95 % interval of the mean of AR(1) noise holds the truth about as often as it says."""
    rng = np.random.default_rng(5)
    assert sum(_holds(mean_interval(correlated(rng, 800, 0.5)), 0.0) for _ in range(300)) >= 270


def test_mean_interval_of_nothing_and_one() -> None:
    """No values have mean 0 without an interval, one value has itself."""
    assert mean_interval(np.empty(0)) == Estimate(value=0.0)
    assert mean_interval(np.array([7.0])) == Estimate(value=7.0)


def blocks(rng: np.random.Generator, pairs: int, effect: float, walk: float) -> tuple[list[Floats], list[Floats]]:
    """Interleaved blocks (A B B A ...) of correlated noise on a level that drifts as a random walk and upwards."""
    level = np.cumsum(rng.normal(0.003, walk, 2 * pairs))
    drawn = [5e6 * np.exp(level[i] + correlated(rng, 60, 0.7, 0.1)) for i in range(2 * pairs)]
    order = [i % 2 ^ (i // 2) % 2 for i in range(2 * pairs)]
    before = [b for b, after in zip(drawn, order, strict=True) if not after]
    return before, [b * effect for b, after in zip(drawn, order, strict=True) if after]


@pytest.mark.parametrize("pairs", [2, 3, 4])
@pytest.mark.parametrize("walk", [0.0, 0.02])
@pytest.mark.parametrize("statistic", ["median", "mean"])
def test_paired_ratio_covers_the_effect(pairs: int, walk: float, statistic: str) -> None:
    """With drift between blocks and correlation within, the 95 % interval holds the effect, also for two pairs."""
    rng, runs = np.random.default_rng(pairs), 150
    ratios = [paired_ratio(*blocks(rng, pairs, 0.9, walk), statistic=statistic) for _ in range(runs)]
    assert sum(_holds(r, 0.9) for r in ratios) >= 0.92 * runs


def test_paired_ratio_finds_a_large_effect_in_two_pairs() -> None:
    """Two pairs are enough to be sure of a ratio of 0.6."""
    rng = np.random.default_rng(0)
    highs = [paired_ratio(*blocks(rng, 2, 0.6, 0.01)).high for _ in range(50)]
    assert sum(high is not None and high < 0.95 for high in highs) >= 48


def test_one_pair_has_no_interval() -> None:
    """One pair says nothing about drift: a value, no interval."""
    ratio = paired_ratio([np.full(10, 10.0)], [np.full(10, 5.0)])
    assert ratio.value == pytest.approx(0.5)
    assert (ratio.low, ratio.high) == (None, None)


def test_empty_and_zero_blocks_are_no_answer() -> None:
    """Blocks without samples are left out; a zero has no ratio; nothing left is 1 without an interval."""
    assert paired_ratio([np.empty(0)], [np.ones(3)]) == Estimate(value=1.0)
    assert paired_ratio([np.zeros(3)], [np.ones(3)]) == Estimate(value=1.0)


def test_unknown_statistic_is_refused() -> None:
    """A statistic that is not known names those that are."""
    with pytest.raises(UsageError, match="median"):
        paired_ratio([np.ones(3)], [np.ones(3)], "mode")
