"""What people read in a terminal: dense, aligned, and the same words without colour, piped, or at 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import IO

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from framepace.facts.bounds import Bound
from framepace.facts.check import Check
from framepace.facts.finding import Explanation
from framepace.facts.machine import Machine
from framepace.facts.model import Layer
from framepace.facts.summary import Comparison, Summary
from framepace.facts.sweep import Sweep
from framepace.reporting.views.device import LAYERS_SHOWN, layer_rows
from framepace.reporting.views.expectation import ExpectationView
from framepace.reporting.views.explanation import ExplanationView, FindingView, PartRow, explanation_view
from framepace.reporting.views.measurement import ModelView, comparison_view, machine_line, summary_view
from framepace.reporting.views.roofline import floor_views
from framepace.reporting.views.sweep import SweepView, sweep_view

_NAME = 48  # cells of a layer's name: fused layers are named by all they hold
BAR = 24  # cells of a bar; leaves room for name, value and interval at 80 columns
_EIGHTHS = " ▏▎▍▌▋▊▉"
_STYLES = {"high": "bold red", "medium": "yellow", "low": "cyan", "info": "dim"}
_STATES = {"ok": "green", "warn": "yellow", "bad": "bold red", "info": "dim"}
_KINDS = {"real": "bold red", "load": "yellow", "left out": "cyan"}
_VERDICTS = {"faster": "bold green", "slower": "bold red", "same": "bold", "undecided": "bold yellow"}


def console(file: IO[str] | None = None) -> Console:
    """A console that prints names from outside as they are: no markup, no emoji, no guessed highlighting."""
    return Console(file=file, markup=False, emoji=False, highlight=False)


def show_machine(out: Console, machine: Machine) -> None:
    """One line on the machine."""
    out.print(Text(machine_line(machine), style="dim"))


def show_summary(out: Console, summary: Summary) -> None:
    """A trace in numbers: the sentence, key numbers, then each model with percentiles, stages, tiers and outliers."""
    view = summary_view(summary)
    out.print(Text(view.sentence, style=_met_style(view.met)))
    out.print(Columns([Text(f"{name} {text}", style="dim") for name, text in view.numbers], padding=(0, 2)))
    for model in view.models[:1]:
        out.print()
        out.print(_model(model, out))
    if len(view.models) > 1:
        out.print()
        out.print(_models(view.models[1:], out))
    if view.devices:
        out.print()
        out.print(_pairs(view.devices))
    _notes(out, view.notes)


def show_layers(out: Console, layers: Mapping[str, Sequence[Layer]]) -> None:
    """The slowest layers of each model, as its library runs them."""
    for model, found in layers.items():
        table = _table(f"layer of {model}")
        for name in ("kind", "on", "time", "share"):
            table.add_column(name, justify="left" if name in ("kind", "on") else "right", no_wrap=True)
        for name, *rest in layer_rows(found):
            table.add_row(Text(name if len(name) <= _NAME else name[: _NAME - 1] + "…"), *rest)
        out.print()
        out.print(table)
        if len(found) > LAYERS_SHOWN:
            out.print(Text(f"and {len(found) - LAYERS_SHOWN:,} more", style="dim"))


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
    out.print(Text(view.verdict, style=_met_style(view.met)))
    out.print(Text(view.limit, style="bold"))
    out.print()
    out.print(_account(view, out))
    out.print()
    if view.expectation is not None:
        out.print(_expectation(view.expectation))
        out.print()
    if explanation.bounds:
        out.print(_floors(explanation.bounds))
        out.print()
    for part in _findings(view, out):
        out.print(part)
    _notes(out, view.notes)
    show_paths(out, paths or {})


def show_paths(out: Console, paths: Mapping[str, str]) -> None:
    """Where things were written, one a line, never wrapped so that they can be copied."""
    if paths:
        out.print()
    width = max((len(name) for name in paths), default=0)
    for name, path in paths.items():
        out.print(Text.assemble((f"{name:<{width}}  ", "dim"), path), soft_wrap=True)


def show_comparison(out: Console, comparison: Comparison) -> None:
    """Two traces against each other: the verdict, the ratios, the reason, and the change stage by stage."""
    view = comparison_view(comparison)
    ratios = ", ".join(f"{name} {text}" for name, text in view.ratios)
    out.print(Text.assemble((view.verdict, _VERDICTS.get(view.verdict, "bold")), f"  B/A: {ratios}"))
    out.print(Text(view.reason))
    out.print(Text(f"A {view.a}\nB {view.b}", style="dim"), soft_wrap=True)
    largest = max((abs(row.ns) for row in view.stages), default=0)
    table = _grid("left", "right", "left")
    for row in view.stages:
        drawn = bar(0, abs(row.ns), largest, BAR, _ascii(out))
        table.add_row(Text(row.name), row.change, Text(drawn, style="red" if row.ns > 0 else "green"))
    if view.stages:
        out.print()
        out.print(_indent(table))


def show_sweep(out: Console, sweep: Sweep) -> None:
    """The cells of a sweep as a table; a cell that failed shows its error in place of numbers.

    Where the terminal is too narrow for all numbers, the last ones are left out, and named.
    """
    view = sweep_view(sweep)
    shown = _fitting(view, out.width)
    table = _table()
    for name in view.names:
        table.add_column(Text(name), justify="right", no_wrap=True)
    for name in shown:
        table.add_column(name, justify="right", no_wrap=True, style=None if name in ("p50", "p99", "fps") else "dim")
    for row in view.rows:
        texts = ("failed", *row.texts[1:]) if row.error else row.texts
        style = "red" if row.error or row.met is False else "green" if row.met else ""
        told = (Text(t, style=style) for name, t in zip(view.numbers, texts, strict=True) if name in shown)
        table.add_row(*map(Text, row.settings), *told)
    out.print(table)
    if len(shown) < len(view.numbers):
        hidden = ", ".join(name for name in view.numbers if name not in shown)
        out.print(Text(f"no room for: {hidden} (a wider terminal or --json has them)", style="dim"))
    for row in view.rows:
        if row.error:
            named = " ".join(f"{n}={v}" for n, v in zip(view.names, row.settings, strict=True))
            out.print(Text.assemble((named, "bold"), "  ", (row.error, "red")))
    if view.reasons:
        table = _grid("left", "left")
        for name, text in view.reasons:
            table.add_row(Text(name, style="bold"), Text(text, style="dim"))
        out.print()
        out.print(table)
    if view.interrupted:
        out.print(Text("interrupted: the cells above are complete; the same command goes on from here", style="yellow"))


def _fitting(view: SweepView, width: int) -> list[str]:
    """The numbers that fit beside the settings, in their order; those of the device before CPU time and misses."""
    columns = [(n, [row.settings[i] for row in view.rows]) for i, n in enumerate(view.names)]
    left = width - sum(_cells(name, texts) for name, texts in columns)
    last = ("CPU a frame", "over budget")
    order = [n for n in view.numbers if n not in last] + [n for n in view.numbers if n in last]
    chosen = []
    for name in order:
        at = view.numbers.index(name)
        left -= _cells(name, [row.texts[at] for row in view.rows])
        if left < 0:
            break
        chosen.append(name)
    return [name for name in view.numbers if name in chosen]


def _cells(name: str, texts: Iterable[str]) -> int:
    return max(len(name), *(len(text) for text in texts), 0) + 2


def show_checks(out: Console, checks: Sequence[Check]) -> None:
    """What this machine can do and what is set wrong on it, with the command that mends it."""
    table = _grid("left", "left", "left")
    for check in checks:
        lines = Text(check.found)
        if check.state in ("warn", "bad"):
            lines.append(f"\n{check.why}", "dim")
            lines.append(f"\nfix: {check.fix}" if check.fix else "")
            lines.append(f"\nundo: {check.undo}" if check.fix and check.undo else "", "dim")
        table.add_row(Text(check.state, style=_STATES.get(check.state, "")), Text(check.name), lines)
    out.print(table)


def bar(start: float, end: float, size: float, width: int, ascii_only: bool = False) -> str:
    """A bar from `start` to `end` on a scale from 0 to `size` that is `width` cells wide.

    Block elements give eighths of a cell at the end; a start is rounded to a cell. Without them '#' is used.
    """
    if size <= 0:
        return ""
    low, high = sorted(min(max(0.0, v / size), 1.0) * width for v in (start, end))
    first = min(round(low), width - 1)
    if ascii_only:
        return " " * first + "#" * max(round(high) - first, 1 if high > low else 0)
    eighths = max(round((high - first) * 8), 1 if high > low else 0)
    return " " * first + "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _account(view: ExplanationView, out: Console) -> RenderableType:
    scale = max((row.end for row in view.account), default=0)
    words = (max(len(texts) for texts in column) for column in zip(*map(_part_words, view.account), strict=True))
    width = max(8, min(BAR, out.width - 8 - sum(words)))
    table = _grid("left", "right", "left", "left")
    for row in view.account:
        name, value, interval = _part_words(row)
        drawn = Text(bar(row.start, row.end, scale, width, _ascii(out)), style="blue" if row.total else "magenta")
        styles = ("", "") if row.total else ("dim", "bold")
        table.add_row(Text(name, styles[0]), Text(value, styles[1]), drawn, Text(interval, "dim"))
    head = Text.assemble(("where the time goes", "bold"), (f"  {view.unexplained} unexplained", "dim"))
    return Group(head, _indent(table))


def _part_words(row: PartRow) -> tuple[str, str, str]:
    return row.name if row.total else f"  {row.name}", row.text, row.interval


def _floors(bounds: Sequence[Bound]) -> RenderableType:
    """How many times the least possible each model takes, a line each."""
    rows = _pairs((view.model, view.text) for view in floor_views(bounds))
    return Group(Text("how far from the floor", style="bold"), _indent(rows))


def _expectation(view: ExpectationView) -> RenderableType:
    table = _grid("left", "left", "right", "left")
    for i, (name, kind, text, how) in enumerate(view.rows):
        total = i in (0, len(view.rows) - 1)
        step = Text(name if total else f"  {name}", "" if total else "dim")
        table.add_row(step, Text(kind, _KINDS.get(kind, "")), Text(text, "" if total else "bold"), Text(how, "dim"))
    return Group(Text(view.sentence, "bold"), _indent(table))


def _findings(view: ExplanationView, out: Console) -> Iterable[RenderableType]:
    if not view.causes:
        yield Text("no cause found: nothing that was tried made it faster", style="green")
    else:
        count = len(view.causes)
        yield Text(
            f"{count} cause{'s' if count > 1 else ''}, worst first, each proven by switching it off", style="bold"
        )
    for i, finding in enumerate(view.causes):
        yield _indent(_finding(finding, out), above=min(i, 1))
    rest = list(_rest(view))
    yield from ["", *rest] if rest and view.causes else rest


def _finding(f: FindingView, out: Console) -> RenderableType:
    head = Text.assemble((f"{f.code} ", "bold"), (f.title, "bold"), "  ", (f.severity, _STYLES.get(f.severity, "")))
    table = _grid("left", "left")
    arrow = "->" if _ascii(out) else "→"
    proof = f"{f.before} {arrow} {f.after}  {f.moved}" if f.before else ""
    rows = [(f.metric, proof, "bold"), ("tried", f.tested, "dim"), ("setting", f.setting, "green")]
    rows += [("do", f.remedy, ""), ("run", f.command, "green"), ("undo", f.undo, "dim")]
    rows += [("cost", f.cost, "yellow"), ("gain", f.gain, "")]
    for name, text, style in rows:
        if text:
            table.add_row(Text(name, style="dim"), Text(text, style=style))
    return Group(head, _indent(Group(Text(f.summary, style="dim"), table)))


def _rest(view: ExplanationView) -> Iterable[RenderableType]:
    """Undecided and not tested, in one dim line each."""
    if view.undecided:
        told = "; ".join(f"{f.code} {f.title}{f' ({f.moved})' if f.moved else ''}" for f in view.undecided)
        yield Text(f"undecided: {told}", style="dim")
    if view.refuted:
        yield Text(f"ruled out: {'; '.join(f'{f.code} {f.title}' for f in view.refuted)}", style="dim")
    if view.not_tested:
        yield Text(f"not tested: {'; '.join(f'{code} {why}' for code, why in view.not_tested)}", style="dim")


def _model(m: ModelView, out: Console) -> RenderableType:
    head = Text.assemble((m.name, "bold"), (f"  {m.counts}", "dim"))
    parts: list[RenderableType] = [head]
    if m.percentiles:
        parts.append(_indent(_percentiles(m)))
    if m.stages:
        parts.append(_indent(_stages(m, _ascii(out))))
    told = (("tiers", m.tiers), *(("", line) for line in m.beside), ("outliers", m.outliers), ("doubtful", m.doubts))
    words = _grid("left", "left")
    for name, text in told:
        if text:
            words.add_row(Text(name, style="dim"), Text(text, style="dim" if not name else ""))
    return Group(*parts, _indent(words))


def _models(models: Sequence[ModelView], out: Console) -> RenderableType:
    """Several models, one a line: what each adds to the whole frames above."""
    quantiles = [p.label for p in models[0].percentiles]
    table = _table("model", *quantiles, "largest stage")
    for m in models:
        values = [Text(p.value or "few samples", style="" if p.value else "dim") for p in m.percentiles]
        largest = max(m.stages, key=lambda s: s.mean_ns, default=None)
        table.add_row(Text(m.name), *values, f"{largest.name} {largest.mean}" if largest else "")
    tiers = _grid("left", "left")
    for m in models:
        if m.beside:
            tiers.add_row(Text(m.name), Text(m.tiers))
    return Group(table, tiers) if tiers.row_count else table


def _percentiles(m: ModelView) -> Table:
    table = _grid("left", "right", "left")
    for p in m.percentiles:
        table.add_row(p.label, Text(p.value, style="bold"), Text(p.refused or p.interval, style="dim"))
    return table


def _stages(m: ModelView, ascii_only: bool) -> Table:
    largest = max((abs(s.mean_ns) for s in m.stages), default=0)
    table = _table("stage", "mean", "p50", "p99", "share")
    table.add_column("", no_wrap=True)
    for s in m.stages:
        drawn = Text(bar(0, max(s.mean_ns, 0), largest, BAR, ascii_only), style="blue")
        table.add_row(Text(s.name), s.mean, s.median, s.p99, f"{s.share:.0%}", drawn)
    return table


def _pairs(rows: Iterable[tuple[str, str]]) -> RenderableType:
    table = _grid("left", "left")
    for name, text in rows:
        table.add_row(Text(name, style="dim"), Text(text))
    return table


def _notes(out: Console, notes: Sequence[str]) -> None:
    for note in notes:
        out.print(Text.assemble(("note: ", "yellow"), note))


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for i, name in enumerate(names):
        table.add_column(name, justify="right" if i else "left", no_wrap=True)
    return table


def _grid(*justify: str) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for i, side in enumerate(justify):
        table.add_column(justify="right" if side == "right" else "left", no_wrap=i < len(justify) - 1)
    return table


def _indent(what: RenderableType, above: int = 0) -> Padding:
    return Padding(what, (above, 0, 0, 2), expand=False)


def _ascii(out: Console) -> bool:
    return out.options.ascii_only


def _met_style(met: bool | None) -> str:
    return {True: "bold green", False: "bold red", None: "bold"}[met]
