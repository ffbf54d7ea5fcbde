"""An export on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from framepace.facts.exported import Exported
from framepace.reporting.terminal.layout import show_notes, table
from framepace.reporting.views.exported import COLUMNS, export_view


def show_export(out: Console, exported: Exported) -> None:
    """What was written, and what became of the plan's settings."""
    view = export_view(exported)
    out.print(Text(view.sentence))
    if view.rows:
        made = table(COLUMNS[0])
        for name in COLUMNS[1:]:
            made.add_column(name)
        for row in view.rows:
            made.add_row(*map(Text, row))
        out.print()
        out.print(made)
    if view.others:
        out.print(Text(view.others, style="dim"))
    show_notes(out, view.notes)
