"""The roofline (Williams, Waterman, Patterson 2009): what limits each model, and how far it is from there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from framepace.facts.bounds import Bound, NodeBound
from framepace.reporting.page.plot import Figure, colour, label
from framepace.reporting.views.roofline import floor_text, is_timed, main_precision, with_prefix
from framepace.units import NS_PER_S, format_ms

ROOFLINE_CAPTION = (
    "The roofs are the rates this machine reached in a short calibration through the same backend. "
    "A point on a roof cannot get faster without fewer operations or bytes, or another precision; "
    "the dotted line is how far a model is from its floor."
)
_CACHED = 1.15  # a bandwidth this many times that of large tensors gets its own roof
_ROOM_DECADES = 0.3  # to the right of the last point
Point = tuple[float, float]


@dataclass(frozen=True)
class _Roof:
    """`peak` in operations per second, `speed` in bytes per second."""

    name: str
    peak: float
    speed: float
    dash: str


def roofline_figure(bounds: Sequence[Bound]) -> Figure | None:
    """Operations per second over operations per byte: the measured roofs, each model, and its hottest nodes.

    Nodes whose times are known are filled; the others are hollow, on the roof that they could reach.
    """
    shown = [bound for bound in bounds if bound.flops and bound.bytes]
    if not shown:
        return None
    machines = {_machine_key(bound): bound for bound in shown}.values()
    span = _span(shown, machines)
    data = [_line(roof, span) for bound in machines for roof in _roofs(bound)]
    data += [trace for i, bound in enumerate(shown) for trace in _marks(bound, colour(i))]
    return {"data": data, "layout": _layout(span, data)}


def _layout(span: Point, data: Iterable[Figure]) -> Figure:
    axes = {"type": "log", "exponentformat": "SI", "dtick": "D2"}
    x_ends = [math.log10(end) for end in span]
    return {
        "height": 440,
        "xaxis": {**axes, "title": {"text": "operations per byte"}, "range": x_ends},
        "yaxis": {**axes, "title": {"text": "operations per second"}, "range": _height(data)},
    }


def _machine_key(bound: Bound) -> tuple[Any, ...]:
    """Bounds with equal keys have equal roofs."""
    ceilings = bound.ceilings
    return ceilings.backend, ceilings.device, main_precision(bound), ceilings.bandwidth


def _span(shown: Sequence[Bound], machines: Iterable[Bound]) -> Point:
    """Whole decades that hold all points and the ridges of the roofs."""
    nodes = [node for bound in shown for node in bound.hottest if node.flops]
    intensities = [_point(bound)[0] for bound in shown] + [_point(node)[0] for node in nodes]
    ridges = [bound.ceilings.peaks[main_precision(bound)] / _bandwidth(bound) for bound in machines]
    values = intensities + ridges
    lowest = math.floor(math.log10(min(values)))
    highest = math.ceil(math.log10(max(values)) + _ROOM_DECADES)
    return 10.0**lowest, 10.0**highest


def _height(data: Iterable[Figure]) -> list[int]:
    """Whole decades, so that there is always a tick with a number."""
    exponents = [math.log10(y) for line in data for y in line["y"] if y > 0]
    return [math.floor(min(exponents)), math.ceil(max(exponents))]


def _point(part: Bound | NodeBound) -> Point:
    """Operations per byte, and per second (at its floor if its time is unknown)."""
    time = part.floor if part.measured is None else part.measured
    return part.flops / max(1, part.bytes), part.flops / time * NS_PER_S


def _bandwidth(bound: Bound) -> float:
    """The bandwidth for large tensors, bytes per second: small ones may be faster (caches) or slower (their start)."""
    return max(bound.ceilings.bandwidth)[1]


def _roofs(bound: Bound) -> Iterator[_Roof]:
    """The roof over large tensors, and that over small ones where caches are faster."""
    precision = main_precision(bound)
    peak = bound.ceilings.peaks[precision]
    machine = f"{bound.ceilings.backend} {bound.ceilings.device}: {with_prefix(peak)}FLOP/s in {precision}"
    memory = _bandwidth(bound)
    fastest = max(speed for _, speed in bound.ceilings.bandwidth)
    yield _Roof(f"{machine}, memory {with_prefix(memory)}B/s", peak, memory, "solid")
    if fastest > _CACHED * memory:
        yield _Roof(f"{machine}, caches {with_prefix(fastest)}B/s", peak, fastest, "dot")


def _line(roof: _Roof, span: Point) -> Figure:
    ridge = min(max(roof.peak / roof.speed, span[0]), span[1])
    x = sorted({span[0], ridge, span[1]})
    return {
        "type": "scatter",
        "mode": "lines",
        "name": label(roof.name),
        "x": x,
        "y": [min(roof.peak, roof.speed * intensity) for intensity in x],
        "line": {"color": "--muted", "width": 2, "dash": roof.dash},
        "hoverinfo": "skip",
    }


def _marks(bound: Bound, ink: str) -> Iterator[Figure]:
    nodes = [node for node in bound.hottest if node.flops]
    if nodes:
        yield _nodes(bound, nodes, ink)
    x, y = _point(bound)
    best = bound.flops / bound.floor * NS_PER_S
    yield {
        "type": "scatter",
        "x": [x, x],
        "y": [y, best],
        "line": {"color": ink, "width": 1.5, "dash": "dot"},
        "mode": "lines",
        "showlegend": False,
        "hoverinfo": "skip",
    }
    yield _scatter(bound.model, [(x, y)], [floor_text(bound)], {"color": ink, "size": 14, "symbol": "diamond"})


def _nodes(bound: Bound, nodes: Sequence[NodeBound], ink: str) -> Figure:
    name = f"hottest nodes of {bound.model}"
    symbol = "circle"
    if not is_timed(bound):
        name += " at their floors"
        symbol = "circle-open"
    words = [f"{node.name} ({node.kind}), {node.limit}, floor {format_ms(node.floor)}" for node in nodes]
    return _scatter(name, [_point(node) for node in nodes], words, {"color": ink, "size": 8, "symbol": symbol})


def _scatter(name: str, points: Sequence[Point], words: Sequence[str], marker: dict[str, Any]) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": label(name),
        "x": [x for x, _ in points],
        "y": [y for _, y in points],
        "text": [label(text) for text in words],
        "marker": marker,
        "hovertemplate": "%{text}<br>%{x:.3s} operations per byte, %{y:.3s} per second<extra></extra>",
    }
