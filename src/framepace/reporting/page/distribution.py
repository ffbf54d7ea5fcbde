"""Latency by percentile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from framepace.facts.summary import Estimate, ModelSummary, Summary
from framepace.facts.trace import Trace
from framepace.reporting.page.latency import latency_axis
from framepace.reporting.page.plot import Figure, budget_line, colour, label, packed, whiskers
from framepace.reporting.page.series import Latencies, latencies, tail
from framepace.units import duration_scale

Named = tuple[str, Trace, Summary]
_TICKS = {1: "0", 2: "50", 10: "90", 100: "99", 1000: "99.9", 10_000: "99.99", 100_000: "99.999", 1_000_000: "99.9999"}


@dataclass(frozen=True)
class _Line:
    """One series of the figure with the percentiles of its summary."""

    name: str
    series: Latencies
    model: ModelSummary
    ink: str


def distribution_figure(named: Sequence[Named]) -> Figure | None:
    """Latency by percentile, with the intervals of the percentiles and the budget; several traces lie over each other.

    One trace shows each of its models, several show their whole frames.
    """
    lines = list(_lines(named))
    if not lines:
        return None
    divisor, unit = duration_scale(float(np.median(lines[0].series.latency)))
    largest = max(len(line.series.latency) for line in lines)
    data = [trace for line in lines for trace in _traces(line, divisor, unit)]
    data += [budget_line(budget, (1, largest), divisor) for budget in _budgets(named)]
    return {"data": data, "layout": _layout([line.series for line in lines], divisor, unit, largest)}


def _budgets(named: Sequence[Named]) -> list[float]:
    """The budgets of the traces, each once."""
    return list(dict.fromkeys(summary.budget for _, _, summary in named if summary.budget is not None))


def _layout(series: Sequence[Latencies], divisor: int, unit: str, largest: int) -> Figure:
    ticks = {at: text for at, text in _TICKS.items() if at <= largest}
    xaxis = {
        "type": "log",
        "title": {"text": "percentile"},
        "tickvals": list(ticks),
        "ticktext": list(ticks.values()),
        "ticks": "outside",  # which also keeps its 0 off that of the other axis
    }
    return {"height": 340, "xaxis": xaxis, "yaxis": latency_axis(series, divisor, unit)}


def _lines(named: Sequence[Named]) -> Iterator[_Line]:
    series = _models_of(named[0]) if len(named) == 1 else _frames_of(named)
    for i, (name, latency, summary) in enumerate(series):
        yield _Line(name, latency, _model(summary, latency.name), colour(i))


def _models_of(named: Named) -> Iterator[tuple[str, Latencies, Summary]]:
    _, trace, summary = named
    yield from ((series.name, series, summary) for series in latencies(trace))


def _frames_of(named: Sequence[Named]) -> Iterator[tuple[str, Latencies, Summary]]:
    for name, trace, summary in named:
        yield from ((name, series, summary) for series in latencies(trace)[:1])


def _model(summary: Summary, name: str) -> ModelSummary:
    return next((model for model in summary.models if model.model == name), summary.frames)


def _traces(line: _Line, divisor: int, unit: str) -> Iterable[Figure]:
    x, y = tail(line.series.latency)
    yield {
        "type": "scatter",
        "mode": "lines",
        "name": label(line.name),
        "x": packed(x),
        "y": packed(y / divisor),
        "line": {"color": line.ink, "width": 2, "shape": "hv"},
        "hovertemplate": f"%{{y:.3f}} {unit}<extra>{label(line.name)}</extra>",
    }
    yield from _percentiles(line, divisor, unit)


def _answered(model: ModelSummary) -> list[tuple[float, Estimate]]:
    """The percentiles below 100 for which there were enough requests."""
    return [(p.q, p.estimate) for p in model.percentiles if p.estimate is not None and p.q < 100]


def _percentiles(line: _Line, divisor: int, unit: str) -> Iterator[Figure]:
    """The percentiles that were estimated, with their intervals."""
    answered = _answered(line.model)
    if not answered:
        return
    yield {
        "type": "scatter",
        "mode": "markers",
        "showlegend": False,
        "x": [1 / (1 - q / 100) for q, _ in answered],
        "y": [estimate.value / divisor for _, estimate in answered],
        "error_y": whiskers([estimate for _, estimate in answered], divisor, line.ink),
        "marker": {"size": 7, "color": line.ink},
        "text": [f"p{q:g}" for q, _ in answered],
        "hovertemplate": f"%{{text}} %{{y:.3f}} {unit}<extra>{label(line.name)}</extra>",
    }
