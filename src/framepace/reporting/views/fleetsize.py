"""The view-model of a fleet: the sentence, a row per kind of host, and what each kind alone would need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from framepace.facts.device import SIMULATED
from framepace.facts.fleetsize import Alone, FleetSize, HostGroup
from framepace.reporting.views.text import optional, plural
from framepace.units import format_ms

_COLUMNS = ("host", "hosts", "devices", "carries", "cameras", "p99", "one lost", "p99")
_COST = "cost"


@dataclass(frozen=True)
class FleetView:
    """A fleet in words; `rows` are texts in the order of `columns`."""

    sentence: str
    cost: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    alone: tuple[str, ...]
    notes: tuple[str, ...]


def fleet_view(size: FleetSize) -> FleetView:
    """A fleet in words."""
    return FleetView(
        sentence=_sentence(size),
        cost=_cost(size),
        columns=_COLUMNS if size.cost is None else (*_COLUMNS, _COST),
        rows=tuple(map(_row, size.groups)),
        alone=tuple(map(_alone, size.alone)) if len(size.alone) > 1 else (),
        notes=tuple(_notes(size)),
    )


def _sentence(size: FleetSize) -> str:
    target = f"{size.cameras:,} cameras at {size.fps:g} fps with p99 within {format_ms(size.budget)}"
    if not size.fits:
        return f"these hosts do not carry {target}: without the largest of them, {size.carried:,} cameras"
    hosts = " and ".join(f"{group.hosts:,} {group.kind}" for group in size.groups)
    return f"{target}: {hosts}, one {size.lost} of which may be lost"


def _cost(size: FleetSize) -> str:
    if size.cost is None or size.cost_per_camera is None:
        return ""
    return f"cost {size.cost:,.6g}, {size.cost_per_camera:,.4g} per camera"


def _row(group: HostGroup) -> tuple[str, ...]:
    counts = (group.hosts, group.devices, group.carries, group.cameras)
    texts = [f"{count:,}" for count in counts]
    row = (group.kind, *texts, _p99(group.p99), f"{group.after:,}", _p99(group.p99_after))
    return row if group.cost is None else (*row, f"{group.cost:,.6g}")


def _p99(ns: float | None) -> str:
    return optional(ns, format_ms) or "unknown"


def _alone(alone: Alone) -> str:
    if alone.hosts is None:
        return f"{alone.kind} alone: not enough of them"
    words = f"{alone.kind} alone: {plural(alone.hosts, 'host')}"
    return words if alone.cost is None else f"{words}, cost {alone.cost:,.6g}"


def _notes(size: FleetSize) -> Iterator[str]:
    if size.simulated:
        yield SIMULATED
    yield from size.notes
