"""The cells of a sweep as a table that fits the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from framepace.facts.sweep import Sweep
from framepace.reporting.terminal.layout import columns, show_notes, table
from framepace.reporting.views.sweep import PLACE, CellRow, SweepView, sweep_view

_BRIGHT = ("p50", "p99", "fps", "settled", "back to back")
_LEAST_WANTED = ("CPU per frame", "over budget")
_TWO_LINES = {"back to back": "back to\nback", "gap costs": "gap\ncosts"}
_PADDING = 2  # cells after each column


def show_sweep(out: Console, sweep: Sweep) -> None:
    """What the cells say together, then a row per cell; a cell that failed shows its error instead of numbers.

    Where the terminal is too narrow for all numbers, the last ones are left out, and named.
    """
    view = sweep_view(sweep)
    _show_answers(out, view)
    shown = _fitting(view, out.width)
    out.print(_cells(view, shown))
    hidden = [name for name in view.numbers if name not in shown]
    if hidden:
        out.print(Text(f"no room for: {', '.join(hidden)} (a wider terminal or --json has them)", style="dim"))
    _show_errors(out, view)
    show_notes(out, view.notes)
    if view.interrupted:
        out.print(
            Text(
                "interrupted: the cells above are complete; run the command with --out and their folder to continue",
                style="yellow",
            )
        )


def _show_answers(out: Console, view: SweepView) -> None:
    _show_reasons(out, view.reasons)
    for answer in view.answers:
        out.print(Text(answer, style="bold"))
    if view.reasons or view.answers:
        out.print()


def _cells(view: SweepView, shown: Sequence[str]) -> Table:
    made = table()
    for name in view.names:
        made.add_column(Text(name), justify="right", no_wrap=True)
    for name in shown:
        made.add_column(_header(name), justify="right", no_wrap=True, style=None if name in _BRIGHT else "dim")
    for row in view.rows:
        texts = dict(zip(view.numbers, _number_texts(row), strict=True))
        style = _style(row)
        made.add_row(*map(Text, row.settings), *(Text(texts[name], style=style) for name in shown))
    return made


def _number_texts(row: CellRow) -> Sequence[str]:
    if row.error:
        return ("failed", *row.texts[1:])
    return row.texts


def _style(row: CellRow) -> str:
    if row.error or row.met is False:
        return "red"
    return "green" if row.met else ""


def _fitting(view: SweepView, width: int) -> list[str]:
    """The numbers that fit beside the settings, in their order; those of the device before the least wanted."""
    free = width - sum(_width(name, [row.settings[i] for row in view.rows]) for i, name in enumerate(view.names))
    chosen = []
    for name in sorted(view.numbers, key=lambda name: (name != PLACE, name in _LEAST_WANTED)):
        column = view.numbers.index(name)
        free -= _width(name, [row.texts[column] for row in view.rows])
        if free < 0:
            break
        chosen.append(name)
    return [name for name in view.numbers if name in chosen]


def _header(name: str) -> str:
    """The head of a column, in two lines where the numbers below it are short."""
    return _TWO_LINES.get(name, name)


def _width(name: str, texts: Iterable[str]) -> int:
    """Cells of a column."""
    return max(*map(len, _header(name).split("\n")), *map(len, texts), 0) + _PADDING


def _show_errors(out: Console, view: SweepView) -> None:
    for row in view.rows:
        if row.error:
            settings = " ".join(f"{name}={value}" for name, value in zip(view.names, row.settings, strict=True))
            out.print(Text.assemble((settings, "bold"), "  ", (row.error, "red")))


def _show_reasons(out: Console, reasons: Sequence[tuple[str, str]]) -> None:
    if not reasons:
        return
    grid = columns("ll")
    for name, text in reasons:
        grid.add_row(Text(name, style="bold"), Text(text))
    out.print(grid)
