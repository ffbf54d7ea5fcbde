"""What a program's stages consist of, as people read it."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from framepace.facts.plan import Plan
from framepace.facts.program import Program
from framepace.reporting.terminal.layout import table
from framepace.reporting.views.parts import COLUMNS, parts_rows


def show_parts(out: Console, subject: Plan | Program) -> None:
    """The largest parts of a program that was observed; nothing for a plan, or where none was seen."""
    if isinstance(subject, Plan) or not subject.parts:
        return
    made = table(*COLUMNS)
    made.columns[1].justify = "left"
    for row in parts_rows(subject):
        made.add_row(*map(Text, row))
    out.print()
    out.print(made)
