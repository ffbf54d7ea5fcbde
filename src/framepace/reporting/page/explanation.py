"""The causes of latency with before and after, and the account of the scopes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from framepace.facts.bounds import Bound
from framepace.facts.finding import Explanation
from framepace.reporting.page.bars import account_figure, finding_figure
from framepace.reporting.page.document import Document
from framepace.reporting.page.markup import chip, details, grid, monospace, pairs, tag
from framepace.reporting.page.roofline import ROOFLINE_CAPTION, roofline_figure
from framepace.reporting.views.expectation import COLUMNS, ExpectationView
from framepace.reporting.views.explanation import NO_CAUSE, ExplanationView, explanation_view, listed, proven
from framepace.reporting.views.finding import FindingView
from framepace.reporting.views.late import RECEIPT_COLUMNS
from framepace.reporting.views.roofline import floor_views
from framepace.reporting.views.tried import TRIED_TITLE


def add_explanation(document: Document, explanation: Explanation) -> None:
    """Findings, then where the time goes, another tool's number, and how far each model is from its floor."""
    view = explanation_view(explanation)
    _add_findings(document, view)
    if view.tried:
        document.add(f'<section id="remedies"><h2>{TRIED_TITLE.capitalize()}</h2>{pairs(view.tried)}</section>')
    _add_account(document, view)
    if view.expectation is not None:
        _add_expectation(document, view.expectation)
    if explanation.bounds:
        _add_floors(document, explanation.bounds)


def _add_findings(document: Document, view: ExplanationView) -> None:
    if view.causes:
        head = f"<h2>{proven(view.causes)}</h2>"
    else:
        head = f"<h2>No cause found</h2>{tag('p', NO_CAUSE[view.has_trials])}"
    findings = "".join(_finding(document, finding) for finding in view.causes)
    document.add(f'<section id="findings">{head}{findings}{_others(view)}</section>')


def _finding(document: Document, finding: FindingView) -> str:
    title = f"<h3><code>{escape(finding.code)}</code> {escape(finding.title)}</h3>"
    head = f"<header>{title}{chip(finding.severity, finding.severity)}</header>"
    evidence = details("evidence", pairs(finding.evidence)) if finding.evidence else ""
    parts = [head, tag("p", finding.summary), _proof(document, finding), pairs(_finding_rows(finding)), evidence]
    return f'<article class="finding">{"".join(parts)}</article>'


def _proof(document: Document, finding: FindingView) -> str:
    if finding.intervention is None:
        return ""
    words = f"{finding.metric} {finding.before} → {finding.after}"
    figure = document.figure(finding_figure(finding.intervention), words)
    return f'<div class="proof">{tag("span", words)} {tag("b", finding.moved)}</div>{figure}'


def _finding_rows(finding: FindingView) -> Iterator[tuple[str, str]]:
    yield "tried", finding.tested
    yield "setting", monospace(finding.setting)
    yield "do", finding.remedy
    yield "run", monospace(finding.command)
    yield "undo", monospace(finding.undo)
    yield "cost", finding.cost
    yield "gain", finding.gain


def _others(view: ExplanationView) -> str:
    """Undecided, ruled out and not tested: small print, but never left out."""
    rows = [("undecided", listed(view.undecided)), ("ruled out", listed(view.refuted))]
    rows += [("not tested", f"{code} {reason}") for code, reason in view.not_tested]
    notes = "".join(tag("p", note, "note") for note in view.notes)
    return f'<div class="rest">{pairs(rows)}{notes}</div>'


def _add_account(document: Document, view: ExplanationView) -> None:
    description = "; ".join(f"{row.name} {row.text}" for row in view.account)
    caption = f"The same model in three scopes, and what lies between them. {view.unexplained} is unexplained."
    figure = document.figure(account_figure(view.account), description, caption)
    document.add(f'<section id="account"><h2>Where the time goes</h2>{figure}</section>')
    if view.late:
        lines = "".join(tag("p", line) for line in view.late)
        receipts = details(view.receipts_title, grid(RECEIPT_COLUMNS, view.receipts)) if view.receipts else ""
        document.add(f'<section id="late"><h2>Late frames</h2>{lines}{receipts}</section>')
    if view.what_if:
        lines = "".join(tag("p", line) for line in view.what_if)
        document.add(f'<section id="what-if"><h2>What a millisecond is worth</h2>{lines}</section>')


def _add_expectation(document: Document, view: ExpectationView) -> None:
    steps = f"{tag('p', view.sentence)}{grid(COLUMNS, view.rows)}"
    document.add(f'<section id="expectation"><h2>Another tool\'s number</h2>{steps}</section>')


def _add_floors(document: Document, bounds: Sequence[Bound]) -> None:
    views = floor_views(bounds)
    description = "; ".join(f"{view.model} {view.text}" for view in views)
    figure = document.figure(roofline_figure(bounds), description, ROOFLINE_CAPTION)
    models = pairs([(view.model, view.text) for view in views])
    nodes = (details(f"hottest nodes of {view.model}", grid(view.columns, view.nodes)) for view in views if view.nodes)
    document.add(f'<section id="floors"><h2>How far from the floor</h2>{models}{figure}{"".join(nodes)}</section>')
