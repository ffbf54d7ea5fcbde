"""The view-model of explanations: account, findings, and what was not decided or not tested."""

from __future__ import annotations

from dataclasses import dataclass

from framepace.facts.finding import Account, AccountLine, Explanation, Finding, Gain, Intervention
from framepace.reporting.views.expectation import ExpectationView, expectation_view
from framepace.reporting.views.measurement import estimate, named, settings
from framepace.units import format_estimate, format_ms, format_quantity, split_unit


@dataclass(frozen=True)
class PartRow:
    """One bar of the waterfall from the model alone to the stream: it spans `start` to `end` ns."""

    name: str
    text: str
    start: float
    end: float
    total: bool = False
    interval: str = ""


@dataclass(frozen=True)
class FindingView:
    """One finding in words; empty where there is nothing to say."""

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
class ExplanationView:
    """What `explain` found, in the order in which people read it."""

    verdict: str
    bottleneck: str
    limit: str
    met: bool | None
    account: tuple[PartRow, ...]
    unexplained: str
    causes: tuple[FindingView, ...]
    undecided: tuple[FindingView, ...]
    refuted: tuple[FindingView, ...]
    not_tested: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    seconds: str
    expectation: ExpectationView | None


def explanation_view(e: Explanation) -> ExplanationView:
    """An explanation as rows."""
    findings = [finding_view(f) for f in e.findings]
    untested = {**{f.code: f.untested for f in e.findings if f.untested}, **e.not_tested}
    return ExplanationView(
        verdict=e.verdict,
        bottleneck=e.bottleneck,
        limit=_limit(e),
        met=e.met,
        account=account_rows(e.account),
        unexplained=_unexplained(e.account),
        causes=tuple(f for f in findings if f.verdict == "confirmed"),
        undecided=tuple(f for f in findings if f.verdict == "undecided" and f.code not in untested),
        refuted=tuple(f for f in findings if f.verdict == "refuted"),
        not_tested=tuple((code, reason) for code, reason in untested.items() if reason),
        notes=e.notes,
        seconds=format_quantity(e.seconds, "s"),
        expectation=None if e.expectation is None else expectation_view(e.expectation),
    )


def _limit(e: Explanation) -> str:
    """The class of the bottleneck with what each class of causes takes: 'launch: 34 % of the frame budget; ...'."""
    if not any(f.verdict == "confirmed" for f in e.findings):
        return "healthy: no cause found"
    of = "frame budget" if e.plan.target.budget_ms is not None else "latency"
    told = [f"{name} {format_quantity(share, 'share')}" for name, share in e.shares.items()]
    return f"bottleneck: {e.bottleneck}" + (f"; of the {of}: {', '.join(told)}" if told else "")


def account_rows(a: Account) -> tuple[PartRow, ...]:
    """The three scopes from zero, then each part of what lies between model and stream, where it begins and ends."""
    scopes = (("model alone", a.model), ("in the pipeline", a.pipeline), ("in the stream", a.stream))
    rows = [PartRow(name, format_ms(ns, a.stream), 0, ns, total=True) for name, ns in scopes]
    at = a.model
    for line in (*a.lines, AccountLine(name="unexplained", ns=a.unexplained)):
        low, high = line.interval or (None, None)
        text, _, interval = format_estimate(line.ns, low, high, "ns", a.stream).partition(" [")
        sign = "+" if line.ns > 0 else ""
        rows.append(PartRow(line.name, sign + text, at, at + line.ns, interval=f"[{interval}" if interval else ""))
        at += line.ns
    return tuple(rows)


def _unexplained(a: Account) -> str:
    return format_quantity(abs(a.unexplained) / a.stream if a.stream else 0.0, "share")


def finding_view(f: Finding) -> FindingView:
    """One finding in words."""
    trial, remedy = f.intervention, f.remedy
    return FindingView(
        code=f.code,
        title=f.title,
        severity=f.severity,
        verdict=f.verdict,
        summary=f.summary,
        metric=split_unit(trial.metric)[0] if trial else "",
        before=format_quantity(trial.before.value, trial.unit) if trial else "",
        after=estimate(trial.after, trial.unit) if trial else "",
        moved=moved(trial) if trial else "",
        tested=f"{settings(trial.changed)}, {_pairs(trial.rounds)}" if trial else "",
        setting=settings(remedy.plan) if remedy else "",
        remedy=remedy.text if remedy else "",
        command=(remedy.command or "") if remedy else "",
        undo=(remedy.undo or "") if remedy else "",
        cost=(remedy.cost or "") if remedy else "",
        gain=_gain(f.gain) if f.gain else "",
        evidence=tuple((split_unit(key)[0], named(key, value)) for key, value in f.evidence.items()),
        intervention=trial,
    )


def moved(trial: Intervention) -> str:
    """How far the intervention moved the metric: '6.81x less [6.12, 7.40]', or '-4.10 % [-6.20, -1.90]' under 2x."""
    r = trial.ratio
    if not r.value > 0:
        return ""
    if 0.5 < r.value < 2:
        low, high = (None if end is None else end - 1 for end in (r.low, r.high))
        return f"{'+' if r.value > 1 else ''}{format_estimate(r.value - 1, low, high, 'share')}"
    way, ends = ("more", (r.low, r.high)) if r.value > 1 else ("less", (_inverse(r.high), _inverse(r.low)))
    value, bracket, interval = format_estimate(max(r.value, 1 / r.value), *ends, "x").partition(" [")
    return f"{value} {way}{bracket}{interval}"


def _inverse(value: float | None) -> float | None:
    return 1 / value if value else None


def _gain(g: Gain) -> str:
    predicted = f"{format_quantity(g.predicted, g.unit)} predicted"
    if g.verified is None:
        return f"{predicted}, not verified"
    low, high = g.interval or (None, None)
    if low is not None and low <= 0 <= g.verified:
        return f"not sure: {format_estimate(g.verified, low, high, g.unit)} in the whole stream ({predicted})"
    if g.verified >= 0:
        return f"saves {format_estimate(g.verified, low, high, g.unit)}, verified ({predicted})"
    low, high = (None if end is None else -end for end in (high, low))
    return f"none: adds {format_estimate(-g.verified, low, high, g.unit)}, verified ({predicted})"


def _pairs(rounds: int) -> str:
    return f"{rounds} interleaved pair{'' if rounds == 1 else 's'}"
