"""Two traces against each other."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from framepace.facts.summary import Comparison
from framepace.reporting.terminal.layout import BAR, bar, columns, indent, is_ascii, pairs, table
from framepace.reporting.views.comparison import ChangeRow, ComparisonView, comparison_view

_VERDICT_STYLES = {"faster": "bold green", "slower": "bold red", "same": "bold", "undecided": "bold yellow"}


def show_comparison(out: Console, comparison: Comparison) -> None:
    """The verdict, the ratios, the reason, and the change stage by stage."""
    view = comparison_view(comparison)
    _show_differences(out, view)
    ratios = ", ".join(f"{name} {text}" for name, text in view.ratios)
    out.print(Text.assemble((view.verdict, _VERDICT_STYLES.get(view.verdict, "bold")), f"  B/A: {ratios}"))
    out.print(Text(view.reason))
    out.print(Text(f"A {view.a}\nB {view.b}", style="dim"), soft_wrap=True)
    if view.tiers:
        out.print()
        out.print(pairs((f"tiers of {name}", text) for name, text in view.tiers))
    if view.stages:
        out.print()
        out.print(indent(_changes(view.stages, is_ascii(out))))
    if view.layers:
        out.print()
        out.print(_layers(view))


def _show_differences(out: Console, view: ComparisonView) -> None:
    """What is not the same in the two, before the verdict on their latencies."""
    if not view.differences:
        out.print(Text(view.nothing_differs, style="dim"))
        return
    grid = columns("lll")
    grid.add_row(Text("differs", style="dim"), Text("A", style="dim"), Text("B", style="dim"))
    for row in view.differences:
        grid.add_row(*map(Text, row))
    out.print(grid)
    out.print()


def _layers(view: ComparisonView) -> Table:
    made = table("layers that changed most", "A", "B", "change")
    for row in view.layers:
        made.add_row(*map(Text, row))
    return made


def _changes(rows: Sequence[ChangeRow], ascii_only: bool) -> Table:
    largest = max(abs(row.ns) for row in rows)
    grid = columns("lrl")
    for row in rows:
        style = "red" if row.ns > 0 else "green"
        grid.add_row(Text(row.name), row.change, Text(bar(0, abs(row.ns), largest, BAR, ascii_only), style=style))
    return grid
