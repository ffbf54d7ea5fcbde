"""Candidates of a tuning in one figure: what each carries against its p99, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence

from framepace.reporting.figures import Figure, label, value_axis
from framepace.reporting.tuned import TunedRow, TuningView

_SMALL, _LARGE = 9.0, 26.0  # diameters of the least and the most costly, px
CAPTION = "The larger a dot, the more {cost} a frame takes. Filled: measured; hollow: predicted only."


def pareto_figure(view: TuningView) -> Figure | None:
    """Frames a second against p99; the size of a dot is its cost (CPU or energy a frame). None with under two dots."""
    drawn = [row for row in view.rows if row.p99_ms is not None]
    if len(drawn) < 2:
        return None
    groups = (
        ("measured", [r for r in drawn if r.measured and not r.best], "--s1", "circle"),
        ("predicted", [r for r in drawn if not r.measured], "--s1", "circle-open"),
        ("best", [r for r in drawn if r.best], "--good", "circle"),
    )
    most = max((r.cost or 0.0 for r in drawn), default=0.0)
    data = [_dots(name, rows, ink, symbol, most) for name, rows, ink, symbol in groups if rows]
    line = {"color": "--bad", "width": 1.5, "dash": "dash"}
    top, spread = max(r.fps for r in drawn), [r.p99_ms or 0.0 for r in drawn]
    budget = {"type": "scatter", "mode": "lines", "name": "budget", "x": [view.budget_ms] * 2, "y": [0, top]}
    layout = {
        "height": 420,
        "xaxis": value_axis("p99 (ms)", min(spread), view.budget_ms, max(spread)),
        "yaxis": {"title": {"text": "frames/s of all cameras"}, "rangemode": "tozero"},
    }
    return {"data": [*data, {**budget, "line": line, "hoverinfo": "skip"}], "layout": layout}


def _dots(name: str, rows: Sequence[TunedRow], ink: str, symbol: str, most: float) -> Figure:
    sizes = [_SMALL + (_LARGE - _SMALL) * (r.cost or 0.0) / most if most else _SMALL for r in rows]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [r.p99_ms for r in rows],
        "y": [r.fps for r in rows],
        "customdata": [label(f"{r.settings}: {r.reached}, {r.cost_text}") for r in rows],
        "marker": {"size": sizes, "color": ink, "symbol": symbol, "opacity": 0.75},
        "hovertemplate": "%{customdata}<br>p99 %{x:.1f} ms, %{y:.0f} frames/s<extra></extra>",
    }
