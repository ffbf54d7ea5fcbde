"""The hunt, the ranking and the mended model in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from framepace.facts.mending import Hunt, Mended, Ranking
from framepace.reporting.terminal.layout import MET_STYLES, bar, is_ascii, show_command, show_notes
from framepace.reporting.views.layers import middle_cut
from framepace.reporting.views.mending import MendingView, hunt_view, mended_view, ranking_view

_BAR = 8  # cells
_NAME = 28  # cells of a node's name
_TWO_NAMES = 22  # cells of each, where two stand in a row
_WORD = 16  # cells of an operator
_ROWS = 40
_SHOWS = 3  # the column of a second name


def show_hunt(out: Console, hunt: Hunt) -> None:
    """The first node that makes a NaN or an infinity, why, and the others."""
    _show(out, hunt_view(hunt))


def show_ranking(out: Console, ranking: Ranking) -> None:
    """The nodes that cost most, with a bar each."""
    _show(out, ranking_view(ranking))


def show_mended(out: Console, mended: Mended) -> None:
    """The nodes that stay in FP32, and how far the outputs agree with them."""
    _show(out, mended_view(mended))


def _show(out: Console, view: MendingView) -> None:
    out.print(Text(view.sentence, style=MET_STYLES[view.passed]))
    for line in view.lines:
        out.print(Text(f"  {line}"))
    if view.rows:
        out.print()
        out.print(_table(out, view))
        if len(view.rows) > _ROWS:
            out.print(Text(f"and {len(view.rows) - _ROWS:,} more (--json has all)", style="dim"))
    if view.todo:
        out.print()
        show_command(out, view.todo)
    show_notes(out, view.notes)


def _table(out: Console, view: MendingView) -> Table:
    """The rows, the first column cut in the middle where it is too long, with a bar where there are lengths."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    names = view.columns
    if view.lengths:
        names = (*names, "")
    for number, name in enumerate(names):
        made.add_column(name, justify="left" if number < 2 or not name else "right", no_wrap=True)
    for number, row in enumerate(view.rows[:_ROWS]):
        cells = [_cut(out, text, _width(view, place)) for place, text in enumerate(row)]
        if view.lengths:
            cells.append(bar(0.0, view.lengths[number], 1.0, _BAR, is_ascii(out)))
        made.add_row(*map(Text, cells))
    return made


def _cut(out: Console, text: str, width: int) -> str:
    """The text with its middle left out, where it is longer."""
    cut = middle_cut(text, width)
    return cut.replace("…", "~") if is_ascii(out) else cut


def _width(view: MendingView, column: int) -> int:
    """The most cells of a text, so that 80 columns are enough."""
    two_names = view.columns[-1] == "shows in"
    if column == 0 or (column == _SHOWS and two_names):
        return _TWO_NAMES if two_names else _NAME
    return _WORD
