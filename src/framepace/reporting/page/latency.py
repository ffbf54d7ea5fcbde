"""Latency over time, with clocks and busy cores under it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from framepace.facts.summary import ModelSummary, Summary, Tier
from framepace.facts.trace import Trace
from framepace.reporting.page.plot import Figure, budget_line, colour, label, packed, value_axis
from framepace.reporting.page.series import POINTS, Gauge, Latencies, gauges, latencies, thin
from framepace.units import NS_PER_S, duration_scale

_LEVELS = {"type": "scatter", "mode": "lines", "showlegend": False, "hoverinfo": "skip"}
_FEW = POINTS // 4  # so few dots are drawn larger
_PANEL_AXIS = {"rangemode": "tozero", "nticks": 4}
_MAIN_PX = 300
_PANEL_PX = 76
_GAP_PX = 24
_AROUND_PX = 90


@dataclass(frozen=True)
class _Scale:
    """Where time begins (ns), and the unit of latencies."""

    start: int
    divisor: int
    unit: str

    def seconds(self, time: int) -> float:
        return (time - self.start) / NS_PER_S


def time_figure(trace: Trace, summary: Summary, points: int = POINTS) -> Figure | None:
    """Latency over time with tiers, outliers kept, and the budget; clocks and busy cores under it where measured."""
    series = latencies(trace)
    if not series:
        return None
    scale = _scale(series)
    data = list(_series_traces(series, summary, scale, min(points, POINTS)))
    panels = list(gauges(trace, scale.start))
    if summary.budget is not None:
        data.append(budget_line(summary.budget, (0, _end(series, panels, scale)), scale.divisor))
    data += _gauge_lines(panels)
    axis = latency_axis(series, scale.divisor, scale.unit)
    return {"data": data, "layout": _panel_layout(panels, axis)}


def _scale(series: Sequence[Latencies]) -> _Scale:
    divisor, unit = duration_scale(float(np.median(series[0].latency)))
    return _Scale(min(int(s.due[0]) for s in series), divisor, unit)


def _end(series: Sequence[Latencies], panels: Sequence[Gauge], scale: _Scale) -> float:
    """The last time in the figure (s): telemetry goes on while late requests are worked off."""
    last_due = scale.seconds(max(int(s.due[-1]) for s in series))
    return max([last_due, *(float(panel.seconds[-1]) for panel in panels if len(panel.seconds))])


def latency_axis(series: Sequence[Latencies], divisor: int, unit: str) -> Figure:
    """An axis that all the series fit."""
    lowest = min(int(s.latency.min()) for s in series)
    highest = max(int(s.latency.max()) for s in series)
    middle = float(np.median(series[0].latency))
    return value_axis(f"latency ({unit})", lowest / divisor, middle / divisor, highest / divisor)


def _series_traces(series: Sequence[Latencies], summary: Summary, scale: _Scale, points: int) -> Iterator[Figure]:
    """Dots of each series, and its levels over them."""
    models = {model.model: model for model in summary.models}
    for i, s in enumerate(series):
        yield _dots(s, scale, points, colour(i))
        model = _model_of(s.name, models, len(series), summary)
        if model is not None and model.tiers:
            ink = "--ink" if len(series) == 1 else colour(i)
            yield _tiers(s, model.tiers, scale, ink)


def _dots(s: Latencies, scale: _Scale, points: int, ink: str) -> Figure:
    drawn = thin(s.latency, points)
    size = 4 if len(drawn) < _FEW else 3
    where = f"%{{y:.3f}} {scale.unit} at %{{x:.2f}} s<br>request %{{customdata:,}}"
    return {
        "type": "scatter",
        "mode": "markers",
        "name": label(s.name),
        "x": packed((s.due[drawn] - scale.start) / NS_PER_S),
        "y": packed(s.latency[drawn] / scale.divisor),
        "customdata": packed(drawn, "i4"),
        "marker": {"size": size, "color": ink, "opacity": 0.55},
        "hovertemplate": f"{where}<extra>{label(s.name)}</extra>",
    }


def _model_of(name: str, models: Mapping[str, ModelSummary], series: int, summary: Summary) -> ModelSummary | None:
    """The model of a series; a series that is no model's is that of whole frames, where models have their own."""
    if len(models) == series:
        return models.get(name)
    return models.get(name, summary.frames)


def _tiers(s: Latencies, tiers: Sequence[Tier], scale: _Scale, ink: str) -> Figure:
    """The levels as one line, broken between tiers; a tier's request numbers are turned into times."""
    x: list[float | None] = []
    y: list[float | None] = []
    for tier in tiers:
        x += [*_tier_ends(s, tier, scale), None]
        y += [tier.level / scale.divisor, tier.level_end / scale.divisor, None]
    return {**_LEVELS, "x": x, "y": y, "line": {"color": ink, "width": 3}}


def _tier_ends(s: Latencies, tier: Tier, scale: _Scale) -> tuple[float, float]:
    """The times (s) of a tier's first and last request."""
    last = len(s.due) - 1
    begin = s.due[min(tier.first, last)]
    end = s.due[min(tier.last, last)]
    return scale.seconds(int(begin)), scale.seconds(int(end))


def _gauge_lines(lines: Sequence[Gauge]) -> Iterable[Figure]:
    panels = _panels(lines)
    for i, gauge in enumerate(lines):
        yield {
            "type": "scatter",
            "mode": "lines",
            "name": gauge.name,
            "x": packed(gauge.seconds),
            "y": packed(gauge.values),
            "yaxis": f"y{panels.index(gauge.panel) + 2}",
            "line": {"color": colour(i + 2), "width": 1.5, "shape": "hv"},
            "hovertemplate": f"%{{y:.2f}} {gauge.panel} at %{{x:.2f}} s<extra>{gauge.name}</extra>",
        }


def _panels(lines: Sequence[Gauge]) -> list[str]:
    return list(dict.fromkeys(gauge.panel for gauge in lines))


def _panel_layout(lines: Sequence[Gauge], main: Figure) -> Figure:
    """One tall panel for latency and a low one under it for each unit of telemetry, on one time axis."""
    panels = _panels(lines)
    height = _MAIN_PX + (_PANEL_PX + _GAP_PX) * len(panels)
    panel = _PANEL_PX / height
    step = panel + _GAP_PX / height
    layout: Figure = {"height": height + _AROUND_PX, "yaxis": {**main, "domain": [len(panels) * step, 1]}}
    for i, name in enumerate(panels):
        bottom = (len(panels) - 1 - i) * step
        layout[f"yaxis{i + 2}"] = {**_PANEL_AXIS, "domain": [bottom, bottom + panel], "title": {"text": name}}
    layout["xaxis"] = _time_axis(len(panels))
    return layout


def _time_axis(panels: int) -> Figure:
    """The time axis, under the lowest of `panels`."""
    lowest = "y"
    if panels:
        lowest = f"y{panels + 1}"
    return {"title": {"text": "time (s)"}, "anchor": lowest}
