"""A tuning as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from framepace.facts.summary import Summary
from framepace.facts.trace import Trace
from framepace.facts.tuning import Tuning
from framepace.reporting.page.document import Document
from framepace.reporting.page.markup import chip, grid, pairs, tag
from framepace.reporting.page.measurement import add_measurements
from framepace.reporting.page.origin import subject_text
from framepace.reporting.page.pareto import pareto_caption, pareto_figure
from framepace.reporting.views.machine import machine_line
from framepace.reporting.views.tuning import COLUMNS, TuningView, tuning_view

_MET = {True: ("good", "goal reached"), False: ("bad", "goal missed"), None: ("", "")}


def render_tuning(tuning: Tuning, traces: Sequence[Trace], summaries: Sequence[Summary]) -> str:
    """The whole page as text; `traces` and their `summaries` belong to the best plan."""
    document = Document()
    view = tuning_view(tuning)
    document.add(_header(view, traces))
    figure = document.figure(pareto_figure(view), view.sentence, pareto_caption(view))
    candidates = grid(COLUMNS, [row.texts for row in view.rows])
    parts = f"{pairs(view.facts)}{figure}{candidates}{pairs(view.failed)}"
    document.add(f'<section id="tuning"><h2>Candidates</h2>{parts}</section>')
    if tuning.plan is not None:
        code = escape(subject_text(tuning.plan))
        document.add(f'<section id="plan"><h2>The best plan</h2><pre><code>{code}</code></pre></section>')
    add_measurements(document, traces, summaries)
    return document.text("framepace tuning")


def _header(view: TuningView, traces: Sequence[Trace]) -> str:
    machine = tag("p", machine_line(traces[0].meta.machine), "meta") if traces else ""
    brand = f'<p class="brand">framepace tuning{chip(*_MET[view.met])}</p>'
    return f'<header class="top">{brand}{tag("h1", view.sentence)}{machine}</header>'
