"""The report: findings first, then the measurements, machine and plan at the end."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from framepace.facts.finding import Explanation
from framepace.facts.log import LogExplanation
from framepace.facts.summary import Comparison, Summary
from framepace.facts.sweep import Sweep
from framepace.facts.trace import Trace
from framepace.reporting.page.bars import change_figure
from framepace.reporting.page.document import Document
from framepace.reporting.page.explanation import add_explanation
from framepace.reporting.page.log import add_log
from framepace.reporting.page.markup import chip, grid, pairs, tag, tiles
from framepace.reporting.page.measurement import add_measurements
from framepace.reporting.page.origin import add_origin
from framepace.reporting.page.sweep import sweep_figure
from framepace.reporting.views.comparison import comparison_view
from framepace.reporting.views.explanation import ExplanationView, explanation_view
from framepace.reporting.views.machine import machine_line
from framepace.reporting.views.measurement import SummaryView, summary_view
from framepace.reporting.views.sweep import sweep_view

_MET = {True: ("good", "budget met"), False: ("bad", "budget missed"), None: ("", "")}


def render(
    traces: Sequence[Trace],
    summaries: Sequence[Summary],
    explanation: Explanation | None = None,
    comparison: Comparison | None = None,
    sweep: Sweep | None = None,
    log: LogExplanation | None = None,
) -> str:
    """The whole page as text; everything from outside is escaped. `summaries` are those of `traces`, in order."""
    document = Document()
    document.add(_header(traces, summaries, explanation))
    if explanation is not None:
        add_explanation(document, explanation)
    if comparison is not None:
        _add_comparison(document, comparison)
    if sweep is not None:
        _add_sweep(document, sweep)
    if log is not None:
        add_log(document, log)
    add_measurements(document, traces, summaries)
    add_origin(document, traces, explanation)
    return document.text(_title(traces, explanation))


def _title(traces: Sequence[Trace], explanation: Explanation | None) -> str:
    names = ", ".join(traces[0].meta.names) if traces else "report"
    title = f"framepace: {names or 'report'}"
    if explanation is not None and explanation.confirmed:
        title += f" ({explanation.bottleneck})"
    return title


def _header(traces: Sequence[Trace], summaries: Sequence[Summary], explanation: Explanation | None) -> str:
    view = _main_view(summaries, explanation)
    numbers = "" if view is None else tiles(view.numbers)
    verdict, met = _verdict(view, explanation)
    brand = f'<p class="brand">framepace report{chip(*_MET[met])}</p>'
    limit = "" if explanation is None else _limit(explanation_view(explanation))
    return f'<header class="top">{brand}{tag("h1", verdict)}{limit}{numbers}{_origin_lines(traces)}</header>'


def _limit(view: ExplanationView) -> str:
    """The class of the bottleneck, and a line per cause."""
    return "".join((tag("p", view.limit, "limit"), *(tag("p", line) for line in view.answers)))


def _main_view(summaries: Sequence[Summary], explanation: Explanation | None) -> SummaryView | None:
    """The stream of an explanation, or the first trace."""
    candidates = list(summaries[:1])
    if explanation is not None and "stream" in explanation.summaries:
        candidates.insert(0, explanation.summaries["stream"])
    return summary_view(candidates[0]) if candidates else None


def _verdict(view: SummaryView | None, explanation: Explanation | None) -> tuple[str, bool | None]:
    if explanation is not None:
        return explanation.verdict, explanation.met
    if view is not None:
        return view.headline, view.met
    return "nothing was measured", None


def _origin_lines(traces: Sequence[Trace]) -> str:
    if not traces:
        return ""
    meta = traces[0].meta
    return tag("p", machine_line(meta.machine), "meta") + tag(
        "p", f"{meta.created} · framepace {meta.framepace}", "meta"
    )


def _add_comparison(document: Document, comparison: Comparison) -> None:
    """Two traces against each other."""
    view = comparison_view(comparison)
    ratios = (("B/A " + name, text) for name, text in view.ratios)
    tiers = ((f"tiers of {name}", text) for name, text in view.tiers)
    rows = pairs([("A", view.a), ("B", view.b), *ratios, *tiers])
    description = "; ".join(f"{row.name} {row.change}" for row in view.stages)
    figure = document.figure(change_figure(view.stages), description)
    head = f"<h2>B against A: {escape(view.verdict)}</h2>{tag('p', view.reason)}"
    document.add(f'<section id="comparison">{head}{rows}{figure}</section>')


def _add_sweep(document: Document, sweep: Sweep) -> None:
    """The cells of a sweep: a figure over its numeric setting, and the table."""
    view = sweep_view(sweep)
    figure = ""
    if view.axis is not None:
        figure = document.figure(sweep_figure(view), f"latency and throughput over {view.names[view.axis]}")
    rows = [(*row.settings, *((row.error,) if row.error else row.texts)) for row in view.rows]
    note = tag("p", "The sweep was interrupted; these cells are complete.") if view.interrupted else ""
    cells = grid([*view.names, *view.numbers], rows) + pairs(view.reasons)
    answers = "".join(tag("p", answer) for answer in view.answers)
    document.add(f'<section id="sweep"><h2>Sweep</h2>{note}{answers}{figure}{cells}</section>')
