"""How far two ways to run a model agree."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from framepace.facts.accuracy import AccuracyCheck
from framepace.reporting.terminal.layout import MET_STYLES, show_command, show_notes
from framepace.reporting.views.accuracy import COLUMNS, AccuracyView, accuracy_view


def show_accuracy(out: Console, check: AccuracyCheck) -> None:
    """The sentence, why, the metric, a row per output, and the worst frames."""
    view = accuracy_view(check)
    out.print(Text(view.sentence, style=MET_STYLES[view.passed]))
    for reason in view.why:
        out.print(Text(f"  {reason}"))
    if view.metric:
        out.print(Text(view.metric))
    out.print()
    out.print(_rows(view))
    for frame in view.worst:
        out.print(Text(f"worst: {frame}"))
    show_notes(out, view.notes)
    if view.todo:
        out.print(Text("which nodes break it:"))
        show_command(out, view.todo)


def _rows(view: AccuracyView) -> Table:
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for number, name in enumerate(COLUMNS):
        made.add_column(name, justify="right" if number else "left", no_wrap=number > 0, overflow="fold")
    for row in view.rows:
        made.add_row(*map(Text, row))
    return made
