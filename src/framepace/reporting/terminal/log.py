"""A log of another program as people read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.text import Text

from framepace.facts.log import LogExplanation, Suspected
from framepace.reporting.terminal.layout import columns, indent, show_paths, table
from framepace.reporting.terminal.measurement import show_summary
from framepace.reporting.views.log import BESIDE_COLUMNS, SUSPECTED_TITLE, LogView, log_view, suspected_name


def show_log(out: Console, explanation: LogExplanation, paths: Mapping[str, str] | None = None) -> None:
    """How it was read, its numbers, late frames, what goes with them, and what would decide; then the files."""
    view = log_view(explanation)
    out.print(Text(view.source, style="dim"))
    out.print(Text(view.columns, style="dim"))
    out.print()
    out.print(Text(view.first, style="bold"))
    show_summary(out, explanation.summary)
    for part in _parts(view):
        out.print()
        out.print(part)
    show_paths(out, paths or {})


def _parts(view: LogView) -> Iterator[RenderableType]:
    late = [*view.late, view.budget_hint]
    yield Group(Text("late frames", style="bold"), *(indent(Text(line)) for line in late if line))
    if view.beside:
        made = table(*BESIDE_COLUMNS)
        for row in view.beside:
            made.add_row(*map(Text, row))
        yield made
    yield suspected_group(view.suspected)


def suspected_group(suspected: Sequence[Suspected]) -> RenderableType:
    """What is suspected, why, and what would decide."""
    return Group(Text(SUSPECTED_TITLE, style="bold"), *map(_one, suspected))


def _one(one: Suspected) -> RenderableType:
    return indent(Group(Text(suspected_name(one), style="bold"), indent(_rows(one))))


def _rows(one: Suspected) -> RenderableType:
    grid = columns("ll")
    for name, text, style in (("because", one.because, ""), ("run", one.command, "green"), ("shows", one.decides, "")):
        grid.add_row(Text(name, style="dim"), Text(text, style=style))
    return grid
