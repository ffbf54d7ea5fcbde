"""Latency and throughput over a setting."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from framepace.reporting.page.plot import Figure, colour, label
from framepace.reporting.views.sweep import CellRow, SweepView
from framepace.reporting.views.text import maybe
from framepace.units import duration_scale


def sweep_figure(view: SweepView) -> Figure | None:
    """Median and p99 latency over the numeric setting, and throughput under them; a line for each other combination."""
    measured = [row for row in view.rows if row.p50_ns is not None]
    if view.axis is None or len(measured) < 2:
        return None
    divisor, unit = duration_scale(max(row.p50_ns or 0 for row in measured))
    data: list[Figure] = []
    for i, (name, rows) in enumerate(_groups(measured, view.axis).items()):
        data += _lines(name, rows, view.axis, divisor, colour(i))
    return {"data": data, "layout": _layout(view.names[view.axis], unit)}


def _layout(setting: str, unit: str) -> Figure:
    """Latency above, throughput below."""
    return {
        "height": 480,
        "xaxis": {"title": {"text": label(setting)}, "anchor": "y2", "type": "category"},
        "yaxis": {"title": {"text": f"latency ({unit})"}, "domain": [0.45, 1], "rangemode": "tozero"},
        "yaxis2": {"title": {"text": "frames/s"}, "domain": [0, 0.36], "rangemode": "tozero"},
    }


def _groups(rows: Sequence[CellRow], axis: int) -> dict[str, list[CellRow]]:
    """Rows that differ in the setting of the axis only, by the others."""
    groups: dict[str, list[CellRow]] = {}
    for row in rows:
        others = row.settings[:axis] + row.settings[axis + 1 :]
        groups.setdefault(" ".join(others), []).append(row)
    return groups


def _columns(rows: Sequence[CellRow], divisor: int) -> Iterable[tuple[str, list[float | None], str, str]]:
    """Name, values, dash and axis of each line."""

    def scaled(ns: float) -> float:
        return ns / divisor

    yield "p50", [maybe(row.p50_ns, scaled) for row in rows], "solid", "y"
    yield "p99", [maybe(row.p99_ns, scaled) for row in rows], "dot", "y"
    yield "frames/s", [row.throughput_fps for row in rows], "solid", "y2"


def _lines(name: str, rows: Sequence[CellRow], axis: int, divisor: int, ink: str) -> Iterable[Figure]:
    for number, values, dash, yaxis in _columns(rows, divisor):
        yield {
            "type": "scatter",
            "mode": "lines+markers",
            "name": f"{label(name)} {number}".strip(),
            "x": [row.settings[axis] for row in rows],
            "y": values,
            "yaxis": yaxis,
            "showlegend": yaxis == "y",
            "line": {"color": ink, "dash": dash, "width": 2},
        }
