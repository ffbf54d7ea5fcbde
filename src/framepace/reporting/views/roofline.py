"""The view-model of bounds: each model's time as a multiple of its floor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from framepace.facts.bounds import Bound, NodeBound
from framepace.reporting.views.text import share
from framepace.units import NS_PER_S, format_ms, format_quantity

_NODE_COLUMNS = ("node", "kind", "limit", "floor")
_TIMED_COLUMNS = (*_NODE_COLUMNS, "time", "times its floor", "share of all")
_UNTIMED_COLUMNS = (*_NODE_COLUMNS, "share of floors")
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (0.0, ""))


@dataclass(frozen=True)
class FloorView:
    """One model: its distance from its floor in a sentence, and its hottest nodes as rows under `columns`."""

    model: str
    text: str
    columns: tuple[str, ...]
    nodes: tuple[tuple[str, ...], ...]


def floor_views(bounds: Sequence[Bound]) -> tuple[FloorView, ...]:
    """Each model as people read it."""
    return tuple(_view(bound) for bound in bounds)


def _view(bound: Bound) -> FloorView:
    columns = _TIMED_COLUMNS if is_timed(bound) else _UNTIMED_COLUMNS
    return FloorView(bound.model, floor_text(bound), columns, tuple(_node_row(node) for node in bound.hottest))


def is_timed(bound: Bound) -> bool:
    """Whether the nodes have measured times."""
    return any(node.measured is not None for node in bound.hottest)


def floor_text(bound: Bound) -> str:
    """'3.20x its floor of 1.90 ms (compute; 31.0 % of the measured peak of 441 GFLOP/s in fp32)'."""
    text = f"{format_quantity(bound.times, 'x')} its floor of {format_ms(bound.floor)}"
    if bound.batch > 1:
        text += f" for a batch of {bound.batch}"
    reached = _reached(bound)
    if bound.unknown:
        reached += f"; the work of {bound.unknown} nodes is unknown, so the true floor is higher"
    return f"{text} ({bound.limit}; {reached})"


def _reached(bound: Bound) -> str:
    if bound.limit == "memory":
        speed = bound.bytes / bound.memory * NS_PER_S
        return f"{share(bound.bandwidth_share)} of the measured bandwidth of {with_prefix(speed)}B/s"
    precision = main_precision(bound)
    peak = f"{with_prefix(bound.ceilings.peaks[precision])}FLOP/s in {precision}"
    return f"{share(bound.peak_share)} of the measured peak of {peak}"


def main_precision(bound: Bound) -> str:
    """The precision that most of the model's peak time is spent in; its peak is always measured."""
    peaks = bound.ceilings.peaks
    if bound.precision in peaks:
        return bound.precision
    return max(peaks, key=lambda name: peaks[name])


def _node_row(node: NodeBound) -> tuple[str, ...]:
    row = [node.name, f"{node.kind} {node.precision}", node.limit, format_ms(node.floor)]
    if node.measured is not None:
        row += [format_ms(node.measured), _times_its_floor(node)]
    row.append(share(node.share))
    return tuple(row)


def _times_its_floor(node: NodeBound) -> str:
    """'3.20x'; '' where its work is done sooner than it can be launched."""
    if node.measured is None or node.limit == "launches":
        return ""
    return format_quantity(node.measured / node.floor, "x")


def with_prefix(value: float) -> str:
    """'441 G': the number and its SI prefix, for a unit to follow."""
    size, prefix = next((size, prefix) for size, prefix in _PREFIXES if value >= size)
    scaled = value / (size or 1.0)
    digits = f"{scaled:.0f}" if scaled >= 100 else f"{scaled:.3g}"
    return f"{digits} {prefix}"
