"""How many hosts carry so many cameras."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from framepace.facts.fleetsize import FleetSize
from framepace.reporting.terminal.layout import MET_STYLES, show_notes, table
from framepace.reporting.views.fleetsize import fleet_view


def show_fleet(out: Console, size: FleetSize) -> None:
    """The sentence, the cost, the table, and what each kind alone would need."""
    view = fleet_view(size)
    out.print(Text(view.sentence, style=MET_STYLES[size.fits]))
    if view.cost:
        out.print(Text(view.cost, style="bold"))
    if view.rows:
        made = table(*view.columns)
        for row in view.rows:
            made.add_row(*map(Text, row))
        out.print()
        out.print(made)
        out.print()
    for line in view.alone:
        out.print(Text(line))
    show_notes(out, view.notes)
