"""How many cameras a plan carries."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from framepace.facts.capacity import Capacity
from framepace.reporting.terminal.layout import MET_STYLES, show_notes
from framepace.reporting.views.capacity import COLUMNS, MEASURED_COLUMNS, CapacityView, capacity_view

_HOLDS_STYLES = {True: "green", False: "red", None: "dim"}
_COLOURED = 3  # columns that say whether a count holds


def show_capacity(out: Console, capacity: Capacity) -> None:
    """The sentence, what limits, and the table."""
    view = capacity_view(capacity)
    out.print(Text(view.sentence, style=MET_STYLES[capacity.fits]))
    if view.limit:
        out.print(Text(view.limit, style="bold"))
    if view.rows:
        out.print()
        out.print(_rows(view))
    show_notes(out, view.notes)


def _rows(view: CapacityView) -> Table:
    names = COLUMNS if view.predicted else COLUMNS[:MEASURED_COLUMNS]
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in names:
        made.add_column(name, justify="right", no_wrap=True)
    for row in view.rows:
        styles = [_HOLDS_STYLES[row.holds]] * _COLOURED + [""] * (len(names) - _COLOURED)
        made.add_row(*(Text(text, style=style) for text, style in zip(row.texts, styles, strict=False)))
    return made
