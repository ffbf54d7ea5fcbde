"""Effective samples of a percentile: memory above it counts, plain changes of level do not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from framepace.analyze.autoregression import longest_memory
from framepace.analyze.compare import compare
from framepace.analyze.effective import Series, plain_tiers
from framepace.analyze.stats import percentiles, proportion
from framepace.analyze.summary import summarize
from framepace.analyze.tiers import find_tiers
from framepace.facts.plan import EnginePlan, ModelPlan, Plan, Target
from framepace.facts.summary import Tier
from framepace.testing import make_trace

Floats = NDArray[np.float64]
MS = 1_000_000
FRAMES = 600
RUNS = 40


def _noise(rng: np.random.Generator, rho: float = 0.0) -> Floats:
    """AR(1) noise of unit variance."""
    noise = rng.normal(0, np.sqrt(1 - rho**2), FRAMES + 200)
    return np.asarray(lfilter([1], [1, -rho], noise)[200:])


def _memory(rng: np.random.Generator) -> Floats:
    return 5 * MS * np.exp(0.1 * _noise(rng, 0.5))


def _levels(rng: np.random.Generator) -> Floats:
    level = np.repeat([5.0, 9.0, 6.0], [180, 180, 240])
    return level * MS * np.exp(0.05 * _noise(rng))


def _drift(rng: np.random.Generator) -> Floats:
    return 5 * MS * np.exp(0.3 * np.arange(FRAMES) / FRAMES + 0.05 * _noise(rng))


def _stalls(rng: np.random.Generator) -> Floats:
    slow = np.where(rng.random(FRAMES) < 0.02, rng.uniform(1, 4, FRAMES), 1.0)
    return 5 * MS * slow * np.exp(0.05 * _noise(rng))


@pytest.mark.parametrize("draw", [_memory, _levels, _drift, _stalls])
def test_intervals_hold_the_truth_and_few_are_refused(draw: Callable[[np.random.Generator], Floats]) -> None:
    """Memory, levels, drift and stalls, 600 frames: p50, p90 and p99 are in >= 95 % of the intervals, medians are
    refused in at most 10 % (a drift that looks like none of the known shapes), p99 in at most 20 %.
    """
    truth = np.quantile([draw(np.random.default_rng(1000 + run)) for run in range(300)], [0.5, 0.9, 0.99])
    series = [draw(np.random.default_rng(run)) for run in range(RUNS)]
    answers = [percentiles(values, (50, 90, 99), tiers=find_tiers(values)) for values in series]
    inside = answered = 0
    for column, refused in enumerate((0.1, 0.1, 0.2)):
        estimates = [row[column].estimate for row in answers]
        intervals = [estimate.interval for estimate in estimates if estimate is not None]
        assert len(intervals) >= (1 - refused) * RUNS
        answered += len(intervals)
        inside += sum(low <= truth[column] <= high for low, high in intervals)
    assert inside >= 0.95 * answered


def test_slow_noise_is_no_tier() -> None:
    """What wanders for 40 frames at a time gives no levels to take off, so that its p99 is refused."""
    series = [5 * MS * np.exp(0.1 * _noise(np.random.default_rng(run), 0.95)) for run in range(10)]
    assert sum(bool(plain_tiers(values, find_tiers(values))) for values in series) <= 1
    answers = [percentiles(values, (99,), tiers=find_tiers(values))[0] for values in series]
    assert all(answer.estimate is None for answer in answers)


def _bursts(rng: np.random.Generator) -> Floats:
    """One frame in five of three times the latency, twenty in a row on average."""
    lengths = rng.geometric(np.tile([1 / 80, 1 / 20], 40))
    slow = np.repeat(np.tile([False, True], 40), lengths)
    begin = int(rng.integers(FRAMES))
    return 5 * MS * np.where(slow[begin : begin + FRAMES], 3.0, 1.0) * np.exp(0.1 * _noise(rng))


def test_the_tail_of_few_bursts_is_refused() -> None:
    """Six bursts say next to nothing about p99, nor is one of them a level; the median is told, and is right."""
    truth = np.quantile([_bursts(np.random.default_rng(1000 + run)) for run in range(200)], 0.5)
    inside = answered = 0
    for run in range(RUNS):
        values = _bursts(np.random.default_rng(run))
        median, tail = percentiles(values, (50, 99), tiers=find_tiers(values))
        assert tail.estimate is None
        if median.estimate is not None:
            low, high = median.estimate.interval
            answered += 1
            inside += low <= truth <= high
    assert answered >= 0.9 * RUNS
    assert inside >= 0.95 * answered


def test_a_level_that_goes_back_may_come_again() -> None:
    """Up and down again is a burst as far as anybody knows; up, and to a third level, is a plan."""
    noise = np.exp(0.05 * _noise(np.random.default_rng(0)))
    for third, is_plain in ((5.0, False), (6.5, True)):
        values = np.repeat([5.0, 9.0, third], [200, 100, 300]) * MS * noise
        tiers = find_tiers(values)
        assert len(tiers) == 3
        assert bool(plain_tiers(values, tiers)) is is_plain


def test_the_longest_memory_is_no_shorter_than_the_true_one() -> None:
    """What keeps 0.95 of each value has an autocorrelation time of 39 frames; 600 of them are few to see that."""
    times = [1 + 2 * np.sum(longest_memory(_noise(np.random.default_rng(run), 0.95))) for run in range(RUNS)]
    assert np.mean(np.array(times) >= 39) >= 0.95


def test_what_has_no_memory_is_said_to_have_none() -> None:
    """Independent values, and ones that swing about their mean; nothing is said of fewer than 25."""
    found = [longest_memory(_noise(np.random.default_rng(run))) for run in range(RUNS)]
    assert sum(len(memory) == 0 for memory in found) >= 0.9 * RUNS
    assert len(longest_memory(np.tile([1.0, 2.0], 300))) == 0
    assert len(longest_memory(np.arange(24.0))) == 0
    assert len(longest_memory(np.ones(100))) == 0


def test_a_proportion_of_a_burst_is_less_sure_than_one_of_single_frames() -> None:
    """Sixty late frames in a row say less about the share of late ones than sixty here and there."""
    burst = np.arange(FRAMES) < 60
    single = np.arange(FRAMES) % 10 == 0
    assert proportion(burst).value == proportion(single).value == 0.1
    widths = [high - low for low, high in (proportion(burst).interval, proportion(single).interval)]
    assert widths[0] > 3 * widths[1]
    assert proportion(single).interval == pytest.approx((0.077, 0.127), abs=0.002)


@pytest.mark.parametrize(("late", "met"), [(0, True), (6, None), (60, False)])
def test_a_budget_is_judged_on_lateness_itself(late: int, met: bool | None) -> None:
    """A latency that drifts by 35 % far below the budget meets it; one late frame in ten misses; one in a hundred is
    undecided.
    """
    latency = _drift(np.random.default_rng(0))
    latency[np.linspace(3, FRAMES - 3, late).astype(int)] = 60 * MS
    plan = Plan(models=(ModelPlan(name="model", model="null"),), engine=EnginePlan(), target=Target(p99_ms=50))
    found = summarize(make_trace(latency, plan=plan))
    assert found.met is met
    assert found.missed == pytest.approx(late / FRAMES)


def test_a_settled_level_is_compared_with_a_settled_level() -> None:
    """A run that begins at twice the latency is as fast as one that does not, and the reason says what was taken."""
    rng = np.random.default_rng(0)
    slow_start = np.repeat([10.0, 5.0], [250, 350]) * MS * np.exp(0.02 * _noise(rng))
    found = compare(make_trace(slow_start), make_trace(5 * MS * np.exp(0.02 * _noise(rng))))
    assert found.verdict == "same"
    assert "the first trace the last level counts, from frame 250" in found.reason


def test_each_level_has_its_percentiles() -> None:
    """Three plain levels: the median of each is that of the level, with its interval."""
    tiers = summarize(make_trace(_levels(np.random.default_rng(0)))).frames.tiers
    medians = [tier.percentiles[0].estimate for tier in tiers]
    assert [m and m.value / MS for m in medians] == pytest.approx([5.0, 9.0, 6.0], rel=0.02)


@pytest.mark.filterwarnings("error")
def test_a_ramp_of_few_frames_is_no_empty_stratum() -> None:
    """Six frames stand for as many levels, not for eight of which some are empty."""
    values = np.concatenate([np.linspace(900.0, 100.0, 6), np.full(60, 100.0) + np.arange(60) % 7])
    tiers = [
        Tier(kind="ramp", first=0, last=5, level=900.0, level_end=100.0),
        Tier(kind="level", first=6, last=65, level=100.0, level_end=100.0),
    ]
    assert Series(values, tiers).effective(values > 104, 0.5) > 0
