"""Candidates of a tuning in one figure: what each carries against its p99, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from framepace.reporting.page.figures import Figure, label, value_axis
from framepace.reporting.views.tuning import TunedRow, TuningView

_SMALL, _LARGE = 9.0, 26.0  # diameters of the least and the most costly, px


def pareto_caption(view: TuningView) -> str:
    """What the dots of `pareto_figure` say."""
    larger = f"{view.cost} a frame takes" if not _powered(view) else "power the GPU draws (not known of predictions)"
    return f"The larger a dot, the more {larger}. Filled: measured; hollow: predicted only."


def pareto_figure(view: TuningView) -> Figure | None:
    """What is carried against p99; the size of a dot is the power, or where none is measured its cost a frame.

    None with under two dots.
    """
    drawn = [row for row in view.rows if row.p99_ms is not None]
    if len(drawn) < 2:
        return None
    groups = (
        ("measured", [r for r in drawn if r.measured and not r.best], "--s1", "circle"),
        ("predicted", [r for r in drawn if not r.measured], "--s1", "circle-open"),
        ("best", [r for r in drawn if r.best], "--good", "circle"),
    )
    weights = {row: (row.power_w if _powered(view) else row.cost) or 0.0 for row in drawn}
    data = [_dots(view, name, rows, weights, ink, symbol) for name, rows, ink, symbol in groups if rows]
    line = {"color": "--bad", "width": 1.5, "dash": "dash"}
    top, spread = max(r.load for r in drawn), [r.p99_ms or 0.0 for r in drawn]
    budget = {"type": "scatter", "mode": "lines", "name": "budget", "x": [view.budget_ms] * 2, "y": [0, top]}
    layout = {
        "height": 420,
        "xaxis": value_axis("p99 (ms)", min(spread), view.budget_ms, max(spread)),
        "yaxis": {"title": {"text": view.load}, "rangemode": "tozero"},
    }
    return {"data": [*data, {**budget, "line": line, "hoverinfo": "skip"}], "layout": layout}


def _powered(view: TuningView) -> bool:
    return any(row.power_w for row in view.rows)


def _dots(
    view: TuningView, name: str, rows: Sequence[TunedRow], weights: Mapping[TunedRow, float], ink: str, symbol: str
) -> Figure:
    most = max(weights.values()) or 1.0
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [r.p99_ms for r in rows],
        "y": [r.load for r in rows],
        "customdata": [label(_told(r)) for r in rows],
        "marker": {
            "size": [_SMALL + (_LARGE - _SMALL) * weights[r] / most for r in rows],
            "color": ink,
            "symbol": symbol,
            "opacity": 0.75,
        },
        "hovertemplate": f"%{{customdata}}<br>p99 %{{x:.1f}} ms, %{{y:.0f}} {view.load}<extra></extra>",
    }


def _told(row: TunedRow) -> str:
    power = "" if row.power_w is None else f", {row.power_w:.0f} W"
    return f"{row.settings}: {row.reached or row.foretold}, {row.cost_text}{power}"
