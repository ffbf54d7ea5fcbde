"""The view-model of explanations: account, findings, undecided and untested causes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from framepace.facts.finding import Account, AccountLine, Explanation, Verdict
from framepace.facts.summary import Estimate
from framepace.reporting.views.answer import answer_lines
from framepace.reporting.views.expectation import ExpectationView, expectation_view
from framepace.reporting.views.finding import FindingView, finding_view
from framepace.reporting.views.late import late_sentences, receipt_rows, receipts_title
from framepace.reporting.views.text import maybe, plural, share, split_interval
from framepace.reporting.views.tried import tried_rows
from framepace.reporting.views.whatif import what_if_sentences
from framepace.units import format_estimate, format_ms, format_quantity

_NOTHING_FOUND = {False: "no cause found", True: "the budget is missed, and nothing that was tried explains it"}
NO_CAUSE = {
    True: "no change that was tried made it faster",
    None: "nothing that was measured points to one, so nothing was tried",
    False: "none could be tried, for the reasons below",
}
"""Why there is none, by `has_trials`."""
_TOO_WIDE = 100.0  # times the low end of an interval
_NOTHING_TRIED = {False: "no cause could be tried", True: "the budget is missed, and no cause could be tried"}


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
class ExplanationView:
    """The result of `explain`, in the order in which people read it."""

    verdict: str
    bottleneck: str
    limit: str
    met: bool | None
    has_trials: bool | None
    account: tuple[PartRow, ...]
    late: tuple[str, ...]
    unexplained: str
    causes: tuple[FindingView, ...]
    undecided: tuple[FindingView, ...]
    refuted: tuple[FindingView, ...]
    not_tested: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    seconds: str
    expectation: ExpectationView | None
    what_if: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    tried: tuple[tuple[str, str], ...] = ()
    receipts: tuple[tuple[str, ...], ...] = ()
    receipts_title: str = ""


def _with_verdict(findings: Sequence[FindingView], verdict: Verdict) -> tuple[FindingView, ...]:
    return tuple(finding for finding in findings if finding.verdict == verdict)


def _with_reason(untested: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((code, reason) for code, reason in untested.items() if reason)


def explanation_view(explanation: Explanation) -> ExplanationView:
    """An explanation as rows."""
    findings = [finding_view(finding) for finding in explanation.findings]
    untested = _untested(explanation)
    return ExplanationView(
        verdict=explanation.verdict,
        bottleneck=explanation.bottleneck,
        limit=_limit(explanation),
        met=explanation.met,
        has_trials=_has_trials(explanation),
        account=account_rows(explanation.account),
        late=late_sentences(explanation.late),
        unexplained=_unexplained(explanation.account),
        causes=_with_verdict(findings, "confirmed"),
        undecided=_undecided(findings, untested),
        refuted=_with_verdict(findings, "refuted"),
        not_tested=_with_reason(untested),
        notes=explanation.notes,
        seconds=format_quantity(explanation.seconds, "s"),
        expectation=maybe(explanation.expectation, expectation_view),
        what_if=what_if_sentences(explanation.what_if),
        answers=answer_lines(explanation.confirmed, explanation.remedies),
        tried=tried_rows(explanation.remedies),
        receipts=receipt_rows(explanation.receipts),
        receipts_title=receipts_title(explanation.receipts),
    )


def _undecided(findings: Sequence[FindingView], untested: Mapping[str, str]) -> tuple[FindingView, ...]:
    return tuple(f for f in _with_verdict(findings, "undecided") if f.code not in untested)


def _untested(explanation: Explanation) -> dict[str, str]:
    """Reasons by the code of the cause."""
    reasons = {finding.code: finding.untested for finding in explanation.findings if finding.untested}
    return {**reasons, **explanation.not_tested}


def _has_trials(explanation: Explanation) -> bool | None:
    """Whether any cause was switched off; None where nothing was suspected."""
    if any(finding.intervention is not None for finding in explanation.findings):
        return True
    return False if _with_reason(_untested(explanation)) else None


def _suspected(explanation: Explanation) -> str:
    """'FP008, FP004: no time left (--time-limit)': what nobody tried, and why not the first of it."""
    untested = _with_reason(_untested(explanation))
    alike = [code for code, reason in untested if reason == untested[0][1]]
    text = f"{', '.join(alike)}: {untested[0][1]}"
    if len(untested) == len(alike):
        return text
    return f"{text}; {len(untested) - len(alike)} more below"


def _limit(explanation: Explanation) -> str:
    """The class of the bottleneck, with the share of each class of causes in the budget or latency."""
    if explanation.bottleneck in ("healthy", "unexplained"):
        return _nothing_found(explanation)
    head = f"bottleneck: {_class_name(explanation, explanation.bottleneck)}"
    if not explanation.shares:
        return head
    whole = "latency" if explanation.plan.target.budget_ms is None else "frame budget"
    parts = (f"{_class_name(explanation, name)} {share(part)}" for name, part in explanation.shares.items())
    return f"{head}; of the {whole}: {', '.join(parts)}"


def _nothing_found(explanation: Explanation) -> str:
    """That there is no cause; of a missed budget, what nobody tried."""
    misses = explanation.bottleneck == "unexplained"
    if _has_trials(explanation) is False:
        return f"{_NOTHING_TRIED[misses]}: {_suspected(explanation)}"
    if misses and _with_reason(_untested(explanation)):
        return f"{_NOTHING_FOUND[misses]}; not tried: {_suspected(explanation)}"
    return _NOTHING_FOUND[misses]


def _class_name(explanation: Explanation, name: str) -> str:
    """The class of a bottleneck; of one beside the model, the stages that its causes name."""
    if name != "decode/prepare":
        return name
    beside = (finding for finding in explanation.confirmed if finding.bottleneck == name)
    stages = dict.fromkeys(finding.evidence.get("stage", "") for finding in beside)
    return "/".join(filter(None, stages)) or name


def account_rows(account: Account) -> tuple[PartRow, ...]:
    """The three scopes from zero, then each part of the difference between model and stream, from start to end."""
    scopes = (
        ("model alone", account.model),
        ("in the pipeline", account.pipeline),
        ("in the stream", account.stream),
    )
    totals = (PartRow(name, format_ms(ns, account.stream), 0, ns, total=True) for name, ns in scopes)
    lines = (*account.lines, AccountLine(name="unexplained", ns=account.unexplained))
    return (*totals, *_line_rows(lines, account))


def _line_rows(lines: Iterable[AccountLine], account: Account) -> Iterator[PartRow]:
    start = account.model
    for line in lines:
        end = start + line.ns
        low, high = line.interval or (None, None)
        text, interval = split_interval(format_estimate(line.ns, low, high, "ns", account.stream))
        if line.ns > 0:
            text = f"+{text}"
        yield PartRow(line.name, text, start, end, interval=interval)
        start = end


def _unexplained(account: Account) -> str:
    if not account.stream:
        return share(0.0)
    return share(abs(account.unexplained) / account.stream)


def proven(causes: Sequence[FindingView]) -> str:
    """'2 causes, worst first, each proven by switching it off': how many there are, and how they are known."""
    tried = sum(bool(cause.tested) for cause in causes)
    if not tried:
        return f"{plural(len(causes), 'cause')}, seen in the measurements"
    if tried < len(causes):
        return f"{len(causes)} causes, worst first: {tried} proven by switching off, {len(causes) - tried} measured"
    if tried == 1:
        return "1 cause, proven by switching it off"
    return f"{tried} causes, worst first, each proven by switching it off"


def listed(findings: Iterable[FindingView]) -> str:
    """Findings in a line: 'FP003 cold caches (-2.10 % [-5.20, 1.10]); ...'."""
    return "; ".join(_listed(finding) for finding in findings)


def _listed(finding: FindingView) -> str:
    name = f"{finding.code} {finding.title}"
    if finding.intervention is not None and _tells_nothing(finding.intervention.ratio):
        return f"{name} (its runs differ too much to tell)"
    return f"{name} ({finding.moved})" if finding.moved else name


def _tells_nothing(ratio: Estimate) -> bool:
    """Whether the interval allows a tenth and ten times as much."""
    return ratio.low is not None and ratio.high is not None and ratio.high > _TOO_WIDE * max(ratio.low, 0.0)
