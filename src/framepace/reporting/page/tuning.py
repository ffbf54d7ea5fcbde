"""A tuning as the terminal shows it and as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from rich.console import Console
from rich.table import Table
from rich.text import Text

from framepace.facts.summary import Summary
from framepace.facts.trace import Trace
from framepace.facts.tuning import Tuning
from framepace.reporting.page.html import Page, plan_text
from framepace.reporting.page.markup import grid, pairs, tag
from framepace.reporting.page.pareto import pareto_caption, pareto_figure
from framepace.reporting.views.measurement import machine_line
from framepace.reporting.views.tuning import COLUMNS, tuning_view

_SHOWN = 12
_MET = {True: ("good", "goal reached"), False: ("bad", "goal missed"), None: ("", "")}


def show_tuning(out: Console, tuning: Tuning) -> None:
    """The verdict, the best candidates as a table, and why the best is the best."""
    view = tuning_view(tuning)
    out.print(Text(view.sentence, style="bold green" if view.met else "bold red"))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "settings" else "right", overflow="fold")
    for row in view.rows[:_SHOWN]:
        style = "bold" if row.best else "" if row.measured else "dim"
        table.add_row(*(Text(text, style=style) for text in row.texts))
    out.print(table)
    if len(view.rows) > _SHOWN:
        out.print(Text(f"and {len(view.rows) - _SHOWN} more (--json has them)", style="dim"))
    for name, text in (*view.told, *view.failed[:3]):
        out.print(Text.assemble((f"{name}: ", "bold"), (text.splitlines()[0], "dim")))
    if view.interrupted:
        out.print(Text("interrupted: the same command goes on from here", style="yellow"))


def render_tuning(tuning: Tuning, traces: Sequence[Trace], summaries: Sequence[Summary]) -> str:
    """The whole page as text; `traces` are those of the best plan, `summaries` theirs."""
    view, page = tuning_view(tuning), Page()
    style, word = _MET[view.met]
    chip = f'<span class="chip {style}">{word}</span>' if word else ""
    where = tag("p", machine_line(traces[0].meta.machine), "meta") if traces else ""
    head = f'<p class="brand">framepace tuning{chip}</p>{tag("h1", view.sentence)}{where}'
    page.add(f'<header class="top">{head}</header>')
    figure = page.figure(pareto_figure(view), view.sentence, pareto_caption(view))
    table = grid(COLUMNS, [row.texts for row in view.rows])
    page.add(f'<section id="tuning"><h2>Candidates</h2>{pairs(view.told)}{figure}{table}{pairs(view.failed)}</section>')
    if tuning.plan is not None:
        code = escape(plan_text(tuning.plan))
        page.add(f'<section id="plan"><h2>The best plan</h2><pre><code>{code}</code></pre></section>')
    page.measurements(traces, summaries)
    return page.text("framepace tuning")
