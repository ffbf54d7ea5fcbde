"""Why inferences of a run failed."""

from __future__ import annotations

from framepace.errors import InferencesFailed, NothingSucceeded
from framepace.facts.base import Fact
from framepace.units import format_quantity

TOO_MANY = 0.01
"""The share of failed frames above which a failure is the first thing to say of a run."""


_MORE = "`framepace bench` on it alone shows more"


class Failure(Fact, frozen=True, kw_only=True):
    """The first failure of a run: its reason on one line, and what to do about it ('' where nobody knows)."""

    reason: str
    advice: str = ""


def failure_words(share: float, failure: Failure | None) -> str:
    """'36 % of the frames failed: REASON', or of all."""
    words = f"{format_quantity(share, 'share')} of the frames failed"
    if share >= 1:
        words = "every inference failed"
    if failure is None:
        return words
    return f"{words}: {failure.reason}"


def refuse_failures(share: float, failure: Failure | None) -> None:
    """Raises InferencesFailed where so large a share failed that nothing else can be said of the run."""
    if share <= TOO_MANY:
        return
    kind = InferencesFailed
    if share >= 1:
        kind = NothingSucceeded
    fix = _MORE
    if failure is not None and failure.advice:
        fix = failure.advice
    raise kind(failure_words(share, failure), fix=fix)
