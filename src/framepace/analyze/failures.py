"""How much of a run failed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from framepace.facts.failure import refuse_failures
from framepace.facts.trace import Outcome, Trace


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
    refuse_failures(failed_share(trace), trace.meta.failure)
