"""Tiers: steps and ramps are found where they are, and steady noise has none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from framepace.analyze.tiers import find_tiers, settled, with_beside
from framepace.testing import make_trace

Floats = NDArray[np.float64]


def series(seed: int, levels: Floats, noise: float = 0.1, outliers: float = 0.01) -> Floats:
    """Latencies (ns) on these levels (ms) with log-normal noise, and a share of outliers of three times the level."""
    rng = np.random.default_rng(seed)
    slow = np.where(rng.random(len(levels)) < outliers, 3.0, 1.0)
    return np.asarray(levels * rng.lognormal(0, noise, len(levels)) * slow * 1e6, dtype=np.float64)


def _ramp(n: int, first: int, last: int, low: float = 4.7, high: float = 10.1) -> Floats:
    return np.asarray(low + (high - low) * np.clip((np.arange(n) - first) / (last - first), 0, 1), dtype=np.float64)


@pytest.mark.parametrize(("n", "at"), [(60, 20), (300, 60), (1000, 500), (20_000, 7001)])
def test_step_is_found_within_five_requests(n: int, at: int) -> None:
    """A step under 10 % noise and 1 % outliers is found within 5 requests of where it is, in 97 of 100 runs."""
    runs = 100 if n < 5000 else 20
    found = [find_tiers(series(seed, _ramp(n, at - 1, at))) for seed in range(runs)]
    right = [len(tiers) == 2 and abs(tiers[1].first - at) <= 5 for tiers in found]
    assert sum(right) >= 0.97 * runs


@pytest.mark.parametrize("n", [30, 60, 100, 300, 1000, 4000])
def test_steady_noise_is_one_tier(n: int) -> None:
    """Under 2 % of steady series with 10 % noise and outliers show a change."""
    assert sum(len(find_tiers(series(seed, np.full(n, 5.0)))) > 1 for seed in range(300)) < 6


def test_correlated_noise_is_one_tier() -> None:
    """Noise that remembers a few requests makes no tiers."""
    false = 0
    for seed in range(60):
        noise = np.convolve(np.random.default_rng(seed).normal(0, 0.06, 1003), np.ones(4) / 2, mode="valid")
        false += len(find_tiers(5e6 * np.exp(noise))) > 1
    assert false <= 2


def test_ramp_between_levels() -> None:
    """A climb from request 60 to 175 is told as level, ramp, level; its ends are right to the noise of the slope."""
    found = [find_tiers(series(seed, _ramp(400, 60, 175))) for seed in range(60)]
    shaped = [t for t in found if [tier.kind for tier in t] == ["level", "ramp", "level"]]
    assert len(shaped) >= 56
    assert abs(float(np.median([t[1].first for t in shaped])) - 60) <= 5
    assert abs(float(np.median([t[2].first for t in shaped])) - 175) <= 5
    assert float(np.median([t[0].level for t in shaped])) == pytest.approx(4.7e6, rel=0.03)
    assert all(t[1].level_end == pytest.approx(10.1e6, rel=0.05) and settled(t) == t[2].first for t in shaped)


@pytest.mark.parametrize(("n", "rise"), [(300, 1.25), (800, 1.12), (2000, 1.08)])
def test_a_slow_ramp_in_noise_is_no_jump(n: int, rise: float) -> None:
    """A slight climb over half of the series is told as a ramp, and a jump by as much as a jump, in 9 of 10 runs."""
    slow, jump = _ramp(n, n // 10, 6 * n // 10, 5.0, 5.0 * rise), _ramp(n, n // 3 - 1, n // 3, 5.0, 5.0 * rise)
    for levels, kinds in ((slow, ["level", "ramp", "level"]), (jump, ["level", "level"])):
        told = [[tier.kind for tier in find_tiers(series(seed, levels, 0.04))] == kinds for seed in range(20)]
        assert sum(told) >= 18


@pytest.mark.parametrize("end", [1.1, 1.5, 3.0])
def test_a_ramp_that_goes_on_when_the_series_ends_has_not_settled(end: float) -> None:
    """Its last requests are no level, in 19 of 20 runs, whatever the length of the last block."""
    found = [find_tiers(series(seed, _ramp(401 + seed, 40, int(end * 440)), 0.03)) for seed in range(20)]
    assert sum(tiers[-1].kind == "ramp" and settled(tiers) is None for tiers in found) >= 19


def test_sharp_ramp_ends_within_five_requests() -> None:
    """Where the noise is small beside the slope, each end of the ramp is found within 5 requests in 95 of 100 runs."""
    ends = []
    for seed in range(100):
        _, climb, settle = find_tiers(series(seed, _ramp(400, 60, 175), noise=0.02))
        ends += [abs(climb.first - 60) <= 5, abs(settle.first - 175) <= 5]
    assert sum(ends) >= 190


def test_stairs_are_levels() -> None:
    """Levels that last are levels, not a ramp, up and down."""
    levels = np.repeat([5.0, 7.0, 10.0, 6.0], 100)
    tiers = find_tiers(series(0, levels))
    assert [t.kind for t in tiers] == ["level"] * 4
    assert [t.level / 1e6 for t in tiers] == pytest.approx([5, 7, 10, 6], rel=0.05)


def test_pure_ramp_has_no_settle_point() -> None:
    """A series that only climbs is a ramp from its first request to its last."""
    tiers = find_tiers(np.linspace(5e6, 20e6, 500, dtype=np.float64))
    assert [(t.kind, t.first, t.last) for t in tiers] == [("ramp", 0, 499)]
    assert settled(tiers) is None


def test_changes_under_five_per_cent_are_none() -> None:
    """A step of 3 %, however sure, is not worth telling."""
    assert len(find_tiers(series(0, np.repeat([5.0, 5.15], 2000), noise=0.01))) == 1


@given(arrays(np.int64, st.integers(0, 120), elements=st.integers(-5, 10**9)))
def test_tiers_cover_the_series_without_gaps(values: NDArray[np.int64]) -> None:
    """Whatever the series, its tiers follow each other from the first request to the last."""
    edge = 0
    for tier in find_tiers(values):
        assert tier.first == edge
        edge = tier.last + 1
    assert edge == len(values)


def test_what_stood_beside() -> None:
    """Each tier carries the clocks, the gap and the CPU time of its stretch."""
    levels = np.repeat([5.0, 10.0], 50) * 1e6
    telemetry = {"time": [10**9, 25 * 10**8, 10**9], "device": [-1, -1, 0], "cpu_mhz": [3000, 2000, -1]}
    trace = make_trace(levels, fps=50, columns={"cpu": np.repeat([3, 4], 50)}, telemetry=telemetry)
    first, second = with_beside(find_tiers(trace.latency), trace)
    assert first.beside == {"gap": 15e6, "cpu": 3, "cpu_mhz": 3000}
    assert second.beside == {"gap": 10e6, "cpu": 4, "cpu_mhz": 2000}
