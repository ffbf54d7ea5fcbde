"""The causes and the metrics of their trials: what each of them says about itself."""

from __future__ import annotations

from typing import get_args

import pytest

from framepace.explaining import metrics
from framepace.explaining.causes import CAUSES
from framepace.explaining.hypothesis import Hypothesis
from framepace.explaining.metrics import Metric
from framepace.facts.finding import Bottleneck, MetricKind

METRICS = [value for value in vars(metrics).values() if isinstance(value, Metric)]


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.code)
def test_every_cause_has_a_class(cause: Hypothesis) -> None:
    """The class is one of those that an explanation may name."""
    assert cause.bottleneck in get_args(Bottleneck)


def test_codes_are_unique_and_in_order() -> None:
    """FP001, FP002, ... each once."""
    codes = [cause.code for cause in CAUSES]
    assert codes == sorted(set(codes))


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_is_verified_by_its_own_kind(metric: Metric) -> None:
    """A gain in CPU time is no gain in latency: the whole stream is asked for the same kind."""
    assert metric.kind in get_args(MetricKind)
    assert (metric.verified_by or metric).kind == metric.kind


def test_parts_of_the_latency_are_verified_by_the_latency_of_whole_frames() -> None:
    """A part may shrink while the frame does not; the mean by the mean, since it is about some frames only."""
    assert metrics.INFERENCE.verified_by is metrics.LATENCY
    assert metrics.COMPUTE.verified_by is metrics.LATENCY
    assert metrics.at_clock(1.0, 1.0).verified_by is metrics.LATENCY
    assert metrics.MEAN_INFERENCE.verified_by is metrics.MEAN_LATENCY
