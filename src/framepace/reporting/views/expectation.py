"""The view-model of another tool's number: from that number to the stream's latency, a row per step."""

from __future__ import annotations

from dataclasses import dataclass

from framepace.facts.finding import Expectation, ExpectationPart
from framepace.reporting.views.text import signed
from framepace.units import format_ms

COLUMNS = ("step", "kind", "time", "how")
_KINDS = {"left out": "not in its number", "load": "from another load", "real": "real", "unexplained": "unexplained"}


@dataclass(frozen=True)
class ExpectationView:
    """`sentence` is read first; `rows` hold step, kind, time and how: the tool's number first, the stream's last."""

    sentence: str
    rows: tuple[tuple[str, str, str, str], ...]


def expectation_view(expectation: Expectation) -> ExpectationView:
    """Another tool's number in words and rows, all times in one unit."""
    like = max(expectation.said, expectation.seen)
    first = (f"{expectation.tool} reported", "", format_ms(expectation.said, like), expectation.counts)
    last = ("in the stream", "", format_ms(expectation.seen, like), "median latency, from when a frame was due")
    steps = (_row(part, like) for part in expectation.parts)
    return ExpectationView(_sentence(expectation, like), (first, *steps, last))


def _row(part: ExpectationPart, like: float) -> tuple[str, str, str, str]:
    kind = "" if part.kind == "unexplained" else part.kind
    return part.name, kind, signed(part.ns, like), part.how


def _sentence(expectation: Expectation, like: float) -> str:
    parts_by_kind = {kind: [part.ns for part in expectation.parts if part.kind == kind] for kind in _KINDS}
    sums = {kind: sum(parts) for kind, parts in parts_by_kind.items() if parts}
    differences = ", ".join(f"{signed(ns, like)} {_KINDS[kind]}" for kind, ns in sums.items())
    number = format_ms(expectation.said, like)
    latency = format_ms(expectation.seen, like)
    return f"{expectation.tool} reported {number}, the stream takes {latency}: {differences}"
