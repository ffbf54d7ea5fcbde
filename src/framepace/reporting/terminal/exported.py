"""An export on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from framepace.facts.exported import Exported
from framepace.facts.plan import Plan
from framepace.reporting.terminal.layout import show_notes, show_paths, table
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


def show_import(out: Console, plan: Plan, notes: Sequence[str], path: str) -> None:
    """Which models the plan has, what it cannot say, and where it is."""
    out.print(Text(f"{', '.join(plan.names)}: {path}"))
    show_notes(out, notes)
    show_paths(out, {"plan": f"framepace plan show {path}", "explain": f"framepace explain {path} --fps 30"})
