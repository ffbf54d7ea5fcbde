"""The view-model of a log: how it was read, what goes with its latencies, and which experiments would decide."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from framepace.facts.log import Beside, LogColumn, LogExplanation, LogReading, Suspected
from framepace.reporting.views.late import late_sentences

_SHOWN = 12  # columns named in the line on how the log was read


@dataclass(frozen=True)
class LogView:
    """A log in words; `beside` are rows of column, in late frames, in others and correlation."""

    source: str
    columns: str
    notes: tuple[str, ...]
    late: tuple[str, ...]
    beside: tuple[tuple[str, str, str, str], ...]
    suspected: tuple[Suspected, ...]
    budget_hint: str
    first: str


BESIDE_COLUMNS = ("goes with the latency", "late", "others", "correlation")
SUSPECTED_TITLE = "suspected, not proven; what would decide"


def log_view(explanation: LogExplanation) -> LogView:
    """A log as rows and sentences."""
    hint = ""
    if explanation.summary.budget is None:
        hint = "no budget: name one with --p99-ms or --fps to have frames judged by it"
    return LogView(
        source=_source(explanation.reading),
        columns=", ".join(_columns(explanation.reading)),
        notes=explanation.reading.notes,
        late=late_sentences(explanation.late),
        beside=tuple(_beside(one) for one in explanation.beside),
        suspected=explanation.suspected,
        budget_hint=hint,
        first=_first(explanation),
    )


def _first(explanation: LogExplanation) -> str:
    """The cause to try first, in a sentence."""
    if not explanation.suspected:
        return ""
    one = explanation.suspected[0]
    return f"first to try: {suspected_name(one)} ({one.because})"


def suspected_name(one: Suspected) -> str:
    """'FP001 the device's clocks fall between frames'."""
    return f"{one.code} {one.title}".strip()


def _source(reading: LogReading) -> str:
    text = f"{reading.file}: {reading.kind}, {reading.rows:,} rows"
    if reading.left_out:
        text += f", {reading.left_out:,} of them left out"
    return text


def _columns(reading: LogReading) -> Iterator[str]:
    """'latency from total_ms (ms)': what was taken as what."""
    used = [column for column in reading.columns if column.role != "beside"]
    for column in used[:_SHOWN]:
        yield _column(column)
    if len(used) > _SHOWN:
        yield f"and {len(used) - _SHOWN} more"


def _column(column: LogColumn) -> str:
    words = column.role.replace("_", " ")
    if column.name != words:
        words += f" from {column.name!r}"
    if column.unit and not column.name.endswith(column.unit):
        words += f" in {column.unit}"
    return words


def _beside(one: Beside) -> tuple[str, str, str, str]:
    low, high = one.correlation.interval
    late = "" if one.late is None else f"{one.late:.4g}"
    return one.column, late, f"{one.other:.4g}", f"{one.correlation.value:+.2f} [{low:+.2f}, {high:+.2f}]"
