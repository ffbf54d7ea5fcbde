"""The view-model of capacities: the sentence, and one row a count of cameras with measurement and prediction."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from framepace.facts.capacity import Capacity, CapacityPoint
from framepace.units import format_estimate, format_ms, format_quantity

_COLUMNS = ("cameras", "p99", "late", "lost", "fps", "cores", "predicted", "late")


@dataclass(frozen=True)
class CapacityRow:
    """One count of cameras as texts in the order of the columns; `holds` is None where it was only predicted."""

    texts: tuple[str, ...]
    holds: bool | None


@dataclass(frozen=True)
class CapacityView:
    """A capacity: the sentence people read first, what is in the way, and the rows of the table."""

    sentence: str
    limit: str
    rows: tuple[CapacityRow, ...]
    notes: tuple[str, ...]
    predicted: bool


def capacity_view(c: Capacity) -> CapacityView:
    """A capacity in words."""
    measured = {p.cameras: p for p in c.points if p.measured}
    predicted = {p.cameras: p for p in c.points if not p.measured}
    rows = tuple(_row(n, measured.get(n), predicted.get(n)) for n in sorted(measured.keys() | predicted.keys()))
    limit = f"limited by {c.limited_by}" if c.missed is not None and c.limited_by else ""
    return CapacityView(_sentence(c, measured), limit, rows, tuple(_notes(c)), bool(predicted))


def show_capacity(out: Console, c: Capacity) -> None:
    """The sentence, what limits, and the table."""
    view = capacity_view(c)
    style = {True: "bold green", False: "bold red", None: "bold"}[c.fits]
    out.print(Text(view.sentence, style=style))
    if view.limit:
        out.print(Text(view.limit, style="bold"))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    shown = len(_COLUMNS) if view.predicted else len(_COLUMNS) - 2
    for name in _COLUMNS[:shown]:
        table.add_column(name, justify="right", no_wrap=True)
    for row in view.rows:
        colour = {True: "green", False: "red", None: "dim"}[row.holds]
        table.add_row(*(Text(text, style=colour if i < 3 else "") for i, text in enumerate(row.texts[:shown])))
    if view.rows:
        out.print()
        out.print(table)
    for note in view.notes:
        out.print(Text.assemble(("note: ", "yellow"), note))


def _sentence(c: Capacity, measured: dict[int, CapacityPoint]) -> str:
    asked = f"at {c.fps:g} fps with p99 within {format_ms(c.budget)}"
    if c.fits is None:
        return "nothing was measured"
    if c.fits is False:
        return f"not one camera {asked}" if c.missed != 1 else f"not one camera {asked}: {_short(c, measured[1])}"
    how = "" if c.exact else "at least " if c.missed is None else "between "
    upper = "" if c.exact or c.missed is None else f" and {c.missed - 1}"
    one = c.cameras == 1 and not upper
    return f"{how}{c.cameras}{upper} camera{'' if one else 's'} {asked}"


def _short(c: Capacity, point: CapacityPoint) -> str:
    """By how much a count does not hold."""
    late = f"{point.late:.1%} of the frames are late"
    lost = f", {point.lost:,} lost" if point.lost else ""
    if point.p99 is None:
        return late + lost
    over = point.p99.value - c.budget
    return f"p99 is {format_ms(abs(over))} {'over' if over > 0 else 'under'}, {late}{lost}"


def _row(cameras: int, measured: CapacityPoint | None, predicted: CapacityPoint | None) -> CapacityRow:
    rest = ("", "", "", "", "") if measured is None else _texts(measured)
    foreseen = ("", "") if predicted is None else (_texts(predicted)[0].partition(" [")[0], f"{predicted.late:.1%}")
    return CapacityRow((str(cameras), *rest, *foreseen), None if measured is None else measured.holds)


def _texts(p: CapacityPoint) -> tuple[str, ...]:
    p99 = "unknown" if p.p99 is None else format_estimate(p.p99.value, p.p99.low, p.p99.high, "ns")
    cpu = "" if p.cpu is None else f"{p.cpu:.2f}"
    return p99, f"{p.late:.1%}", f"{p.lost:,}", format_quantity(p.throughput, ""), cpu


def _notes(c: Capacity) -> list[str]:
    notes = ["simulated: a model of a device made these durations, nothing was measured"] if c.simulated else []
    if c.predicted is not None:
        notes.append(f"predicted: {c.predicted} camera{'' if c.predicted == 1 else 's'}")
    if c.stopped:
        notes.append(f"the search ended early ({c.stopped}): this is what was known by then")
    return notes
