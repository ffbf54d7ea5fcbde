"""How much of a run failed, and what to say of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from framepace.errors import InferencesFailed, NothingSucceeded
from framepace.facts.failure import TOO_MANY, failure_words
from framepace.facts.trace import Outcome, Trace

_MORE = "`framepace bench` on it alone shows more"


def failed_share(trace: Trace) -> float:
    """The share of the frames that failed among those that were not dropped, warm-up included, of the worst model."""
    outcome = trace.requests["outcome"]
    model = trace.requests["model"]
    shares = [_failed(outcome[model == index]) for index in np.unique(model)]
    return max(shares, default=0.0)


def _failed(outcome: NDArray[np.int64]) -> float:
    failed = int(np.count_nonzero(outcome == Outcome.FAILED))
    tried = failed + int(np.count_nonzero(outcome == Outcome.OK))
    return failed / max(1, tried)


def check_failures(trace: Trace) -> None:
    """Raises InferencesFailed where so many inferences failed that nothing else can be said of the trace."""
    share = failed_share(trace)
    if share <= TOO_MANY:
        return
    failure = trace.meta.failure
    kind = InferencesFailed
    if share >= 1:
        kind = NothingSucceeded
    fix = _MORE
    if failure is not None and failure.advice:
        fix = failure.advice
    raise kind(failure_words(share, failure), fix=fix)
