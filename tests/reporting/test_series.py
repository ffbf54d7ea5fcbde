"""Series for figures: fewer points, the same extremes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from framepace.facts.trace import Column, Mark, Outcome, Trace
from framepace.reporting.page.series import gauges, latencies, tail, thin
from tests.reporting import samples

columns = arrays(np.int64, st.integers(1, 500), elements=st.integers(0, 10**9))


@given(columns, st.integers(2, 60))
def test_thinning_keeps_the_extremes_of_every_stretch(values: Column, points: int) -> None:
    """Few indices stay, ascending; the lowest and highest value and both ends are among them."""
    kept = thin(values, points)
    assert (np.diff(kept) > 0).all()
    assert len(kept) <= max(points, 1) + 4
    assert values[kept].min() == values.min()
    assert values[kept].max() == values.max()
    assert (kept[0], kept[-1]) == (0, len(values) - 1)


def test_thinning_keeps_each_of_a_few_outliers() -> None:
    """Fifty outliers scattered over a million quiet requests are all still there among two thousand points."""
    values = np.full(1_000_000, 5_000_000, np.int64)
    spikes = np.arange(50) * 19_997 + 11
    values[spikes] = 50_000_000
    assert set(spikes) <= set(thin(values, 2000))


@given(columns)
def test_the_tail_is_the_sorted_sample(values: Column) -> None:
    """Each point is an order statistic at its rank, rising, and the last is the largest sample."""
    odds, latency = tail(values)
    ranks = np.rint((1 - 1 / odds) * len(values)).astype(int)
    assert (latency == np.sort(values)[ranks]).all()
    assert (np.diff(odds) > 0).all()
    assert latency[-1] == values.max()


def test_whole_frames_span_all_their_models() -> None:
    """A frame of two models lasts from its due time to the later delivery."""
    trace = samples.trace(50, ("a", "b"))
    whole, first, second = latencies(trace)
    assert [whole.name, first.name, second.name] == ["whole frames", "a", "b"]
    assert (whole.latency == np.maximum(first.latency, second.latency)).all()


def test_warm_up_and_failures_are_not_drawn() -> None:
    """Only rows that answer for latency are in the series, in order of their due times."""
    trace = samples.trace(40)
    requests = {name: column.copy() for name, column in trace.requests.items()}
    requests["marks"][:] = 0
    requests["marks"][:5] = Mark.WARMUP
    requests["outcome"][10] = Outcome.FAILED
    requests["outcome"][11] = Outcome.DROPPED
    shuffled = Trace(trace.meta, {name: column[::-1] for name, column in requests.items()}, trace.telemetry)
    (series,) = latencies(shuffled)
    assert len(series.due) == 40 - 5 - 2
    assert (np.diff(series.due) > 0).all()


def test_telemetry_that_was_not_measured_is_skipped() -> None:
    """Columns of -1 give no gauge; cores come from differences of CPU time."""
    trace = samples.trace(100)
    found = {(g.panel, g.name): g for g in gauges(trace, int(trace.requests["due"][0]))}
    assert set(found) == {("MHz", "CPU"), ("cores", "this process"), ("cores", "others")}
    assert found["cores", "this process"].values == pytest.approx(0.5, abs=1e-4)
    assert found["cores", "others"].values == pytest.approx(0.125, abs=1e-4)
    assert all((g.seconds >= 0).all() for g in found.values())
    assert list(gauges(samples.trace(10, telemetry=False), 0)) == []
