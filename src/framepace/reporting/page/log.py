"""A log of another program in the page: how it was read, what goes with its latencies, and what would decide."""

from __future__ import annotations

from collections.abc import Iterator

from framepace.facts.log import LogExplanation, Suspected
from framepace.reporting.page.document import Document
from framepace.reporting.page.markup import grid, monospace, pairs, tag
from framepace.reporting.views.log import BESIDE_COLUMNS, SUSPECTED_TITLE, LogView, log_view, suspected_name


def add_log(document: Document, explanation: LogExplanation) -> None:
    """The sections about a log, above its figures."""
    view = log_view(explanation)
    body = "".join(_parts(view))
    document.add(f'<section id="log">{body}</section>')


def _parts(view: LogView) -> Iterator[str]:
    yield tag("p", view.first, "lead")
    yield pairs([("log", view.source), ("columns", view.columns)])
    late = [*view.late, view.budget_hint]
    yield "<h2>Late frames</h2>" + "".join(tag("p", line) for line in late)
    if view.beside:
        yield grid(BESIDE_COLUMNS, view.beside)
    yield tag("h2", SUSPECTED_TITLE.capitalize())
    for one in view.suspected:
        yield _suspected(one)


def _suspected(one: Suspected) -> str:
    rows = pairs([("because", one.because), ("run", monospace(one.command)), ("shows", one.decides)])
    return f"<article>{tag('h3', suspected_name(one))}{rows}</article>"
