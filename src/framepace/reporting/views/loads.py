"""The view-models of tables of loads: a row per load, and what they show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from framepace.facts.loads import LoadChange, LoadComparison, LoadExplanation, LoadPoint, load_words
from framepace.reporting.views.text import optional, plural
from framepace.units import format_ms

_MOST_ROWS = 40
# Parts that are shown as one, so that a row fits into 80 columns.
_SHOWN: Mapping[str, tuple[str, ...]] = {
    "network": ("send", "network", "receive"),
    "queue": ("queue",),
    "copies": ("input", "output", "cache"),
    "compute": ("compute",),
}
CHANGES = ("load", "throughput", "mean", "p99")
_NO_SPREAD = "undecided: a table has one number per load, and no spread; compare files of --profile-export-file"


@dataclass(frozen=True)
class LoadsView:
    """A table of loads in words."""

    sentence: str
    knee: str
    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class LoadsComparisonView:
    """Two tables in words; `rows` are texts in the order of CHANGES."""

    sentence: str
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def loads_view(explanation: LoadExplanation) -> LoadsView:
    """A table of loads, and what it shows."""
    points = explanation.table.points
    parts = [name for name, parts in _SHOWN.items() if any(part in point.parts for part in parts for point in points)]
    return LoadsView(
        sentence=_sentence(explanation),
        knee=_knee(explanation),
        names=("load", "per s", "mean", "p99", *parts),
        rows=tuple(_row(point, parts) for point in points[:_MOST_ROWS]),
        notes=tuple(_more(len(points))) + explanation.table.notes,
    )


def _sentence(explanation: LoadExplanation) -> str:
    table = explanation.table
    best = max(table.points, key=lambda point: point.throughput)
    loads = plural(len(table.points), "load")
    return f"{table.file}: {loads} of {table.tool}; at most {best.throughput:,.5g} per second, at {load_words(best)}"


def _knee(explanation: LoadExplanation) -> str:
    """Where more load brings no more."""
    knee = explanation.knee
    if knee is None:
        return ""
    words = f"{load_words(knee)} give {knee.throughput:,.5g} per second already"
    if not explanation.grown:
        return words
    return f"{words}; beyond, {explanation.grown} grows by {format_ms(explanation.growth)}"


def _row(point: LoadPoint, parts: list[str]) -> tuple[str, ...]:
    times = [point.mean, point.percentiles.get("p99"), *(_together(point, part) for part in parts)]
    return load_words(point), f"{point.throughput:,.5g}", *(optional(ns, format_ms) for ns in times)


def _together(point: LoadPoint, name: str) -> float | None:
    """The parts that are shown as one; None where none of them is known."""
    known = [point.parts[part] for part in _SHOWN[name] if part in point.parts]
    return sum(known) if known else None


def _more(count: int) -> list[str]:
    if count <= _MOST_ROWS:
        return []
    return [f"{count - _MOST_ROWS:,} more loads (--json has all)"]


def loads_comparison_view(comparison: LoadComparison) -> LoadsComparisonView:
    """Two tables of loads."""
    notes = [
        f"{plural(count, 'load')} only in {file}"
        for count, file in ((comparison.only_a, comparison.a), (comparison.only_b, comparison.b))
        if count
    ]
    return LoadsComparisonView(
        sentence=f"{comparison.b} beside {comparison.a}: {_NO_SPREAD}",
        rows=tuple(map(_change, comparison.changes)),
        notes=tuple(notes),
    )


def _change(change: LoadChange) -> tuple[str, ...]:
    ratios = (change.throughput, change.mean, change.p99)
    return load_words(change), *(optional(ratio, "{:.2f}x".format) for ratio in ratios)
