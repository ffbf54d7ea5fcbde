"""The view-model of another tool's number: from what it said to the stream's latency, a row a step."""

from __future__ import annotations

from dataclasses import dataclass

from framepace.facts.finding import Expectation, ExpectationPart
from framepace.units import format_ms

COLUMNS = ("step", "kind", "time", "how")
_KINDS = {"left out": "left out by its number", "load": "from its load", "real": "real", "unexplained": "unexplained"}


@dataclass(frozen=True)
class ExpectationView:
    """`sentence` is read first; `rows` hold step, kind, time and how, what was said first and what was seen last."""

    sentence: str
    rows: tuple[tuple[str, str, str, str], ...]


def expectation_view(e: Expectation) -> ExpectationView:
    """Another tool's number in words and rows, all times in one unit."""
    like = max(e.said, e.seen)
    head = (f"{e.tool} said", "", format_ms(e.said, like), e.counts)
    end = ("in the stream", "", format_ms(e.seen, like), "median latency, from when a frame was due")
    return ExpectationView(_sentence(e, like), (head, *(_row(part, like) for part in e.parts), end))


def _row(part: ExpectationPart, like: float) -> tuple[str, str, str, str]:
    kind = "" if part.kind == "unexplained" else part.kind
    return part.name, kind, _signed(part.ns, like), part.how


def _sentence(e: Expectation, like: float) -> str:
    sums = {kind: [part.ns for part in e.parts if part.kind == kind] for kind in _KINDS}
    told = ", ".join(f"{_signed(sum(sums[kind]), like)} {words}" for kind, words in _KINDS.items() if sums[kind])
    said, seen = format_ms(e.said, like), format_ms(e.seen, like)
    return f"{e.tool} said {said}, the stream takes {seen}: {told}"


def _signed(ns: float, like: float) -> str:
    text = format_ms(ns, like)
    return text if text.startswith("-") or not ns > 0 else f"+{text}"
