"""Trials and their verification hold the settled level of one side against that of the other."""

from __future__ import annotations

import numpy as np
import pytest

import framepace
from framepace.explaining.metrics import COMPUTE, INFERENCE, LATENCY, TAIL, Metric
from framepace.testing import make_trace

MS = 1_000_000
NOISE = np.random.default_rng(0).normal(0, 0.05, 200)


@pytest.mark.parametrize("metric", [LATENCY, INFERENCE, COMPUTE])
def test_a_block_counts_from_where_its_level_stays(metric: Metric) -> None:
    """4 ms as the block before left it, then 10 ms: 10 ms is what the block says."""
    spent = np.where(np.arange(200) < 120, 4.0, 10.0) + NOISE
    block = make_trace(spent * MS, columns={"compute": spent * MS})
    assert metric.value(block) == pytest.approx(10 * MS, rel=0.02)
    assert len(metric.samples(block)) == pytest.approx(80, abs=2)


def test_a_block_of_one_level_counts_whole_and_so_do_its_slowest_frames() -> None:
    """A few slow frames at the end are no level; the slowest twentieth is that of all frames."""
    spent = np.where(np.arange(200) >= 195, 10.0, 4.0) + NOISE
    block = make_trace(spent * MS)
    assert len(LATENCY.samples(block)) == 200
    assert len(TAIL.samples(block)) == 10


@pytest.mark.long
def test_the_gain_of_a_heartbeat_is_verified() -> None:
    """The seed's small network with 20 ms between inferences: verified, and what the trial of the clock predicted."""
    options = {"option.device": "t4", "option.efficiency": 0.082, "option.int8_share": 0.4}
    settings = {"backend": "simulated", "precision": "int8", "graph": True, **options}
    load = framepace.Delay(delay_ms=20)
    answer = framepace.explain("builtin:resnet18@768x448", load=load, fps=None, settings=settings)
    (gain,) = [finding.gain for finding in answer.confirmed if finding.code == "FP001"]
    assert gain is not None
    assert gain.interval is not None
    assert gain.interval[0] > 0
    assert gain.verified == pytest.approx(gain.predicted, rel=0.1)
