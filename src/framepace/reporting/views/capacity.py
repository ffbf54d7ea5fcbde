"""The view-model of capacities: the sentence, and a row per camera count with measurement and prediction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from framepace.facts.capacity import Capacity, CapacityPoint
from framepace.facts.device import SIMULATED
from framepace.reporting.views.text import estimate, maybe, optional, plural, split_interval
from framepace.units import format_ms, format_quantity

COLUMNS = ("cameras", "p99", "late", "lost", "fps", "cores", "predicted", "late")
MEASURED_COLUMNS = 6  # what is left of COLUMNS where nothing was predicted
_NOT_MEASURED = ("", "", "", "", "")
_NOT_PREDICTED = ("", "")


@dataclass(frozen=True)
class CapacityRow:
    """One count of cameras as texts in the order of COLUMNS; `holds` is None where it was only predicted."""

    texts: tuple[str, ...]
    holds: bool | None


@dataclass(frozen=True)
class CapacityView:
    """A capacity: the sentence people read first, what limits it, and the rows of the table."""

    sentence: str
    limit: str
    rows: tuple[CapacityRow, ...]
    notes: tuple[str, ...]
    predicted: bool


def capacity_view(capacity: Capacity) -> CapacityView:
    """A capacity in words."""
    measured = {point.cameras: point for point in capacity.points if point.measured}
    predicted = {point.cameras: point for point in capacity.points if not point.measured}
    counts = sorted(measured.keys() | predicted.keys())
    return CapacityView(
        sentence=_sentence(capacity, measured),
        limit=_limit(capacity),
        rows=tuple(_row(count, measured.get(count), predicted.get(count)) for count in counts),
        notes=tuple(_notes(capacity)),
        predicted=bool(predicted),
    )


def _limit(capacity: Capacity) -> str:
    if capacity.missed is None or not capacity.limited_by:
        return ""
    return f"limited by {capacity.limited_by}"


def _sentence(capacity: Capacity, measured: Mapping[int, CapacityPoint]) -> str:
    target = f"at {capacity.fps:g} fps with p99 within {format_ms(capacity.budget)}"
    if capacity.fits is None:
        return "nothing was measured"
    if capacity.fits is False:
        sentence = f"not one camera {target}"
        return f"{sentence}: {_shortfall(capacity, measured[1])}" if capacity.missed == 1 else sentence
    return f"{_count(capacity)} {target}"


def _count(capacity: Capacity) -> str:
    """'7 cameras', 'at least 7 cameras' or 'between 7 and 9 cameras'."""
    if capacity.exact:
        return plural(capacity.cameras, "camera")
    if capacity.missed is None:
        return f"at least {plural(capacity.cameras, 'camera')}"
    return f"between {capacity.cameras} and {capacity.missed - 1} cameras"


def _shortfall(capacity: Capacity, point: CapacityPoint) -> str:
    """How far a count misses the target."""
    late = f"{point.late:.1%} of the frames are late"
    if point.lost:
        late += f", {point.lost:,} lost"
    if point.p99 is None:
        return late
    over = point.p99.value - capacity.budget
    side = "over" if over > 0 else "under"
    return f"p99 is {format_ms(abs(over))} {side}, {late}"


def _row(cameras: int, measured: CapacityPoint | None, predicted: CapacityPoint | None) -> CapacityRow:
    texts = [str(cameras)]
    texts += _NOT_MEASURED if measured is None else _texts(measured)
    texts += _NOT_PREDICTED if predicted is None else (split_interval(_p99(predicted))[0], f"{predicted.late:.1%}")
    return CapacityRow(tuple(texts), maybe(measured, lambda point: point.holds))


def _texts(point: CapacityPoint) -> tuple[str, ...]:
    cores = optional(point.cpu, "{:.2f}".format)
    return _p99(point), f"{point.late:.1%}", f"{point.lost:,}", format_quantity(point.throughput, ""), cores


def _p99(point: CapacityPoint) -> str:
    return optional(point.p99, lambda p99: estimate(p99, "ns")) or "unknown"


def _notes(capacity: Capacity) -> Iterator[str]:
    if capacity.simulated:
        yield SIMULATED
    if capacity.predicted is not None:
        yield f"predicted: {plural(capacity.predicted, 'camera')}"
    if capacity.stopped:
        yield f"the search ended early ({capacity.stopped}): this is its result so far"
    yield from capacity.notes
