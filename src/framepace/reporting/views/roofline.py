"""The view-model of bounds: how many times its floor each model takes, and the roofline that shows what limits it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from framepace.facts.bounds import Bound, NodeBound
from framepace.reporting.page.figures import Figure, colour, label
from framepace.units import NS_PER_S, format_ms, format_quantity

ROOFLINE_CAPTION = (
    "The roofs are what this machine reached in a short calibration through the same backend. "
    "A point on a roof cannot get faster without fewer operations or bytes, or another precision; "
    "the dotted line is how far a model is from its floor."
)
_CACHED = 1.15  # a bandwidth so many times that of large tensors is drawn as a roof of its own
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class FloorView:
    """One model: its distance from its floor in a sentence, and its hottest nodes as rows under `columns`."""

    model: str
    text: str
    columns: tuple[str, ...]
    nodes: tuple[tuple[str, ...], ...]


def floor_views(bounds: Sequence[Bound]) -> tuple[FloorView, ...]:
    """Each model as people read it."""
    return tuple(_view(b) for b in bounds)


def _view(b: Bound) -> FloorView:
    rows = tuple(_node_row(node) for node in b.hottest)
    timed = ("time", "times its floor", "share of all") if _timed(b) else ("share of floors",)
    return FloorView(b.model, floor_text(b), ("node", "kind", "limit", "floor", *timed), rows)


def _timed(b: Bound) -> bool:
    return any(node.measured is not None for node in b.hottest)


def floor_text(b: Bound) -> str:
    """'3.20x its floor of 1.90 ms (compute; 31.0 % of the measured peak of 441 GFLOP/s in fp32)'."""
    unknown = f"; the work of {b.unknown} nodes is not known, so the floor is low" if b.unknown else ""
    batch = f" for a batch of {b.batch}" if b.batch > 1 else ""
    head = f"{format_quantity(b.times, 'x')} its floor of {format_ms(b.floor)}{batch}"
    return f"{head} ({b.limit}; {_reached(b)}{unknown})"


def _reached(b: Bound) -> str:
    if b.limit == "memory":
        speed = b.bytes / b.memory * NS_PER_S
        return f"{format_quantity(b.bandwidth_share, 'share')} of the measured bandwidth of {_si(speed)}B/s"
    precision = _precision(b)
    peak = f"{_si(b.ceilings.peaks[precision])}FLOP/s in {precision}"
    return f"{format_quantity(b.peak_share, 'share')} of the measured peak of {peak}"


def _precision(b: Bound) -> str:
    """The precision that most of the model's time at the peak is in; there is always a measured one."""
    known = b.ceilings.peaks
    return b.precision if b.precision in known else max(known, key=lambda name: known[name])


def _node_row(n: NodeBound) -> tuple[str, ...]:
    timed = () if n.measured is None else (format_ms(n.measured), format_quantity(n.measured / n.floor, "x"))
    return n.name, f"{n.kind} {n.precision}", n.limit, format_ms(n.floor), *timed, format_quantity(n.share, "share")


def _si(value: float) -> str:
    """'441 G': the number and its prefix, for a unit to follow."""
    size, prefix = next(((size, prefix) for size, prefix in _PREFIXES if value >= size), (1.0, ""))
    scaled = value / size
    return f"{scaled:.0f} {prefix}" if scaled >= 100 else f"{scaled:.3g} {prefix}"


def roofline_figure(bounds: Sequence[Bound]) -> Figure | None:
    """Operations a second over operations a byte: the measured roofs, each model, and its hottest nodes.

    Nodes whose times are known are filled; the others are hollow, on the roof that they could reach.
    """
    shown = [b for b in bounds if b.flops and b.bytes]
    if not shown:
        return None
    points = [p for b in shown for p in (_point(b), *(_point(n) for n in b.hottest if n.flops))]
    roofs = {(b.ceilings.backend, b.ceilings.device, _precision(b), b.ceilings.bandwidth): b for b in shown}
    ridges = [b.ceilings.peaks[_precision(b)] / _memory(b) for b in roofs.values()]
    span = _decades([x for x, _ in points] + ridges)
    data = [line for b in roofs.values() for line in _roof(b, span)]
    data += [trace for i, b in enumerate(shown) for trace in _marks(b, colour(i))]
    axes = {"type": "log", "exponentformat": "SI", "dtick": "D2"}
    xaxis = {**axes, "title": {"text": "operations a byte"}, "range": [math.log10(end) for end in span]}
    heights = [math.log10(y) for line in data for y in line["y"] if y > 0]
    ends = [math.floor(min(heights)), math.ceil(max(heights))]  # whole decades: there is always a tick with a number
    yaxis = {**axes, "title": {"text": "operations a second"}, "range": ends}
    return {"data": data, "layout": {"height": 440, "xaxis": xaxis, "yaxis": yaxis}}


def _point(what: Bound | NodeBound) -> tuple[float, float]:
    """Operations a byte, and a second; at its floor where no time is known."""
    time = what.floor if what.measured is None else what.measured
    return what.flops / max(1, what.bytes), what.flops / time * NS_PER_S


def _memory(b: Bound) -> float:
    """The bandwidth for large tensors, bytes a second: small ones may be faster (caches) or slower (their start)."""
    return max(b.ceilings.bandwidth)[1]


def _decades(values: Iterable[float]) -> tuple[float, float]:
    found = list(values)
    return 10.0 ** math.floor(math.log10(min(found))), 10.0 ** math.ceil(math.log10(max(found)) + 0.3)


def _roof(b: Bound, span: tuple[float, float]) -> Iterable[Figure]:
    """The roof over large tensors, and that over small ones where caches are faster."""
    precision, speeds = _precision(b), [speed for _, speed in b.ceilings.bandwidth]
    peak, where = b.ceilings.peaks[precision], f"{b.ceilings.backend} {b.ceilings.device}"
    roofs = [("memory", _memory(b), "solid")]
    roofs += [("caches", max(speeds), "dot")] if max(speeds) > _CACHED * _memory(b) else []
    for name, speed, dash in roofs:
        x = sorted({span[0], min(max(peak / speed, span[0]), span[1]), span[1]})
        yield {
            "type": "scatter",
            "mode": "lines",
            "name": label(f"{where}: {_si(peak)}FLOP/s in {precision}, {name} {_si(speed)}B/s"),
            "x": x,
            "y": [min(peak, speed * at) for at in x],
            "line": {"color": "--muted", "width": 2, "dash": dash},
            "hoverinfo": "skip",
        }


def _marks(b: Bound, ink: str) -> Iterable[Figure]:
    nodes = [n for n in b.hottest if n.flops]
    if nodes:
        timed = _timed(b)
        words = [f"{n.name} ({n.kind}), {n.limit}, floor {format_ms(n.floor)}" for n in nodes]
        size, symbol = 8, "circle" if timed else "circle-open"
        name = f"hottest nodes of {b.model}" + ("" if timed else " at their floors")
        yield _scatter(name, [_point(n) for n in nodes], words, {"color": ink, "size": size, "symbol": symbol})
    (x, y), best = _point(b), b.flops / b.floor * NS_PER_S
    line = {"color": ink, "width": 1.5, "dash": "dot"}
    shown = {"mode": "lines", "showlegend": False, "hoverinfo": "skip"}
    yield {"type": "scatter", "x": [x, x], "y": [y, best], "line": line, **shown}
    yield _scatter(b.model, [(x, y)], [floor_text(b)], {"color": ink, "size": 14, "symbol": "diamond"})


def _scatter(name: str, points: Sequence[tuple[float, float]], words: Sequence[str], marker: dict[str, Any]) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": label(name),
        "x": [x for x, _ in points],
        "y": [y for _, y in points],
        "text": [label(text) for text in words],
        "marker": marker,
        "hovertemplate": "%{text}<br>%{x:.3s} operations a byte, %{y:.3s} a second<extra></extra>",
    }
