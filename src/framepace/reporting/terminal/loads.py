"""Tables of loads on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from framepace.facts.loads import LoadComparison, LoadExplanation
from framepace.reporting.terminal.layout import indent, pairs, show_notes, table
from framepace.reporting.views.loads import CHANGES, loads_comparison_view, loads_view


def show_loads(out: Console, explanation: LoadExplanation) -> None:
    """The best load, where more brings no more, the table, and what would decide why."""
    view = loads_view(explanation)
    out.print(Text(view.sentence, style="bold"))
    if view.knee:
        out.print(Text(view.knee))
    _show_rows(out, view.names, view.rows)
    if explanation.suspected:
        out.print(Text("suspected, not proven; what would decide"))
    for one in explanation.suspected:
        out.print(indent(Text(one.title)))
        out.print(indent(indent(pairs([("because", one.because), ("run", one.command), ("shows", one.decides)]))))
    show_notes(out, view.notes)


def show_loads_comparison(out: Console, comparison: LoadComparison) -> None:
    """What changed at each load."""
    view = loads_comparison_view(comparison)
    out.print(Text(view.sentence, style="bold"))
    _show_rows(out, CHANGES, view.rows)
    show_notes(out, view.notes)


def _show_rows(out: Console, names: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> None:
    made = table(*names)
    for row in rows:
        made.add_row(*map(Text, row))
    out.print()
    out.print(made)
    out.print()
