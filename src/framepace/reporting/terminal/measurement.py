"""A trace in numbers, and the machine it is from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from framepace.facts.machine import Machine
from framepace.facts.model import Layer
from framepace.facts.summary import Summary
from framepace.reporting.terminal.layout import (
    BAR,
    MET_STYLES,
    bar,
    columns,
    indent,
    is_ascii,
    pairs,
    show_notes,
    table,
)
from framepace.reporting.views.device import LAYERS_SHOWN, layer_rows
from framepace.reporting.views.machine import machine_line
from framepace.reporting.views.measurement import ModelView, PercentileRow, SummaryView, summary_view

_NAME = 48  # cells of a layer's name: fused layers are named by all they hold


def show_machine(out: Console, machine: Machine) -> None:
    """One line on the machine."""
    out.print(Text(machine_line(machine), style="dim"))


def show_summary(out: Console, summary: Summary) -> None:
    """A trace in numbers: the sentence, key numbers, then each model with percentiles, stages, tiers and outliers."""
    view = summary_view(summary)
    _show_headline(out, summary, view)
    if view.failure and not summary.frames.requests:
        return
    out.print(Columns([Text(f"{name} {text}", style="dim") for name, text in view.numbers], padding=(0, 2)))
    frames, *models = view.models
    parts = [_model(frames, is_ascii(out))]
    if models:
        parts.append(_models(models))
    if view.devices:
        parts.append(pairs(view.devices))
    for part in parts:
        out.print()
        out.print(part)
    show_notes(out, view.notes)


def _show_headline(out: Console, summary: Summary, view: SummaryView) -> None:
    """The sentence; before it, what failed and what to do about it."""
    if not view.failure:
        out.print(Text(view.sentence, style=MET_STYLES[view.met]))
        return
    out.print(Text(view.failure, style=MET_STYLES[False]))
    if view.advice:
        out.print(Text(f"what to do: {view.advice}"))
    if summary.frames.requests:
        out.print(Text(f"of those that did not fail: {view.sentence}", style="dim"))


def show_layers(out: Console, layers: Mapping[str, Sequence[Layer]]) -> None:
    """The slowest layers of each model, as its library runs them."""
    for model, all_layers in layers.items():
        out.print()
        out.print(_layer_table(model, all_layers))
        if len(all_layers) > LAYERS_SHOWN:
            out.print(Text(f"and {len(all_layers) - LAYERS_SHOWN:,} more", style="dim"))


def _layer_table(model: str, layers: Sequence[Layer]) -> Table:
    made = table(f"layer of {model}")
    for name in ("kind", "on"):
        made.add_column(name, no_wrap=True)
    for name in ("time", "share"):
        made.add_column(name, justify="right", no_wrap=True)
    for name, *texts in layer_rows(layers):
        made.add_row(Text(_shortened(name)), *texts)
    return made


def _shortened(name: str) -> str:
    if len(name) <= _NAME:
        return name
    return name[: _NAME - 1] + "…"


def _model(model: ModelView, ascii_only: bool) -> RenderableType:
    parts: list[RenderableType] = [Text.assemble((model.name, "bold"), (f"  {model.counts}", "dim"))]
    if model.percentiles:
        parts.append(indent(_percentiles(model)))
    if model.stages:
        parts.append(indent(_stages(model, ascii_only)))
    return Group(*parts, indent(_remarks(model)))


def _remarks(model: ModelView) -> Table:
    """Tiers, outliers and doubts, where there are any."""
    grid = columns("ll")
    beside = [("", line) for line in model.beside]
    for name, text in (("tiers", model.tiers), *beside, ("outliers", model.outliers), ("doubtful", model.doubts)):
        if text:
            grid.add_row(Text(name, style="dim"), Text(text, style="" if name else "dim"))
    return grid


def _percentiles(model: ModelView) -> Table:
    grid = columns("lrl")
    for row in model.percentiles:
        grid.add_row(row.label, Text(row.value, style="bold"), Text(row.refused or row.interval, style="dim"))
    return grid


def _stages(model: ModelView, ascii_only: bool) -> Table:
    largest = max((abs(stage.mean_ns) for stage in model.stages), default=0)
    made = table("stage", "mean", "p50", "p99", "share")
    made.add_column("", no_wrap=True)
    for stage in model.stages:
        drawn = Text(bar(0, max(stage.mean_ns, 0), largest, BAR, ascii_only), style="blue")
        made.add_row(Text(stage.name), stage.mean, stage.median, stage.p99, f"{stage.share:.0%}", drawn)
    return made


def _models(models: Sequence[ModelView]) -> RenderableType:
    """Several models, one per line: what each adds to the whole frames above."""
    made = table("model", *(row.label for row in models[0].percentiles), "largest stage")
    tiers = columns("ll")
    for model in models:
        made.add_row(Text(model.name), *map(_percentile, model.percentiles), _largest_stage(model))
        if model.beside:
            tiers.add_row(Text(model.name), Text(model.tiers))
    return Group(made, tiers) if tiers.row_count else made


def _percentile(row: PercentileRow) -> Text:
    return Text(row.value) if row.value else Text("few samples", style="dim")


def _largest_stage(model: ModelView) -> str:
    if not model.stages:
        return ""
    largest = max(model.stages, key=lambda stage: stage.mean_ns)
    return f"{largest.name} {largest.mean}"
