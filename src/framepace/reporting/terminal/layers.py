"""The layers of one engine, or of two side by side, at 80 columns."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from framepace.facts.layers import Exploration
from framepace.reporting.terminal.layout import show_notes, table
from framepace.reporting.views.layers import LayerRow, LayersView, layers_view

SHOWN = 20
_NAME = 22  # cells of a name: what is fused is named by all it holds
_KIND = 14
# Columns of the view that 80 cells have room for.
_ONE: tuple[int, ...] = (0, 1, 2, 5, 6, 8, 10, 11)
_TWO: tuple[int, ...] = (0, 1, 4, 5, 7, 8)
_WIDTHS = {0: _NAME, 1: _KIND}
_WIDTHS_OF_TWO = {0: _NAME, 1: _NAME}


def show_exploration(out: Console, exploration: Exploration, shown: int = SHOWN) -> None:
    """The sentence, what each engine is, the slowest layers, and notes."""
    view = layers_view(exploration)
    out.print(Text(view.heading, style="bold"))
    for title in view.titles:
        out.print(Text(title, style="dim"))
    out.print()
    out.print(_table(view, shown))
    if len(view.rows) > shown:
        out.print(Text(f"and {len(view.rows) - shown:,} more", style="dim"))
    show_notes(out, view.notes)


def _table(view: LayersView, shown: int) -> Table:
    columns = _ONE
    widths = _WIDTHS
    if len(view.titles) > 1:
        columns = _TWO
        widths = _WIDTHS_OF_TWO
    made = table()
    for column in columns:
        words = column in (*widths, columns[-1])
        made.add_column(view.columns[column], justify="left" if words else "right", no_wrap=True)
    for row in view.rows[:shown]:
        made.add_row(*_cells(row, columns, widths))
    return made


def _cells(row: LayerRow, columns: tuple[int, ...], widths: dict[int, int]) -> list[Text]:
    return [Text(_shortened(row.texts[column], widths.get(column, _NAME))) for column in columns]


def _shortened(name: str, width: int) -> str:
    if len(name) <= width:
        return name
    return name[: width - 1] + "…"
