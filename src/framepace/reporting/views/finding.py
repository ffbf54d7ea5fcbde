"""The view-model of one finding: the cause, its trial, its gain and its remedy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import neg

from framepace.facts import settings
from framepace.facts.finding import Finding, Gain, Intervention, MetricKind, Remedy
from framepace.facts.summary import Estimate
from framepace.reporting.views.text import estimate, maybe, named, optional, plural, split_interval
from framepace.units import format_estimate, format_quantity, split_unit

OF_KIND: Mapping[MetricKind, str] = {
    "latency": "of latency per frame",
    "tail": "of latency in the slowest 5 % of the frames",
    "cpu": "of CPU time per frame",
    "throughput": "of the time between frames",
    "power": "of power",
}


@dataclass(frozen=True)
class FindingView:
    """One finding in words; a text is empty if there is nothing to say."""

    code: str
    title: str
    severity: str
    verdict: str
    summary: str
    metric: str
    before: str
    after: str
    moved: str
    tested: str
    setting: str
    remedy: str
    command: str
    undo: str
    cost: str
    gain: str
    evidence: tuple[tuple[str, str], ...]
    intervention: Intervention | None


@dataclass(frozen=True)
class _TrialWords:
    metric: str = ""
    before: str = ""
    after: str = ""
    moved: str = ""
    tested: str = ""


@dataclass(frozen=True)
class _RemedyWords:
    setting: str = ""
    text: str = ""
    command: str = ""
    undo: str = ""
    cost: str = ""


def finding_view(finding: Finding) -> FindingView:
    """One finding in words."""
    trial = _trial_words(finding.intervention)
    remedy = _remedy_words(finding.remedy)
    return FindingView(
        code=finding.code,
        title=finding.title,
        severity=finding.severity,
        verdict=finding.verdict,
        summary=finding.summary,
        metric=trial.metric,
        before=trial.before,
        after=trial.after,
        moved=trial.moved,
        tested=trial.tested,
        setting=remedy.setting,
        remedy=remedy.text,
        command=remedy.command,
        undo=remedy.undo,
        cost=remedy.cost,
        gain=optional(finding.gain, lambda gain: _gain(gain, OF_KIND[_kind(finding)])),
        evidence=_evidence(finding),
        intervention=finding.intervention,
    )


def _evidence(finding: Finding) -> tuple[tuple[str, str], ...]:
    """Names and values with their units."""
    return tuple((split_unit(key)[0], named(key, value)) for key, value in finding.evidence.items())


def _trial_words(trial: Intervention | None) -> _TrialWords:
    if trial is None:
        return _TrialWords()
    return _TrialWords(
        metric=metric_name(trial),
        before=format_quantity(trial.before.value, trial.unit),
        after=estimate(trial.after, trial.unit),
        moved=moved(trial),
        tested=f"{settings.text(trial.changed)}, {plural(trial.rounds, 'interleaved pair')}",
    )


def metric_name(trial: Intervention) -> str:
    """'CPU time per frame': what the trial compared. Explanations store 'CPU time a frame'."""
    return split_unit(trial.metric)[0].replace(" a frame", " per frame")


def _remedy_words(remedy: Remedy | None) -> _RemedyWords:
    if remedy is None:
        return _RemedyWords()
    return _RemedyWords(
        setting=settings.text(remedy.plan),
        text=remedy.text,
        command=remedy.command or "",
        undo=remedy.undo or "",
        cost=remedy.cost or "",
    )


def moved(trial: Intervention) -> str:
    """How far the intervention moved the metric: '6.81x less [6.12, 7.40]', or '-4.10 % [-6.20, -1.90]' under 2x."""
    ratio = trial.ratio
    if not ratio.value > 0:
        return ""
    if 0.5 < ratio.value < 2:
        return _change_in_per_cent(ratio)
    if ratio.value > 1:
        text = estimate(ratio, "x")
        direction = "more"
    else:
        text = format_estimate(1 / ratio.value, _inverse(ratio.high), _inverse(ratio.low), "x")
        direction = "less"
    value, interval = split_interval(text)
    return f"{value} {direction} {interval}".strip()


def _change_in_per_cent(ratio: Estimate) -> str:
    low, high = (maybe(end, lambda value: value - 1) for end in (ratio.low, ratio.high))
    text = format_estimate(ratio.value - 1, low, high, "share")
    return f"+{text}" if ratio.value > 1 else text


def _inverse(value: float | None) -> float | None:
    return 1 / value if value else None


def _kind(finding: Finding) -> MetricKind:
    return "latency" if finding.intervention is None else finding.intervention.kind


def _gain(gain: Gain, what: str) -> str:
    """What the remedy is worth, and in `what`."""
    predicted = f"{format_quantity(gain.predicted, gain.unit)} predicted"
    if gain.verified is None:
        return f"{predicted} {what}, not verified"
    low, high = gain.interval or (None, None)
    if low is not None and high is not None and low <= 0 <= high:
        verified = format_estimate(gain.verified, low, high, gain.unit)
        return f"not sure: {verified} {what} in the whole stream ({predicted})"
    if gain.verified >= 0:
        return f"saves {format_estimate(gain.verified, low, high, gain.unit)} {what}, verified ({predicted})"
    added = format_estimate(-gain.verified, maybe(high, neg), maybe(low, neg), gain.unit)
    return f"none: adds {added} {what}, verified ({predicted})"
