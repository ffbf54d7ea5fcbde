"""What batches cost, learnt from batches: the line, its noise, and what running side by side gains."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framepace.feeds.batchcosts import BatchCosts

MS = 1_000_000


def learnt(a: float, k: float, count: int = 300, noise: float = 0.0, seed: int = 0, largest: int = 8) -> BatchCosts:
    """A model that saw `count` batches of random sizes."""
    rng, model = np.random.default_rng(seed), BatchCosts()
    for size in rng.integers(1, largest + 1, count):
        model.add(int(size), (a + k * size) * rng.lognormal(0, noise))
    return model


@given(st.floats(0.1, 50), st.floats(0.1, 10), st.integers(0, 5))
def test_the_line_is_found(a_ms: float, k_ms: float, seed: int) -> None:
    """Without noise, predictions are within 1 % at any size, and so is the margin."""
    model = learnt(a_ms * MS, k_ms * MS, seed=seed)
    for size in (1, 4, 16):
        true = (a_ms + k_ms * size) * MS
        assert model.cost(size) == pytest.approx(true, rel=0.01)
        assert true <= model.limit(size) * 1.01 <= true * 1.1


def test_it_is_the_line_of_the_offline_fit() -> None:
    """On the same noisy batches least squares of relative residuals give the same cost, within 2 %."""
    rng, model, samples = np.random.default_rng(1), BatchCosts(), {1: [], 2: [], 4: [], 8: []}  # type: ignore[var-annotated]
    for _ in range(200):
        for size, seen in samples.items():
            cost = (3 + 0.7 * size) * MS * rng.lognormal(0, 0.03)
            model.add(size, cost)
            seen.append(cost)
    sizes = np.array(list(samples))
    medians = np.array([np.median(costs) for costs in samples.values()])
    slope, fixed = np.polyfit(sizes, medians, 1, w=1 / medians)
    for size in samples:
        assert model.cost(size) == pytest.approx(fixed + slope * size, rel=0.02)


def test_outliers_move_it_little() -> None:
    """One batch in twenty takes ten times as long: the line stays within 5 %."""
    rng, model = np.random.default_rng(2), BatchCosts()
    for i in range(600):
        size = int(rng.integers(1, 9))
        model.add(size, (4 + 0.5 * size) * MS * rng.lognormal(0, 0.02) * (10 if i % 20 == 19 else 1))
    assert model.cost(1) == pytest.approx(4.5 * MS, rel=0.05)
    assert model.cost(8) == pytest.approx(8 * MS, rel=0.05)


def test_it_forgets_slowly() -> None:
    """When all batches take twice as long, a tenth of the memory does not do it; four times the memory does."""
    model = learnt(4 * MS, MS, noise=0.02)
    before, rng = model.cost(4), np.random.default_rng(3)
    for i in range(1024):
        size = int(rng.integers(1, 9))
        model.add(size, 2 * (4 + size) * MS * rng.lognormal(0, 0.02))
        if i == 25:
            assert model.cost(4) < 1.5 * before
    assert model.cost(4) == pytest.approx(2 * before, rel=0.05)


def test_of_a_single_size_half_the_cost_is_taken_as_fixed() -> None:
    """A batch of 1 that takes 6 ms says 9 ms of a batch of 2."""
    model = BatchCosts()
    for _ in range(20):
        model.add(1, 6 * MS)
    assert (model.cost(1), model.cost(2)) == (6 * MS, 9 * MS)


def test_noise_is_the_margin() -> None:
    """With 10 % of noise the limit is exceeded by fewer than 1 batch in 200, and is under 1.6 times the cost."""
    model, rng = learnt(4 * MS, MS, noise=0.1), np.random.default_rng(4)
    over = sum(5 * MS * rng.lognormal(0, 0.1) > model.limit(1) for _ in range(2000))
    assert over < 10
    assert model.limit(1) < 1.6 * model.cost(1)


@pytest.mark.parametrize("shared", [0.0, 0.5, 1.0])
def test_sharing_is_learnt_from_batches_side_by_side(shared: float) -> None:
    """Two at a time all the while: of the overlap, half the time, the device loses the share that it does."""
    model = learnt(4 * MS, MS)
    for i in range(300):
        own = (4 + i % 8 + 1) * MS
        cost = 2 * own / (2 - shared)
        model.add(i % 8 + 1, cost, overlap=cost / 2)
    assert model.sharing == pytest.approx(shared, abs=0.05)
    assert model.cost(4) == pytest.approx(8 * MS, rel=0.05)
    assert model.cost(4, flying=1) == pytest.approx(2 / (2 - shared) * 8 * MS, rel=0.06)


def test_what_was_learnt_of_sharing_is_forgotten_while_batches_run_alone() -> None:
    """A device that shared is tried again after a thousand batches alone; not after a hundred."""
    model = BatchCosts(4 * MS, MS, sharing=1.0)
    for i in range(2000):
        model.add(i % 8 + 1, (5 + i % 8) * MS)
        if i == 100:
            assert model.sharing > 0.9
    assert model.sharing < 0.5


def test_with_too_little_known_batches_run_alone() -> None:
    """The first eight are kept apart, and cost nothing as far as deadlines go; then the device is tried."""
    model = BatchCosts()
    assert (model.grows(1), model.limit(8)) == (True, 0)
    for _ in range(8):
        model.add(1, MS)
    assert not model.grows(1)


def test_a_given_model_knows_from_the_start_and_learns_on() -> None:
    """What was given is believed; a thousand batches later, what was measured."""
    model = BatchCosts(4 * MS, MS, 0.01, 1.0)
    assert model.cost(4) == 8 * MS
    assert model.cost(4, flying=2) == 24 * MS
    for i in range(2000):
        model.add(i % 8 + 1, (2 + i % 8 + 1) * MS)
    assert model.cost(4) == pytest.approx(6 * MS, rel=0.02)
