"""Durations go through the measured points and are sensible between them."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from framepace.facts.primitives import ModelCost, Point, comparable
from framepace.predicting.modelcosts import ModelDurations, Stage
from tests.doubles.primitives import MS, model, point


def costs(*points: Point, cores: int = 2, **fields: object) -> ModelDurations:
    """Of one model."""
    return ModelDurations(ModelCost(model=comparable(model(**fields)), points=points), cores)


@given(st.floats(0.1, 5), st.floats(0.1, 5), st.integers(1, 16))
def test_a_line_through_two_batches(a: float, k: float, batch: int) -> None:
    """t(b) = a + b k is found from two batch sizes, within and beyond them."""
    stage = Stage("infer", [point(1, infer=a + k), point(8, infer=a + 8 * k)])
    assert stage.level(batch) == pytest.approx((a + batch * k) * MS, rel=1e-5)


@given(st.floats(0.0, 100.0))
def test_a_pause_costs_as_much_as_measured_at_most(gap: float) -> None:
    """Levels after pauses stay between the measured ones and meet them."""
    stage = Stage("infer", [point(infer=2.0), point(gap_ms=30.0, infer=3.0)])
    assert 2 * MS <= stage.level(1, gap * MS) <= 3 * MS
    assert (stage.level(1), stage.level(1, 30 * MS)) == (2 * MS, 3 * MS)


def test_chance_has_the_distribution_that_was_seen() -> None:
    """The quantiles of many draws are those of the samples, and a seed gives the same draws again."""
    seen = (np.random.default_rng(0).lognormal(0, 0.3, 400) * MS).astype(int)
    stage = Stage("infer", [Point(batch=1, samples={"infer": tuple(seen.tolist())})])
    drawn = list(islice(stage.scatter(1, 7), 20_000))
    for q in (0.5, 0.9, 0.99):
        assert np.quantile(drawn, q) == pytest.approx(np.quantile(seen, q) / np.median(seen), rel=0.05)
    assert drawn[:100] == list(islice(stage.scatter(1, 7), 100)) != list(islice(stage.scatter(1, 8), 100))


def test_what_comes_after_a_pause_has_the_chance_of_pauses() -> None:
    """Steady back to back, and at times three times as long after a pause: so it is drawn, by the gap before it."""
    steady, shaky = (2 * MS,) * 100, (2 * MS,) * 90 + (6 * MS,) * 10
    points = [Point(batch=1, samples={"infer": steady})]
    stage = Stage("infer", [*points, Point(batch=1, gap_ms=30.0, samples={"infer": shaky})])
    assert set(islice(stage.scatter(1, 7), 1000)) == {1.0}
    assert np.mean(list(islice(stage.scatter(1, 7, paused=True), 20_000))) == pytest.approx(1.2, abs=0.03)
    assert stage.is_pause(30 * MS)
    assert not stage.is_pause(0)


def test_a_point_without_inferences_says_nothing() -> None:
    """A run too short for a slow model is left out, and spoils nothing."""
    empty = Point(batch=8, samples={"infer": ()})
    known = costs(point(infer=2.0), point(workers=2, infer=2.6), empty, replace(empty, workers=2))
    assert known.level("infer", 1) == 2 * MS
    assert known.task(1, 8).slowdown == pytest.approx(1.3)


def test_being_slower_than_the_share_of_the_cores_is_crowding() -> None:
    """Two at once on two cores that take 1.3 times as long are crowded; twice as long on one core are not."""
    alone, together = point(infer=2.0), point(workers=2, infer=2.6)
    assert costs(alone, together).task(1, 1).slowdown == pytest.approx(1.3)
    assert costs(alone, point(workers=2, infer=4.0), cores=1).task(1, 1).slowdown == pytest.approx(1.0)


def test_cpu_time_of_an_inference_is_what_the_process_took_beside_the_rest() -> None:
    """5 ms of the process, of which 1 ms is preparation: 4 ms in an inference of 2 ms are two cores.

    Where the pool spins it does so during preparation, too.
    """
    assert costs(point(prepare=1.0, infer=2.0, cpu=5 * MS), threads=2, spinning=False).cpu(1) == pytest.approx(2.0)
    assert costs(point(prepare=1.0, infer=2.0, cpu=6 * MS), threads=2).cpu(1) == pytest.approx(2.0)


def test_cpu_time_of_a_pause_is_spinning_where_a_pool_spins() -> None:
    """16 ms more after a pause are one spinning thread of two, and a background without one."""
    points = point(infer=2.0, cpu=4 * MS), point(gap_ms=30.0, infer=2.0, cpu=20 * MS)
    assert (costs(*points, threads=2).spin, costs(*points, threads=2).background) == (16 * MS, 0)
    quiet = costs(*points, threads=2, spinning=False)
    assert quiet.spin == 0
    assert quiet.background == pytest.approx(16 / 30)


@given(st.floats(0.3, 1.0), st.integers(3, 8))
def test_the_fill_of_a_device_is_found_from_several_workers(fill: float, workers: int) -> None:
    """Kernels that fill a part of the device take workers * fill times as long when all are in flight."""
    slower = max(1.0, workers * fill)
    device: dict[str, Any] = {"h2d": 0.0, "d2h": 0.0}
    found = costs(point(compute=1.0, **device), point(workers=workers, compute=slower, **device))
    assert found.filled(1) == pytest.approx(max(fill, 1 / workers), rel=0.05)


def test_what_a_batch_asks_of_the_device_goes_with_the_batch() -> None:
    """One image of 5 ms on half of the device, four of 10 ms on all of it: two ask for 5 ms of the whole."""
    one = point(1, compute=5.0), replace(point(1, workers=4, compute=10.0), rate=400.0)
    four = point(4, compute=10.0), replace(point(4, workers=4, compute=40.0), rate=100.0)
    found = costs(*one, *four)
    assert found.filled(2) * found.level("compute", 2) == pytest.approx(5.0 * MS)
