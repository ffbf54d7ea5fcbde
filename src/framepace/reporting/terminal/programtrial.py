"""Trials in a user's own program, as people read them."""

from __future__ import annotations

from rich.console import Console, RenderableType
from rich.text import Text

from framepace.facts.programtrial import ProgramExplanation
from framepace.reporting.terminal.layout import show_notes, table
from framepace.reporting.terminal.log import suspected_group
from framepace.reporting.terminal.measurement import show_summary
from framepace.reporting.views.programtrial import COLUMNS, ProgramView, program_view


def show_program(out: Console, explanation: ProgramExplanation, command: str) -> None:
    """The headline, the settings, what to do, what is suspected, and the program's numbers as it is."""
    view = program_view(explanation)
    out.print(Text(view.headline, style="bold"))
    out.print()
    if view.rows:
        out.print(_rows(view))
    for remedy in view.remedies:
        out.print()
        out.print(Text(remedy.text))
        if remedy.setting:
            launch = f"  or run it so: framepace launch --set {remedy.setting} -- {command}"
            out.print(Text(launch, style="green"), soft_wrap=True)
    if view.suspected:
        out.print()
        out.print(suspected_group(view.suspected))
    out.print()
    show_summary(out, explanation.summary)
    for error in view.errors:
        out.print(Text(error, style="red"))
    show_notes(out, view.notes)


def _rows(view: ProgramView) -> RenderableType:
    rows = table(*COLUMNS)
    for row in view.rows:
        rows.add_row(*map(Text, row))
    return rows
