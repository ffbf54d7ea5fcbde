"""A verification on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from framepace.facts.verified import Verification
from framepace.reporting.terminal.layout import MET_STYLES, show_notes, table
from framepace.reporting.views.verified import COLUMNS, verification_view


def show_verification(out: Console, result: Verification) -> None:
    """Whether the answers are the same, both sides in a table, and what differs."""
    view = verification_view(result)
    out.print(Text(view.sentence, style=MET_STYLES[view.passed]))
    for reason in view.why:
        out.print(Text(f"  {reason}"))
    if view.rows:
        made = table(*COLUMNS)
        for row in view.rows:
            made.add_row(*map(Text, row))
        out.print()
        out.print(made)
        out.print()
    if view.largest:
        out.print(Text(view.largest))
    for line in view.batches:
        out.print(Text(line))
    show_notes(out, view.notes)
