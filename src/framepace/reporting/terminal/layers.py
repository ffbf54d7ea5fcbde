"""The layers of one engine, or of two side by side, in a table that fits the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from framepace.facts.layers import Exploration
from framepace.reporting.terminal.layout import show_notes, table
from framepace.reporting.views.layers import LayerRow, LayersView, layers_view, middle_cut, plain_name

SHOWN = 20
_NAMES = {"layer": 44, "layer of A": 32, "layer of B": 32}  # cells for a name, before others get any
_LONGEST_WORD = 14  # cells of an operation
_ALWAYS = ("layer", "operation", "time", "share", "x floor", "limit", "layer of A", "layer of B", "A", "B", "B/A")
_AS_FITS = ("moved", "precision", "operations", "floor", "on", "output", "B - A", "matched by", "operation")
_WORDS = (*_NAMES, "operation", "precision", "on", "output", "limit", "matched by")
_PADDING = 2  # cells after each column


def show_exploration(out: Console, exploration: Exploration, shown: int = SHOWN) -> None:
    """The sentence, what each engine is, the slowest layers, and notes.

    Where the terminal is too narrow for all columns, some are left out, and named; numbers are never cut.
    """
    view = layers_view(exploration)
    out.print(Text(view.heading, style="bold"))
    for title in view.titles:
        out.print(Text(title, style="dim"))
    show_notes(out, view.notes)
    out.print()
    _show_table(out, view, view.rows[:shown])
    if len(view.rows) > shown:
        out.print(Text(f"and {len(view.rows) - shown:,} more", style="dim"))


def _show_table(out: Console, view: LayersView, rows: Sequence[LayerRow]) -> None:
    filled = [column for column in range(len(view.columns)) if any(row.texts[column] for row in rows)]
    shown = _fitting(view, rows, filled, out.width)
    out.print(_table(view, rows, shown, out.width))
    hidden = [view.columns[column] for column in filled if column not in shown]
    if hidden:
        out.print(Text(f"no room for: {', '.join(hidden)} (a wider terminal, --out or --json)", style="dim"))


def _fitting(view: LayersView, rows: Sequence[LayerRow], filled: Sequence[int], width: int) -> list[int]:
    """The columns that the terminal has room for, of those in which something stands."""
    chosen = [column for column in filled if view.columns[column] in _ALWAYS and not _waits(view, column)]
    for name in _AS_FITS:
        column = _position(view, name)
        if column not in filled or column in chosen:
            continue
        if _width(view, rows, [*chosen, column]) <= width:
            chosen.append(column)
    return sorted(chosen)


def _waits(view: LayersView, column: int) -> bool:
    """Whether a column that one engine always has gives way to the two names of two."""
    return len(view.titles) > 1 and view.columns[column] == "operation"


def _position(view: LayersView, name: str) -> int:
    if name not in view.columns:
        return -1
    return view.columns.index(name)


def _width(view: LayersView, rows: Sequence[LayerRow], columns: Sequence[int]) -> int:
    cells = sum(min(_longest(view, rows, column), _limit(view.columns[column])) for column in columns)
    return cells + _PADDING * (len(columns) - 1)


def _longest(view: LayersView, rows: Sequence[LayerRow], column: int) -> int:
    name = view.columns[column]
    return max(cell_len(text) for text in (name, *(_text(row, column, name) for row in rows)))


def _text(row: LayerRow, column: int, name: str) -> str:
    if name == "layer of B" and row.texts[column] == row.texts[column - 1]:
        return "same"
    if name in _NAMES:
        return plain_name(row.texts[column])
    return row.texts[column]


def _limit(name: str) -> int:
    """The cells of a column's longest text; what is a number has as many as it needs."""
    if name in _NAMES:
        return _NAMES[name]
    return _LONGEST_WORD if name in _WORDS else 80


def _table(view: LayersView, rows: Sequence[LayerRow], shown: Sequence[int], width: int) -> Table:
    made = table()
    for column in shown:
        name = view.columns[column]
        made.add_column(name, justify="left" if name in _WORDS else "right", no_wrap=True)
    cells = {column: _limit(view.columns[column]) for column in shown} | _name_cells(view, rows, shown, width)
    for row in rows:
        made.add_row(*(Text(middle_cut(_text(row, column, view.columns[column]), cells[column])) for column in shown))
    return made


def _name_cells(view: LayersView, rows: Sequence[LayerRow], shown: Sequence[int], width: int) -> dict[int, int]:
    """Cells of each column of names: names that are cut share what is left, and all give what is missing."""
    columns = [column for column in shown if view.columns[column] in _NAMES]
    room = width - _width(view, rows, shown)
    if room >= 0:
        columns = [column for column in columns if _is_cut(view, rows, column)]
    spare = room // max(1, len(columns))
    return {column: min(_longest(view, rows, column), _limit(view.columns[column])) + spare for column in columns}


def _is_cut(view: LayersView, rows: Sequence[LayerRow], column: int) -> bool:
    return _longest(view, rows, column) > _limit(view.columns[column])
