"""Figures as plotly's JSON: traces and layout only; colours are names of CSS properties, which the page resolves."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.facts.finding import Intervention
from framepace.facts.summary import ModelSummary, Summary, Tier
from framepace.facts.trace import Trace
from framepace.reporting.page.series import POINTS, Gauge, Latencies, gauges, latencies, tail, thin
from framepace.reporting.views.explanation import PartRow
from framepace.reporting.views.measurement import ChangeRow
from framepace.reporting.views.sweep import CellRow, SweepView
from framepace.units import NS_PER_S, duration_scale, format_ms, format_quantity

Figure = dict[str, Any]
_SERIES = tuple(f"--s{i}" for i in range(1, 9))
_STAGES = ("infer", "wake-up", "decode", "backlog", "queue", "prepare", "finish", "hand-over")  # in order of colours
_TICKS = {1: "0", 2: "50", 10: "90", 100: "99", 1000: "99.9", 10_000: "99.99", 100_000: "99.999", 1_000_000: "99.9999"}
_LOG_FROM = 10  # a largest value so many times the median would flatten everything else on a linear axis


def value_axis(title: str, lowest: float, middle: float, highest: float) -> Figure:
    """A linear axis from zero, or a logarithmic one where the highest value would flatten all others."""
    axis: Figure = {"title": {"text": title}}
    if highest <= _LOG_FROM * max(middle, 1e-9):
        return {**axis, "type": "linear", "rangemode": "tozero"}
    powers = range(math.floor(math.log10(max(lowest, 1e-9))), math.ceil(math.log10(highest)) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    return {**axis, "type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}


def packed(values: NDArray[Any], kind: str = "f4") -> Figure:
    """An array the way plotly.js takes it without a number a line: base64 of its little-endian bytes."""
    return {"dtype": kind, "bdata": base64.b64encode(np.asarray(values, dtype=f"<{kind}").tobytes()).decode()}


def label(text: str) -> str:
    """Text from outside as plotly shows it: plotly reads a little HTML, so it is escaped."""
    return escape(text, quote=False)


def colour(i: int) -> str:
    """The i-th colour of a series."""
    return _SERIES[i % len(_SERIES)]


def time_figure(trace: Trace, summary: Summary, points: int = POINTS) -> Figure | None:
    """Latency over time with tiers, outliers kept, and the budget; clocks and busy cores under it where measured."""
    series = latencies(trace)
    if not series:
        return None
    start = min(int(s.due[0]) for s in series)
    divisor, unit = duration_scale(float(np.median(series[0].latency)))
    told = {m.model: m for m in summary.models}
    data: list[Figure] = []
    for i, s in enumerate(series):
        known = told.get(s.name) if len(told) == len(series) else told.get(s.name, summary.frames)
        inks = (colour(i), "--ink" if len(series) == 1 else colour(i))
        data += _one_series(s, start, divisor, unit, inks, min(points, POINTS), known)
    end = max(int(s.due[-1]) for s in series) - start
    data += _budget(summary.budget, (0, end / NS_PER_S), divisor)
    panels = list(gauges(trace, start))
    data += _gauge_traces(panels)
    axis = _latency_axis(series, divisor, unit)
    return {"data": data, "layout": _panel_layout(panels, axis)}


def _latency_axis(series: Sequence[Latencies], divisor: int, unit: str) -> Figure:
    lowest, highest = min(int(s.latency.min()) for s in series), max(int(s.latency.max()) for s in series)
    middle = float(np.median(series[0].latency))
    return value_axis(f"latency ({unit})", lowest / divisor, middle / divisor, highest / divisor)


def _one_series(
    s: Latencies, start: int, divisor: int, unit: str, inks: tuple[str, str], points: int, known: ModelSummary | None
) -> Iterable[Figure]:
    at, (ink, line) = thin(s.latency, points), inks
    dots = {"size": 4 if len(at) < POINTS // 4 else 3, "color": ink, "opacity": 0.55}
    hover = f"%{{y:.3f}} {unit} at %{{x:.2f}} s<br>request %{{customdata:,}}<extra>{label(s.name)}</extra>"
    yield {
        "type": "scatter",
        "mode": "markers",
        "name": label(s.name),
        "x": packed((s.due[at] - start) / NS_PER_S),
        "y": packed(s.latency[at] / divisor),
        "customdata": packed(at, "i4"),
        "marker": dots,
        "hovertemplate": hover,
    }
    if known is not None and known.tiers:
        yield _tiers(s, known.tiers, start, divisor, line)


def _tiers(s: Latencies, tiers: Sequence[Tier], start: int, divisor: int, ink: str) -> Figure:
    """The levels as one line, broken between tiers; a tier's request numbers are turned into times."""
    x: list[float | None] = []
    y: list[float | None] = []
    last = len(s.due) - 1
    for t in tiers:
        ends = (min(t.first, last), min(t.last, last))
        x += [*((int(s.due[i]) - start) / NS_PER_S for i in ends), None]
        y += [t.level / divisor, t.level_end / divisor, None]
    shown = {"showlegend": False, "hoverinfo": "skip", "line": {"color": ink, "width": 3}}
    return {"type": "scatter", "mode": "lines", "x": x, "y": y, **shown}


def _budget(budget: float | None, span: tuple[float, float], divisor: int) -> list[Figure]:
    if budget is None:
        return []
    line = {"color": "--bad", "width": 1.5, "dash": "dash"}
    name = f"budget {format_ms(budget)}"
    y = [budget / divisor] * 2
    return [{"type": "scatter", "mode": "lines", "name": name, "x": list(span), "y": y, "line": line}]


def _gauge_traces(found: Sequence[Gauge]) -> Iterable[Figure]:
    panels = list(dict.fromkeys(g.panel for g in found))
    for i, g in enumerate(found):
        yield {
            "type": "scatter",
            "mode": "lines",
            "name": g.name,
            "x": packed(g.seconds),
            "y": packed(g.values),
            "yaxis": f"y{panels.index(g.panel) + 2}",
            "line": {"color": colour(i + 2), "width": 1.5, "shape": "hv"},
            "hovertemplate": f"%{{y:.2f}} {g.panel} at %{{x:.2f}} s<extra>{g.name}</extra>",
        }


def _panel_layout(found: Sequence[Gauge], main: Figure) -> Figure:
    """One tall panel for latency and a low one under it for each unit of telemetry, on one time axis."""
    panels = list(dict.fromkeys(g.panel for g in found))
    height = 300 + 100 * len(panels)
    low, gap = 76 / height, 24 / height
    layout: Figure = {"height": height + 90, "yaxis": {**main, "domain": [len(panels) * (low + gap), 1]}}
    for i, panel in enumerate(panels):
        bottom = (len(panels) - 1 - i) * (low + gap)
        axis = {"domain": [bottom, bottom + low], "title": {"text": panel}, "rangemode": "tozero", "nticks": 4}
        layout[f"yaxis{i + 2}"] = axis
    layout["xaxis"] = {"title": {"text": "time (s)"}, "anchor": f"y{len(panels) + 1}" if panels else "y"}
    return layout


def distribution_figure(named: Sequence[tuple[str, Trace, Summary]]) -> Figure | None:
    """Latency by percentile, with the intervals of the percentiles and the budget; several traces lie over each other.

    One trace shows each of its models, several show their whole frames.
    """
    alone = len(named) == 1
    lines = [
        (s.name if alone else name, s, _known(summary, s.name), summary.budget)
        for name, trace, summary in named
        for s in (latencies(trace) if alone else latencies(trace)[:1])
    ]
    if not lines:
        return None
    divisor, unit = duration_scale(float(np.median(lines[0][1].latency)))
    data = [t for i, (n, s, k, _) in enumerate(lines) for t in _tail_traces(n, s, k, divisor, unit, colour(i))]
    largest = max(len(s.latency) for _, s, _, _ in lines)
    budgets = dict.fromkeys(b for *_, b in lines if b is not None)
    data += [t for b in budgets for t in _budget(b, (1, largest), divisor)]
    shown = {at: text for at, text in _TICKS.items() if at <= largest}
    xaxis = {"type": "log", "title": {"text": "percentile"}, "tickvals": list(shown), "ticktext": list(shown.values())}
    yaxis = _latency_axis([s for _, s, _, _ in lines], divisor, unit)
    return {"data": data, "layout": {"height": 340, "xaxis": xaxis, "yaxis": yaxis}}


def _known(summary: Summary, name: str) -> ModelSummary:
    return next((m for m in summary.models if m.model == name), summary.frames)


def _tail_traces(name: str, s: Latencies, known: ModelSummary, divisor: int, unit: str, ink: str) -> Iterable[Figure]:
    x, y = tail(s.latency)
    line = {"color": ink, "width": 2, "shape": "hv"}
    hover = f"%{{y:.3f}} {unit}<extra>{label(name)}</extra>"
    yield {
        "type": "scatter",
        "mode": "lines",
        "name": label(name),
        "x": packed(x),
        "y": packed(y / divisor),
        "line": line,
        "hovertemplate": hover,
    }
    told = [(p.q, p.estimate) for p in known.percentiles if p.estimate is not None and p.q < 100]
    ends = [(e.value, e.value if e.low is None else e.low, e.value if e.high is None else e.high) for _, e in told]
    if told:
        yield {
            "type": "scatter",
            "mode": "markers",
            "showlegend": False,
            "x": [1 / (1 - q / 100) for q, _ in told],
            "y": [value / divisor for value, _, _ in ends],
            "error_y": _whiskers([(v - lo, hi - v) for v, lo, hi in ends], divisor, ink),
            "marker": {"size": 7, "color": ink},
            "text": [f"p{q:g}" for q, _ in told],
            "hovertemplate": f"%{{text}} %{{y:.3f}} {unit}<extra>{label(name)}</extra>",
        }


def _whiskers(spans: Sequence[tuple[float, float]], divisor: float, ink: str) -> Figure:
    down, up = ([max(0.0, span[i]) / divisor for span in spans] for i in (0, 1))
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "color": ink, "thickness": 1.5}


def stage_figure(models: Sequence[ModelSummary], names: Sequence[str]) -> Figure | None:
    """Mean time of each stage, stacked, one bar a model."""
    stages = list(dict.fromkeys(s.name for m in models for s in m.stages))
    if not stages:
        return None
    divisor, unit = duration_scale(max(sum(s.mean for s in m.stages) for m in models))
    data = [_stage_bar(stage, i, models, names, divisor, unit) for i, stage in enumerate(stages)]
    layout = {"barmode": "stack", "height": 130 + 46 * len(models), "xaxis": {"title": {"text": f"mean ({unit})"}}}
    return {"data": data, "layout": {**layout, "yaxis": _categories()}}


def _stage_bar(
    stage: str, i: int, models: Sequence[ModelSummary], names: Sequence[str], divisor: int, unit: str
) -> Figure:
    found = [next((s for s in m.stages if s.name == stage), None) for m in models]
    ink = colour(_STAGES.index(stage) if stage in _STAGES else i)
    return {
        "type": "bar",
        "orientation": "h",
        "name": label(stage),
        "y": [label(name) for name in names],
        "x": [0.0 if s is None else s.mean / divisor for s in found],
        "text": [label(stage) if s is not None and s.share >= 0.12 else "" for s in found],
        "textposition": "inside",
        "insidetextanchor": "middle",
        "insidetextfont": {"color": "--on-series"},
        "marker": {"color": ink},
        "hovertemplate": f"{label(stage)} %{{x:.3f}} {unit}<extra>%{{y}}</extra>",
    }


def account_figure(rows: Sequence[PartRow]) -> Figure:
    """The three scopes from zero and, between model and stream, each part of the difference: a waterfall."""
    divisor, unit = duration_scale(max(row.end for row in rows))
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": [label(row.name) for row in rows],
        "base": [row.start / divisor for row in rows],
        "x": [(row.end - row.start) / divisor for row in rows],
        "text": [label(row.text) for row in rows],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": ["--s1" if r.total else "--muted" if r.name == "unexplained" else "--s2" for r in rows]},
        "hovertemplate": "%{y} %{text}<extra></extra>",
    }
    widest = max(row.end for row in rows) / divisor
    xaxis = {"title": {"text": unit}, "range": [0, widest * 1.18]}
    layout = {"height": 90 + 30 * len(rows), "showlegend": False, "xaxis": xaxis, "yaxis": _categories()}
    return {"data": [bars], "layout": layout}


def finding_figure(trial: Intervention) -> Figure:
    """Before and after the intervention, with their intervals."""
    sides = (("as it is", trial.before, "--s2"), ("switched off", trial.after, "--s3"))
    spans = [(e.value - (e.value if e.low is None else e.low), (e.high or e.value) - e.value) for _, e, _ in sides]
    divisor, unit = duration_scale(trial.before.value) if trial.unit == "ns" else (1, trial.unit)
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": [name for name, _, _ in sides],
        "x": [e.value / divisor for _, e, _ in sides],
        "customdata": [format_quantity(e.value, trial.unit) for _, e, _ in sides],
        "error_x": _whiskers(spans, divisor, "--ink"),
        "marker": {"color": [ink for _, _, ink in sides]},
        "hovertemplate": "%{y} %{customdata}<extra></extra>",
    }
    xaxis = {"title": {"text": label(f"{trial.metric} ({unit})")}, "rangemode": "tozero"}
    return {"data": [bars], "layout": {"height": 150, "showlegend": False, "xaxis": xaxis, "yaxis": _categories()}}


def change_figure(rows: Sequence[ChangeRow]) -> Figure | None:
    """What each stage gained or lost between two traces."""
    if not rows:
        return None
    largest = max(abs(row.ns) for row in rows)
    divisor, unit = duration_scale(largest)
    reach = [-1.25 * largest * any(r.ns < 0 for r in rows), 1.25 * largest * any(r.ns > 0 for r in rows)]
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": [label(row.name) for row in rows],
        "x": [row.ns / divisor for row in rows],
        "text": [row.change for row in rows],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": ["--bad" if row.ns > 0 else "--good" for row in rows]},
        "hovertemplate": "%{y} %{text}<extra></extra>",
    }
    xaxis = {"title": {"text": f"B less A, mean ({unit})"}, "range": [end / divisor for end in reach]}
    layout = {"height": 100 + 30 * len(rows), "showlegend": False, "xaxis": xaxis, "yaxis": _categories()}
    return {"data": [bars], "layout": layout}


def sweep_figure(view: SweepView) -> Figure | None:
    """Median and p99 latency over the numeric setting, and throughput under them; a line for each other combination."""
    measured = [row for row in view.rows if row.p50_ns is not None]
    if view.axis is None or len(measured) < 2:
        return None
    axis = view.axis
    groups: dict[tuple[str, ...], list[CellRow]] = {}
    for row in measured:
        groups.setdefault(row.settings[:axis] + row.settings[axis + 1 :], []).append(row)
    divisor, unit = duration_scale(max(row.p50_ns or 0 for row in measured))
    data = [t for i, (key, rows) in enumerate(groups.items()) for t in _sweep_lines(key, rows, axis, divisor, i)]
    layout = {
        "height": 480,
        "xaxis": {"title": {"text": label(view.names[axis])}, "anchor": "y2", "type": "category"},
        "yaxis": {"title": {"text": f"latency ({unit})"}, "domain": [0.45, 1], "rangemode": "tozero"},
        "yaxis2": {"title": {"text": "frames/s"}, "domain": [0, 0.36], "rangemode": "tozero"},
    }
    return {"data": data, "layout": layout}


def _sweep_lines(key: tuple[str, ...], rows: Sequence[CellRow], axis: int, divisor: int, i: int) -> Iterable[Figure]:
    named = label(" ".join(key))
    x = [row.settings[axis] for row in rows]
    columns = (
        ("p50", [None if r.p50_ns is None else r.p50_ns / divisor for r in rows], "solid", "y"),
        ("p99", [None if r.p99_ns is None else r.p99_ns / divisor for r in rows], "dot", "y"),
        ("frames/s", [r.throughput_fps for r in rows], "solid", "y2"),
    )
    for name, y, dash, where in columns:
        yield {
            "type": "scatter",
            "mode": "lines+markers",
            "name": f"{named} {name}".strip(),
            "x": x,
            "y": y,
            "yaxis": where,
            "showlegend": where == "y",
            "line": {"color": colour(i), "dash": dash, "width": 2},
        }


def _categories() -> Figure:
    """A category axis that reads from top to bottom and leaves room for its names."""
    return {"autorange": "reversed", "automargin": True, "type": "category", "ticklabelstandoff": 8}
