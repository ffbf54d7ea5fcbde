"""How much of a run failed, and what is said of it."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from framepace.analyze.failures import check_failures, failed_share
from framepace.analyze.summary import summarize
from framepace.errors import InferencesFailed, NothingSucceeded
from framepace.facts.failure import Failure
from framepace.facts.trace import Outcome, Trace
from framepace.reporting.views.measurement import summary_view
from framepace.testing import make_trace

FAILURE = Failure(reason="Reshape node: 2 is not 1", advice="--set batch=1")


def trace(failed: int, frames: int = 1000) -> Trace:
    """Frames of which the first ones failed."""
    whole = make_trace(np.full(frames, 5_000_000))
    outcome = np.full(frames, Outcome.OK)
    outcome[:failed] = Outcome.FAILED
    requests = {**whole.requests, "outcome": outcome}
    return Trace(replace(whole.meta, failure=FAILURE), requests, whole.telemetry)


def test_up_to_one_in_a_hundred_is_a_count_beside_the_percentiles() -> None:
    """The latencies then still say what the model is like."""
    few = trace(failed=10)
    check_failures(few)
    view = summary_view(summarize(few))
    assert view.failure == ""
    assert view.headline == view.sentence


def test_more_than_that_is_the_headline_with_reason_and_advice() -> None:
    """Above any percentile, and no budget is met."""
    many = trace(failed=11)
    view = summary_view(summarize(many))
    assert view.headline == "1.10 % of the frames failed: Reshape node: 2 is not 1"
    assert view.advice == "--set batch=1"
    assert replace(summarize(many), budget=1e9).met is False
    with pytest.raises(InferencesFailed, match=r"1\.10 % of the frames failed") as error:
        check_failures(many)
    assert error.value.fix == "--set batch=1"
    assert error.value.exit_code == 1


def test_where_all_failed_that_is_said() -> None:
    """The words of a run without an answer."""
    with pytest.raises(NothingSucceeded, match="every inference failed: Reshape node: 2 is not 1"):
        check_failures(trace(failed=1000))


def test_the_worst_model_counts() -> None:
    """Of two models one that always fails is not half a failure; dropped frames are none."""
    both = trace(failed=0)
    requests = dict(both.requests)
    requests["model"] = np.arange(1000) % 2
    requests["outcome"] = np.where(np.arange(1000) % 2, Outcome.FAILED, Outcome.OK)
    assert failed_share(Trace(both.meta, requests, both.telemetry)) == 1.0
    requests["outcome"] = np.full(1000, Outcome.DROPPED)
    assert failed_share(Trace(both.meta, requests, both.telemetry)) == 0.0
