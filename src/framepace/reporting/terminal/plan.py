"""A plan, part by part."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from framepace.reporting.views.plan import PlanLine, PlanPart, PlanView


def show_plan(out: Console, view: PlanView) -> None:
    """A line per setting that is not the default, with its reason below."""
    for part in view.parts:
        out.print(Text.assemble((part.name, "bold"), (f"  {part.title}", "dim")))
        out.print(_lines(part) if part.lines else Text("  all defaults", "dim"))
        out.print()
    out.print(_origin(view))
    if view.warning:
        out.print(Text.assemble(("warning: ", "bold yellow"), view.warning))


def _lines(part: PlanPart) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 2))
    for line in part.lines:
        grid.add_row(Text(f"{line.setting or line.field}={line.value}", "green"), _words(line))
    return grid


def _words(line: PlanLine) -> Text:
    words = Text(line.help)
    if line.default:
        words.append(f"; default {line.default}", "dim")
    if line.why:
        words.append(f"\n{line.why}", "dim")
    return words


def _origin(view: PlanView) -> Table:
    """The plan's target, machine and traces."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_row(Text("target", "bold"), Text(view.target))
    grid.add_row(Text("machine", "bold"), Text(view.machine))
    grid.add_row(Text("traces", "bold"), Text(", ".join(view.traces) or "none"))
    return grid
