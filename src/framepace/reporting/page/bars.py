"""Figures of bars: stages, the account, a finding, a comparison."""

from __future__ import annotations

from collections.abc import Sequence

from framepace.facts.finding import Intervention
from framepace.facts.summary import ModelSummary, StageShare
from framepace.reporting.page.plot import Figure, category_axis, colour, label, labelled_bars, whiskers
from framepace.reporting.views.comparison import ChangeRow
from framepace.reporting.views.explanation import PartRow
from framepace.reporting.views.finding import metric_name
from framepace.units import duration_scale, format_quantity

_STAGES = ("infer", "wake-up", "decode", "backlog", "queue", "prepare", "finish", "hand-over")  # in order of colours
_LABELLED_SHARE = 0.12  # narrower bars have no room for their name
_ROOM_FOR_TEXT = 1.45  # of the widest bar, for "+39.9 ms" on a telephone
_ROOM_FOR_CHANGE = 1.25


def stage_figure(models: Sequence[ModelSummary], names: Sequence[str]) -> Figure | None:
    """Mean time of each stage, stacked, one bar per model."""
    stages = _stage_names(models)
    if not stages:
        return None
    divisor, unit = duration_scale(max(sum(stage.mean for stage in model.stages) for model in models))
    bars = [_stage_bar(stage, _stage_colour(stage, i), models, divisor) for i, stage in enumerate(stages)]
    labels = [label(name) for name in names]
    data = [{**bar, "y": labels, "hovertemplate": _stage_hover(bar["name"], unit)} for bar in bars]
    return {"data": data, "layout": _stage_layout(len(models), unit)}


def _stage_names(models: Sequence[ModelSummary]) -> list[str]:
    """The stages of all models, each once, in order."""
    return list(dict.fromkeys(stage.name for model in models for stage in model.stages))


def _stage_layout(models: int, unit: str) -> Figure:
    return {
        "barmode": "stack",
        "height": 130 + 46 * models,
        "xaxis": {"title": {"text": f"mean ({unit})"}},
        "yaxis": category_axis(),
    }


def _stage_hover(name: str, unit: str) -> str:
    return f"{name} %{{x:.3f}} {unit}<extra>%{{y}}</extra>"


def _stage_colour(stage: str, i: int) -> str:
    return colour(_STAGES.index(stage) if stage in _STAGES else i)


def _stage_bar(name: str, ink: str, models: Sequence[ModelSummary], divisor: int) -> Figure:
    shares = [_stage(model, name) for model in models]
    return {
        "type": "bar",
        "orientation": "h",
        "name": label(name),
        "x": [stage.mean / divisor for stage in shares],
        "text": [label(name) if stage.share >= _LABELLED_SHARE else "" for stage in shares],
        "textposition": "inside",
        "insidetextanchor": "middle",
        "insidetextfont": {"color": "--on-series"},
        "marker": {"color": ink},
    }


def _stage(model: ModelSummary, name: str) -> StageShare:
    """The stage of a model; nothing where it has none of that name."""
    absent = StageShare(name=name, median=0.0, mean=0.0, p99=0.0, share=0.0)
    return next((stage for stage in model.stages if stage.name == name), absent)


def account_figure(rows: Sequence[PartRow]) -> Figure:
    """The three scopes from zero and, between model and stream, each part of the difference: a waterfall."""
    divisor, unit = duration_scale(max(row.end for row in rows))
    bars = _part_bars(rows, divisor)
    widest = max(row.end for row in rows) / divisor
    xaxis = {"title": {"text": f"time ({unit})"}, "range": [0, widest * _ROOM_FOR_TEXT]}
    return {"data": [bars], "layout": _layout(90 + 30 * len(rows), xaxis)}


def _part_bars(rows: Sequence[PartRow], divisor: int) -> Figure:
    """Bars that begin where the one before ends."""
    bars = labelled_bars(
        names=[row.name for row in rows],
        lengths=[(row.end - row.start) / divisor for row in rows],
        texts=[row.text for row in rows],
        inks=[_part_colour(row) for row in rows],
    )
    bars["base"] = [row.start / divisor for row in rows]
    return bars


def _part_colour(row: PartRow) -> str:
    if row.total:
        return "--s1"
    return "--muted" if row.name == "unexplained" else "--s2"


def finding_figure(trial: Intervention) -> Figure:
    """Before and after the intervention, with their intervals."""
    divisor, unit = _scale(trial)
    sides = (trial.before, trial.after)
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": ["as it is", "switched off"],
        "x": [side.value / divisor for side in sides],
        "customdata": [format_quantity(side.value, trial.unit) for side in sides],
        "error_x": whiskers(sides, divisor, "--ink"),
        "marker": {"color": ["--s2", "--s3"]},
        "hovertemplate": "%{y} %{customdata}<extra></extra>",
    }
    xaxis = {"title": {"text": label(f"{metric_name(trial)} ({unit})")}, "rangemode": "tozero"}
    return {"data": [bars], "layout": _layout(150, xaxis)}


def _scale(trial: Intervention) -> tuple[int, str]:
    if trial.unit == "ns":
        return duration_scale(trial.before.value)
    return 1, trial.unit


def change_figure(rows: Sequence[ChangeRow]) -> Figure | None:
    """What each stage gained or lost between two traces."""
    if not rows:
        return None
    largest = max(abs(row.ns) for row in rows)
    divisor, unit = duration_scale(largest)
    bars = labelled_bars(
        names=[row.name for row in rows],
        lengths=[row.ns / divisor for row in rows],
        texts=[row.change for row in rows],
        inks=[_change_colour(row) for row in rows],
    )
    xaxis = {"title": {"text": f"B less A, mean ({unit})"}, "range": _change_range(rows, largest / divisor)}
    return {"data": [bars], "layout": _layout(100 + 30 * len(rows), xaxis)}


def _change_colour(row: ChangeRow) -> str:
    if row.ns > 0:
        return "--bad"
    return "--good"


def _change_range(rows: Sequence[ChangeRow], largest: float) -> list[float]:
    """From zero, or on both sides of it where stages gained and lost."""
    reach = _ROOM_FOR_CHANGE * largest
    return [-reach * any(row.ns < 0 for row in rows), reach * any(row.ns > 0 for row in rows)]


def _layout(height: int, xaxis: Figure) -> Figure:
    return {"height": height, "showlegend": False, "xaxis": xaxis, "yaxis": category_axis()}
