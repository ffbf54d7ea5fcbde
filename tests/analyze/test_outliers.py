"""Outliers: requests far above their tier, with what coincided."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import ArrayLike

from framepace.analyze.coincidence import others_share
from framepace.analyze.outliers import find_outliers
from framepace.analyze.tiers import find_tiers
from framepace.facts.summary import Outlier
from framepace.facts.trace import Trace
from framepace.testing import make_trace

MS = 1_000_000


def _outliers(trace: Trace) -> tuple[tuple[Outlier, ...], float]:
    return find_outliers(trace, find_tiers(trace.latency))


def stalled(at: int = 120, columns: dict[str, int] | None = None, stage: str = "infer") -> Trace:
    """300 requests of about 5 ms with one of 25 ms, whose columns have these values and others none."""
    noise = np.random.default_rng(0).normal(0, MS / 10, 300)
    extra = np.where(np.arange(300) == at, 20 * MS, 0)
    rows = {name: np.where(np.arange(300) == at, value, 0) for name, value in (columns or {}).items()}
    spent = {"infer": 5 * MS + noise}
    spent[stage] = spent.get(stage, np.zeros(300)) + extra
    return make_trace(stages=spent, columns=rows)


def test_stall_is_found_with_its_excess() -> None:
    """One request of 25 ms among 300 of 5 ms is the outlier, 20 ms over its tier."""
    found, share = _outliers(stalled())
    assert [o.request for o in found] == [120]
    assert found[0].excess == pytest.approx(20 * MS, rel=0.05)
    assert share == 1 / 300


@pytest.mark.parametrize(
    ("columns", "word"),
    [
        ({"gc": 15 * MS}, "gc"),
        ({"gc": MS, "cpu": 2 * MS}, ""),
        ({"faults": 500}, "page faults"),
        ({"preempted": 1, "cpu": 2 * MS}, "preempted"),
        ({"gc": 15 * MS, "preempted": 1}, "gc"),
        ({"batch_size": 8}, "batch"),
        ({"cpu": 20 * MS}, "computing"),
        ({"cpu": 2 * MS, "switched": 1}, "blocked"),
    ],
)
def test_what_coincides(columns: dict[str, int], word: str) -> None:
    """A collection as long as the stall, many page faults, losing the core, a larger batch, computing for longer, and
    waiting without computing are named; a short collection is not.
    """
    assert _outliers(stalled(columns=columns))[0][0].coincides == word


@pytest.mark.parametrize(
    ("stage", "word"), [("wake-up", "pacer"), ("backlog", "backlog"), ("queue", "backlog"), ("decode", "decode")]
)
def test_waiting_is_told_from_working(stage: str, word: str) -> None:
    """A stall that is a late wake-up is the pacer's, one behind another frame is backlog, a long picture is decode."""
    assert _outliers(stalled(stage=stage))[0][0].coincides == word


def test_lower_clocks_are_told_from_longer_kernels() -> None:
    """Kernels that take 20 ms longer are the device's; where its clock was lower, the clock is named."""
    at = np.arange(300) == 120
    device = {"h2d": 0, "d2h": 0, "compute": np.where(at, 24, 4) * MS}
    trace = stalled()
    rows = {**trace.requests, **{name: np.full(300, values) for name, values in device.items()}}
    assert _outliers(Trace(trace.meta, rows, trace.telemetry))[0][0].coincides == "device"
    clock = np.where(at, 500, 1500)
    rows |= {"sm_clock_before": clock, "sm_clock_after": clock}
    assert _outliers(Trace(trace.meta, rows, trace.telemetry))[0][0].coincides == "clocks"


@pytest.mark.parametrize("stage", ["infer", "decode", "finish", "queue"])
def test_the_stage_that_grew_is_named(stage: str) -> None:
    """All of the 20 ms is in one stage."""
    outlier = _outliers(stalled(stage=stage))[0][0]
    assert outlier.stage == stage
    assert outlier.more == pytest.approx(20 * MS, rel=0.05)


def test_busy_neighbours_are_named() -> None:
    """When others suddenly take half of the machine during the stall, they are named."""
    trace = stalled()
    time = np.arange(10**9, 12 * 10**9, 10**8)
    during = (time > trace.requests["due"][120]) & (time < trace.requests["due"][120] + 2 * 10**8)
    busy = np.cumsum(np.where(during, 2, 0) * 10**8)
    telemetry: dict[str, ArrayLike] = {"time": time, "device": -1, "system_busy": busy, "process_cpu": 0}
    noisy = Trace(trace.meta, trace.requests, make_trace([], telemetry=telemetry).telemetry)
    assert _outliers(noisy)[0][0].coincides == "neighbours"
    assert others_share(noisy)[1].max() == 0.5


def test_noise_has_no_outliers() -> None:
    """10 % noise alone has no outliers, and a second tier is none either."""
    levels = np.repeat([5.0, 10.0], 500) * np.random.default_rng(0).lognormal(0, 0.1, 1000) * MS
    assert _outliers(make_trace(levels)) == ((), 0.0)


def test_share_counts_more_than_are_told() -> None:
    """Of fifty outliers the worst twenty are told, worst first, and the share counts all."""
    latency = np.full(1000, 5 * MS)
    latency[::20] = 10 * MS + np.arange(50)
    found, share = _outliers(make_trace(latency))
    assert (len(found), share) == (20, 0.05)
    assert [o.latency for o in found] == sorted((o.latency for o in found), reverse=True)


def test_nothing_has_no_outliers() -> None:
    """A trace without requests has none."""
    assert _outliers(make_trace([])) == ((), 0.0)
