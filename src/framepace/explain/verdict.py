"""The words at the top: is the budget met, what class of bottleneck, how severe is a finding. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from framepace.explain.situation import Situation
from framepace.facts.finding import Account, Finding, Intervention, Severity
from framepace.facts.summary import Percentile
from framepace.units import format_ms

_CLASSES = {
    "FP002": "host",
    "FP003": "host",
    "FP008": "compute",
    "FP009": "under-filled",
    "FP011": "decode/prepare",
    "FP012": "host",
    "FP013": "host",
    "FP014": "serialised",
    "FP015": "host",
}


def sentence(known: Situation, account: Account) -> tuple[bool | None, str]:
    """Whether the budget is met (None: cannot be said), and the sentence that says so with its numbers."""
    other = max(0.0, account.stream - account.model)
    beside = f"{format_ms(other)} of it is not the model"
    percentile = _highest(known)
    if percentile is None or percentile.estimate is None:
        return None, f"mean latency {format_ms(known.latency)}; too few frames for percentiles; {beside}"
    value = f"p{percentile.q:g} {_with_interval(percentile)}"
    if known.budget is None:
        return None, f"{value}; {beside}"
    fps = known.case.plan.target.fps
    at = f" at {fps:g} fps" if fps else ""
    met = percentile.estimate.value <= known.budget and not known.overloaded
    return met, f"budget {format_ms(known.budget)}{at}; {value}, {'met' if met else 'missed'}; {beside}"


def bottleneck(known: Situation, confirmed: Sequence[Finding]) -> str:
    """The class of the worst confirmed cause, or 'healthy'."""
    return _CLASSES.get(confirmed[0].code, "host") if confirmed else "healthy"


def severity(record: Intervention, budget: float | None, cores: int) -> Severity:
    """By what the cause is worth: in latency against the budget, in CPU time against the machine in one budget."""
    worth = record.before.value - record.after.value
    if record.metric.startswith("CPU"):
        share = worth / (budget * cores) if budget else 1 - record.ratio.value
    else:
        share = worth / budget if budget else 1 - record.ratio.value
    return "high" if share >= 0.25 else "medium" if share >= 0.05 else "low"


def _highest(known: Situation) -> Percentile | None:
    answered = [p for p in known.frames.percentiles if p.estimate is not None and p.q <= 99]
    return max(answered, key=lambda p: p.q, default=None)


def _with_interval(percentile: Percentile) -> str:
    estimate = percentile.estimate
    assert estimate is not None
    text = format_ms(estimate.value)
    if estimate.low is None or estimate.high is None:
        return text
    return f"{text} [{format_ms(estimate.low)}, {format_ms(estimate.high)}]"
