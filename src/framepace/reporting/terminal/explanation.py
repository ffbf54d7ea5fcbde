"""An explanation as people read it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from framepace.facts.bounds import Bound
from framepace.facts.finding import Explanation
from framepace.facts.machine import Machine
from framepace.reporting.terminal.layout import (
    BAR,
    MET_STYLES,
    bar,
    columns,
    indent,
    is_ascii,
    pairs,
    show_notes,
    show_paths,
)
from framepace.reporting.terminal.measurement import show_machine
from framepace.reporting.views.expectation import ExpectationView
from framepace.reporting.views.explanation import NO_CAUSE, ExplanationView, PartRow, explanation_view, listed, proven
from framepace.reporting.views.finding import FindingView
from framepace.reporting.views.roofline import floor_views
from framepace.reporting.views.tried import TRIED_TITLE

_SEVERITY_STYLES = {"high": "bold red", "medium": "yellow", "low": "cyan", "info": "dim"}
_STEP_STYLES = {"real": "bold red", "load": "yellow", "left out": "cyan"}


class _RowStyle(NamedTuple):
    name: str
    number: str
    bar: str


_TOTAL_STYLE = _RowStyle("", "", "blue")
_PART_STYLE = _RowStyle("dim", "bold", "magenta")
_NARROWEST_BAR = 8
_PADDING = 8  # cells between and around the columns of the account


def show_explanation(
    out: Console, explanation: Explanation, machine: Machine | None = None, paths: Mapping[str, str] | None = None
) -> None:
    """An explanation in the order people read it: machine, verdict, account, findings worst first, the rest, paths.

    `paths` names what was written and the next command ('report' -> path), shown last and never wrapped.
    """
    view = explanation_view(explanation)
    if machine is not None:
        show_machine(out, machine)
        out.print()
    _show_verdict(out, view)
    for part in _numbers(view, explanation.bounds, out):
        out.print()
        out.print(part)
    out.print()
    for part in _findings(view, is_ascii(out)):
        out.print(part)
    _show_tried(out, view)
    show_notes(out, view.notes)
    show_paths(out, paths or {})


def _show_tried(out: Console, view: ExplanationView) -> None:
    """The remedies of a model that takes the time itself, where something was tried."""
    if view.tried:
        out.print()
        out.print(Group(Text(TRIED_TITLE, style="bold"), indent(pairs(view.tried))))


def _show_verdict(out: Console, view: ExplanationView) -> None:
    out.print(Text(view.verdict, style=MET_STYLES[view.met]))
    out.print(Text(view.limit, style="bold"))
    for line in view.answers:
        out.print(Text(line))


def _numbers(view: ExplanationView, bounds: Sequence[Bound], out: Console) -> Iterator[RenderableType]:
    yield _account(view, out)
    if view.late:
        yield Group(Text("late frames", style="bold"), *(indent(Text(line)) for line in view.late))
    if view.what_if:
        yield Group(Text("what a millisecond is worth", style="bold"), *(indent(Text(line)) for line in view.what_if))
    if view.expectation is not None:
        yield _expectation(view.expectation)
    if bounds:
        yield _floors(bounds)


def _account(view: ExplanationView, out: Console) -> RenderableType:
    scale = max((row.end for row in view.account), default=0)
    width = _bar_width(view.account, out.width)
    grid = columns("lrll")
    for row in view.account:
        style = _TOTAL_STYLE if row.total else _PART_STYLE
        drawn = Text(bar(row.start, row.end, scale, width, is_ascii(out)), style.bar)
        grid.add_row(Text(_part_name(row), style.name), Text(row.text, style.number), drawn, Text(row.interval, "dim"))
    return Group(_account_title(view), indent(grid))


def _account_title(view: ExplanationView) -> Text:
    return Text.assemble(("where the time goes", "bold"), (f"  {view.unexplained} unexplained", "dim"))


def _bar_width(rows: Sequence[PartRow], width: int) -> int:
    """The width left over by the words of the widest rows, within limits."""
    texts = [(_part_name(row), row.text, row.interval) for row in rows]
    words = sum(max(map(len, column)) for column in zip(*texts, strict=True))
    return max(_NARROWEST_BAR, min(BAR, width - _PADDING - words))


def _part_name(row: PartRow) -> str:
    return row.name if row.total else f"  {row.name}"


def _floors(bounds: Sequence[Bound]) -> RenderableType:
    """How many times the least possible each model takes, a line each."""
    rows = pairs((view.model, view.text) for view in floor_views(bounds))
    return Group(Text("how far from the floor", style="bold"), indent(rows))


def _expectation(view: ExpectationView) -> RenderableType:
    grid = columns("llrl")
    first, *steps, last = view.rows
    _add_number(grid, first)
    for name, kind, text, how in steps:
        kind_text = Text(kind, _STEP_STYLES.get(kind, ""))
        grid.add_row(Text(f"  {name}", "dim"), kind_text, Text(text, "bold"), Text(how, "dim"))
    _add_number(grid, last)
    return Group(Text(view.sentence, "bold"), indent(grid))


def _add_number(grid: Table, row: tuple[str, str, str, str]) -> None:
    """The tool's number, or the stream's."""
    name, kind, text, how = row
    grid.add_row(Text(name), Text(kind), Text(text), Text(how, "dim"))


def _findings(view: ExplanationView, ascii_only: bool) -> Iterable[RenderableType]:
    if view.causes:
        yield Text(proven(view.causes), style="bold")
    else:
        yield Text(f"no cause found: {NO_CAUSE[view.has_trials]}", style=MET_STYLES[view.met])
    for number, finding in enumerate(view.causes):
        yield indent(_finding(finding, ascii_only), above=min(number, 1))
    others = list(_others(view))
    if others and view.causes:
        yield ""
    yield from others


def _finding(finding: FindingView, ascii_only: bool) -> RenderableType:
    severity = (finding.severity, _SEVERITY_STYLES.get(finding.severity, ""))
    head = Text.assemble((f"{finding.code} ", "bold"), (finding.title, "bold"), "  ", severity)
    grid = columns("ll")
    for name, text, style in _finding_rows(finding, ascii_only):
        if text:
            grid.add_row(Text(name, style="dim"), Text(text, style=style))
    return Group(head, indent(Group(Text(finding.summary, style="dim"), grid)))


def _finding_rows(finding: FindingView, ascii_only: bool) -> Iterator[tuple[str, str, str]]:
    """Name, text and style."""
    if finding.before:
        arrow = "->" if ascii_only else "→"
        yield finding.metric, f"{finding.before} {arrow} {finding.after}  {finding.moved}", "bold"
    yield "tried", finding.tested, "dim"
    yield "setting", finding.setting, "green"
    yield "do", finding.remedy, ""
    yield "run", finding.command, "green"
    yield "undo", finding.undo, "dim"
    yield "cost", finding.cost, "yellow"
    yield "gain", finding.gain, ""


def _others(view: ExplanationView) -> Iterator[RenderableType]:
    """Undecided, ruled out and not tested, in one dim line each."""
    if view.undecided:
        yield Text(f"undecided: {listed(view.undecided)}", style="dim")
    if view.refuted:
        names = "; ".join(f"{finding.code} {finding.title}" for finding in view.refuted)
        yield Text(f"ruled out: {names}", style="dim")
    if view.not_tested:
        reasons = "; ".join(f"{code} {reason}" for code, reason in view.not_tested)
        yield Text(f"not tested: {reasons}", style="dim")
