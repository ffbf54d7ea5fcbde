"""A tuning: the best plan that was found, and what else was tried."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from framepace.facts.tuning import Tuning
from framepace.reporting.views.tuning import COLUMNS, TunedRow, tuning_view

_ROWS_SHOWN = 12
_FAILURES_SHOWN = 3


def show_tuning(out: Console, tuning: Tuning) -> None:
    """The verdict, the best candidates as a table, and why the best is the best."""
    view = tuning_view(tuning)
    out.print(Text(view.sentence, style="bold green" if view.met else "bold red"))
    out.print(_candidates(view.rows[:_ROWS_SHOWN]))
    if len(view.rows) > _ROWS_SHOWN:
        out.print(Text(f"and {len(view.rows) - _ROWS_SHOWN} more (--json has them)", style="dim"))
    for name, text in (*view.facts, *view.failed[:_FAILURES_SHOWN]):
        out.print(Text.assemble((f"{name}: ", "bold"), (text.splitlines()[0], "dim")))
    if view.interrupted:
        out.print(Text("interrupted: run the same command to continue", style="yellow"))


def _candidates(rows: Sequence[TunedRow]) -> Table:
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in COLUMNS:
        made.add_column(name, justify="left" if name == "settings" else "right", overflow="fold")
    for row in rows:
        made.add_row(*(Text(text, style=_style(row)) for text in row.texts))
    return made


def _style(row: TunedRow) -> str:
    if row.best:
        return "bold"
    return "" if row.measured else "dim"
