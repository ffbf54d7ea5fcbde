"""The words at the top: whether the budget is met, the class of the bottleneck, how severe a finding is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from framepace.explaining.evidence import Evidence
from framepace.facts.finding import Account, Bottleneck, Finding, Intervention, Severity
from framepace.facts.summary import Percentile
from framepace.units import format_ms

# What makes a model fit that exceeds its budget, whatever it is slow for.
_WAYS_OUT = ("FP028", "FP029")
_WITHOUT_A_THIRD = 2 / 3  # of the typical latency is left without the stage
_NEARLY = 0.1  # of the slowest frames' latency
_VERDICTS = {"confirmed": 0, "undecided": 1, "refuted": 2}
_SEVERITIES = {"high": 0, "medium": 1, "low": 2, "info": 3}


def sentence(evidence: Evidence, account: Account) -> tuple[bool | None, str]:
    """Whether the budget is met (None: there is none), and the sentence that says so with its numbers.

    The share of late frames decides, with its whole interval on one side of one in a hundred.
    """
    beside = f"outside the model {format_ms(max(0.0, account.stream - account.model))}"
    if evidence.budget is None:
        return None, f"{_latency(evidence)}; {beside}"
    fps = evidence.case.plan.target.fps
    summary = evidence.summaries["stream"]
    budget = f"budget {format_ms(evidence.budget)}" + (f" at {fps:g} fps" if fps else "")
    if evidence.overloaded:
        rate = f"{summary.throughput:.1f} of {evidence.offered:.3g} frames per second"
        return False, f"{budget}; missed: throughput is below the load ({rate}); {beside}"
    met = summary.met
    word = {True: "met", False: "missed", None: "undecided"}[met]
    return met, f"{budget}; {_latency(evidence)}, {word}; {beside}"


def _latency(evidence: Evidence) -> str:
    """The highest percentile up to p99 that there are samples for; below p99 with the share of late frames."""
    answered = [p for p in evidence.frames.percentiles if p.estimate is not None and p.q <= 99]
    highest = max(answered, key=lambda p: p.q, default=None)
    missed = evidence.summaries["stream"].missed
    late = "" if missed is None else f", {100 * missed:.1f} % of {evidence.frames.requests:,} frames late"
    if highest is None:
        return f"mean {format_ms(evidence.latency)} (too few frames for percentiles){late}"
    return f"p{highest.q:g} {_with_interval(highest)}" + ("" if highest.q == 99 else late)


def rank(finding: Finding) -> tuple[int, bool, int, bool, float, str]:
    """Sorts findings: confirmed ones first, causes before ways out, the worst first; latency before CPU time."""
    verdict = _VERDICTS[finding.verdict]
    severity = _SEVERITIES[finding.severity]
    is_way_out = finding.code in _WAYS_OUT
    return verdict, is_way_out, severity, _spends_cpu(finding), -(finding.share or 0.0), finding.code


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """The findings by `rank`; but a proven cause stands before another proven one that follows from it."""
    ranked = sorted(findings, key=rank)
    for cause, effect, follows in _FOLLOWS:
        places = {finding.code: place for place, finding in enumerate(ranked) if finding.verdict == "confirmed"}
        first, second = places.get(effect), places.get(cause)
        if first is not None and second is not None and first < second and follows(ranked[second], ranked[first]):
            ranked.insert(first, ranked.pop(second))
    return ranked


def _always(cause: Finding, effect: Finding) -> bool:
    return True


def _takes_the_tail(cause: Finding, effect: Finding) -> bool:
    """Without the cause the slowest frames are nearly as fast as without the effect, or faster."""
    ratios = [record.ratio.value for record in (cause.intervention, effect.intervention) if record is not None]
    return len(ratios) == 2 and ratios[0] <= ratios[1] + _NEARLY


def _is_slow_always(cause: Finding, effect: Finding) -> bool:
    """The stage that varies takes a good part of the typical frame, or late frames take less than twice as long."""
    numbers = effect.evidence
    if cause.evidence.get("stage") != numbers.get("stage"):
        return False
    takes_much = cause.intervention is not None and cause.intervention.ratio.value <= _WITHOUT_A_THIRD
    return takes_much or numbers.get("more_ns", 0.0) < numbers.get("usual_ns", 0.0)


# Cores that a model could have stand before its arithmetic, which is long for want of them, and before workers, of
# which one would do; the lock that workers wait for before the hook in which they do; collections before the hook in
# which they fall; a stage that is slow before its slowest frames.
_FOLLOWS = (
    ("FP020", "FP008", _always),
    ("FP020", "FP009", _always),
    ("FP014", "FP024", _always),
    ("FP015", "FP017", _takes_the_tail),
    ("FP011", "FP017", _is_slow_always),
)


def _spends_cpu(finding: Finding) -> bool:
    return finding.intervention is not None and finding.intervention.kind == "cpu"


def worst(confirmed: Sequence[Finding], met: bool | None) -> Bottleneck | Literal["healthy", "unexplained"]:
    """The class of the first of the confirmed findings; without one 'healthy', or 'unexplained' where it is missed.

    CPU time that frames cost does not make them late: alone it explains no miss.
    """
    explains = met is not False or not all(map(_spends_cpu, confirmed))
    if confirmed and explains:
        return _class_of(confirmed[0])
    return "unexplained" if met is False else "healthy"


def shares(confirmed: Sequence[Finding]) -> dict[str, float]:
    """The share of the budget that each class of causes takes, in the order of the findings; CPU time separately.

    What the slowest frames take is none of it, nor is what a throughput might gain.
    """
    totals: dict[str, float] = {}
    for finding in confirmed:
        if finding.share is not None and _adds_up(finding):
            name = "CPU time" if _spends_cpu(finding) else _class_of(finding)
            totals[name] = totals.get(name, 0.0) + finding.share
    return totals


def _adds_up(finding: Finding) -> bool:
    return finding.intervention is None or finding.intervention.kind in ("latency", "cpu")


def _class_of(finding: Finding) -> Bottleneck:
    assert finding.bottleneck is not None  # None is for old files
    return finding.bottleneck


def share_of_budget(record: Intervention, budget: float | None, cores: int) -> float:
    """The cause's share (0-1): latency over the frame budget; CPU time over what all cores offer in one budget; for
    throughput, the possible gain.
    """
    if not budget or record.kind == "throughput":
        return 1 - record.ratio.value
    worth = record.before.value - record.after.value
    return worth / (budget * cores if record.kind == "cpu" else budget)


def severity(share: float) -> Severity:
    """The word for a cause that takes this share of the budget."""
    if share >= 0.25:
        return "high"
    return "medium" if share >= 0.05 else "low"


def _with_interval(percentile: Percentile) -> str:
    estimate = percentile.estimate
    assert estimate is not None
    text = format_ms(estimate.value)
    if estimate.low is None or estimate.high is None:
        return text
    return f"{text} [{format_ms(estimate.low)}, {format_ms(estimate.high)}]"
