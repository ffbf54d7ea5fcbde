"""The words at the top: is the budget met, what class of bottleneck, how severe is a finding. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from framepace.explaining.evidence import Situation
from framepace.facts.finding import Account, Finding, Intervention, Severity
from framepace.facts.summary import Percentile
from framepace.units import format_ms

_CLASSES = {
    "FP001": "clocks",
    "FP002": "host",
    "FP003": "host",
    "FP004": "power",
    "FP005": "launch",
    "FP006": "transfer",
    "FP007": "memory bandwidth",
    "FP008": "compute",
    "FP009": "under-filled",
    "FP010": "serialised",
    "FP011": "decode/prepare",
    "FP012": "host",
    "FP013": "host",
    "FP014": "serialised",
    "FP015": "host",
    "FP016": "host",
    "FP100": "wrong output",
    "FP101": "failing",
}


def sentence(known: Situation, account: Account) -> tuple[bool | None, str]:
    """Whether the budget is met (None: there is none), and the sentence that says so with its numbers.

    The p99 decides, with its whole interval on one side of the budget.
    """
    beside = f"{format_ms(max(0.0, account.stream - account.model))} of it is not the model"
    if known.budget is None:
        return None, f"{_latency(known)}; {beside}"
    fps, summary = known.case.plan.target.fps, known.summaries["stream"]
    budget = f"budget {format_ms(known.budget)}" + (f" at {fps:g} fps" if fps else "")
    if known.overloaded:
        rate = f"{summary.throughput:.1f} of {fps:g} frames a second" if fps else "latency grows"
        return False, f"{budget}; missed: the load is not kept up with ({rate}); {beside}"
    met = summary.met
    word = {True: "met", False: "missed", None: "undecided"}[met]
    return met, f"{budget}; {_latency(known)}, {word}; {beside}"


def _latency(known: Situation) -> str:
    """The highest percentile up to p99 that the samples carry; below p99 with the share of late frames."""
    answered = [p for p in known.frames.percentiles if p.estimate is not None and p.q <= 99]
    highest = max(answered, key=lambda p: p.q, default=None)
    missed = known.summaries["stream"].missed
    late = "" if missed is None else f", {missed:.1%} of frames late"
    if highest is None:
        return f"mean {format_ms(known.latency)} (too few frames for percentiles){late}"
    return f"p{highest.q:g} {_with_interval(highest)}" + ("" if highest.q == 99 else late)


def rank(finding: Finding) -> tuple[int, int, bool, float, str]:
    """Sorts findings: confirmed ones first, the worst of them first; latency before CPU time."""
    verdicts = {"confirmed": 0, "undecided": 1, "refuted": 2}
    severities = {"high": 0, "medium": 1, "low": 2, "info": 3}
    place = verdicts[finding.verdict], severities[finding.severity]
    return (*place, _spends_cpu(finding), -(finding.share or 0.0), finding.code)


def _spends_cpu(finding: Finding) -> bool:
    return finding.intervention is not None and finding.intervention.metric.startswith("CPU")


def bottleneck(confirmed: Sequence[Finding]) -> str:
    """The class of the worst confirmed cause, or 'healthy'."""
    return _CLASSES.get(confirmed[0].code, "host") if confirmed else "healthy"


def shares(confirmed: Sequence[Finding]) -> dict[str, float]:
    """What each class of causes takes of the budget, in the order of the findings; CPU time is counted apart."""
    found: dict[str, float] = {}
    for finding in confirmed:
        if finding.share is not None:
            name = "CPU time" if _spends_cpu(finding) else _CLASSES.get(finding.code, "host")
            found[name] = found.get(name, 0.0) + finding.share
    return found


def share_of_budget(record: Intervention, budget: float | None, cores: int) -> float:
    """What the cause is worth: in latency against the budget, in CPU time against the machine in one budget; of
    throughput what there could be more.
    """
    worth = record.before.value - record.after.value
    if not budget or record.metric.startswith("time between"):
        return 1 - record.ratio.value
    return worth / (budget * cores if record.metric.startswith("CPU") else budget)


def severity(share: float) -> Severity:
    """In words, what takes that share of the budget."""
    return "high" if share >= 0.25 else "medium" if share >= 0.05 else "low"


def _with_interval(percentile: Percentile) -> str:
    estimate = percentile.estimate
    assert estimate is not None
    text = format_ms(estimate.value)
    if estimate.low is None or estimate.high is None:
        return text
    return f"{text} [{format_ms(estimate.low)}, {format_ms(estimate.high)}]"
