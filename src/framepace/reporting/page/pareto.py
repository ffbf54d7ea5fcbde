"""Candidates of a tuning in one figure: what each carries against its p99, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from framepace.reporting.page.plot import Figure, label, value_axis
from framepace.reporting.views.tuning import TunedRow, TuningView

_SMALLEST_PX = 9.0
_LARGEST_PX = 26.0


@dataclass(frozen=True)
class _Group:
    """Candidates drawn with one symbol."""

    name: str
    rows: Sequence[TunedRow]
    ink: str
    symbol: str


def pareto_caption(view: TuningView) -> str:
    """The caption of `pareto_figure`: what the size and fill of its dots mean."""
    size = f"{view.cost} per frame"
    if _power_known(view):
        size = "power the GPU draws (unknown for predictions)"
    return f"The larger a dot, the more {size}. Filled: measured; hollow: predicted only."


def pareto_figure(view: TuningView) -> Figure | None:
    """Load carried against p99; the size of a dot is the power or, if none was measured, the cost per frame.

    None with under two dots.
    """
    drawn = [row for row in view.rows if row.p99_ms is not None]
    if len(drawn) < 2:
        return None
    sizes = _diameters(view, drawn)
    data = [_dots(view, group, sizes) for group in _groups(drawn)]
    data.append(_budget(view, max(row.load for row in drawn)))
    return {"data": data, "layout": _layout(view, drawn)}


def _layout(view: TuningView, drawn: Sequence[TunedRow]) -> Figure:
    latencies = [row.p99_ms or 0.0 for row in drawn]
    return {
        "height": 420,
        "xaxis": value_axis("p99 (ms)", min(latencies), view.budget_ms, max(latencies)),
        "yaxis": {"title": {"text": view.load}, "rangemode": "tozero"},
    }


def _groups(drawn: Sequence[TunedRow]) -> Iterator[_Group]:
    groups = (
        _Group("measured", [row for row in drawn if row.measured and not row.best], "--s1", "circle"),
        _Group("predicted", [row for row in drawn if not row.measured], "--s1", "circle-open"),
        _Group("best", [row for row in drawn if row.best], "--good", "circle"),
    )
    yield from (group for group in groups if group.rows)


def _power_known(view: TuningView) -> bool:
    return any(row.power_w for row in view.rows)


def _diameters(view: TuningView, drawn: Sequence[TunedRow]) -> Mapping[TunedRow, float]:
    """Pixels by candidate, in proportion to its power or cost."""
    by_power = _power_known(view)
    weights = {row: (row.power_w if by_power else row.cost) or 0.0 for row in drawn}
    largest = max(weights.values()) or 1.0
    return {row: _SMALLEST_PX + (_LARGEST_PX - _SMALLEST_PX) * weight / largest for row, weight in weights.items()}


def _dots(view: TuningView, group: _Group, sizes: Mapping[TunedRow, float]) -> Figure:
    marker = {
        "size": [sizes[row] for row in group.rows],
        "color": group.ink,
        "symbol": group.symbol,
        "opacity": 0.75,
    }
    return {
        "type": "scatter",
        "mode": "markers",
        "name": group.name,
        "x": [row.p99_ms for row in group.rows],
        "y": [row.load for row in group.rows],
        "customdata": [label(_words(row)) for row in group.rows],
        "marker": marker,
        "hovertemplate": f"%{{customdata}}<br>p99 %{{x:.1f}} ms, %{{y:.0f}} {view.load}<extra></extra>",
    }


def _budget(view: TuningView, top: float) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "budget",
        "x": [view.budget_ms] * 2,
        "y": [0, top],
        "line": {"color": "--bad", "width": 1.5, "dash": "dash"},
        "hoverinfo": "skip",
    }


def _words(row: TunedRow) -> str:
    words = f"{row.settings}: {row.reached or row.foretold}, {row.cost_text}"
    if row.power_w is not None:
        words += f", {row.power_w:.0f} W"
    return words
