"""Tables of loads: what perf_analyzer and Model Analyzer write, a row per load and none per request."""

from __future__ import annotations

from typing import Literal

from framepace.facts.base import Fact
from framepace.facts.bounded import NonNegative
from framepace.facts.log import Suspected

LoadMode = Literal["in flight", "per second", ""]
PARTS = ("send", "network", "queue", "input", "compute", "output", "cache", "receive")
"""What a request's time consists of, in its order: by the client, on the way, and by the server."""


class LoadPoint(Fact, frozen=True, kw_only=True):
    """One load: requests in flight or sent per second ('' where that is not said), and what came of it.

    `name` is the model's configuration, where several are in the table. `throughput` is in inferences per second,
    `mean`, `percentiles` ('p99') and `parts` in ns.
    """

    mode: LoadMode = ""
    load: NonNegative | None = None
    name: str = ""
    throughput: NonNegative = 0.0
    mean: float | None = None
    percentiles: dict[str, float] = {}
    parts: dict[str, float] = {}


class LoadTable(Fact, frozen=True, kw_only=True):
    """All loads of a file, by name and load; `tool` wrote it."""

    file: str
    tool: str
    points: tuple[LoadPoint, ...]
    notes: tuple[str, ...] = ()


class LoadExplanation(Fact, frozen=True, kw_only=True):
    """What a table of loads shows: nothing of it is proven.

    `knee` is the smallest load that gives nearly all of the throughput, None where there is one load alone; `grown` is
    the part that grows most from there to the largest load, by so many ns.
    """

    table: LoadTable
    knee: LoadPoint | None = None
    grown: str = ""
    growth: float = 0.0
    suspected: tuple[Suspected, ...] = ()


class LoadChange(Fact, frozen=True, kw_only=True):
    """A load that is in two tables: b/a of the throughput, the mean and the p99, None where one does not say."""

    mode: LoadMode
    load: NonNegative | None
    name: str
    throughput: float | None = None
    mean: float | None = None
    p99: float | None = None


class LoadComparison(Fact, frozen=True, kw_only=True):
    """Two tables of loads: what changed at the loads that both have. One number per load has no spread: undecided."""

    a: str
    b: str
    changes: tuple[LoadChange, ...] = ()
    only_a: int = 0
    only_b: int = 0
    verdict: Literal["undecided"] = "undecided"


def load_words(point: LoadPoint | LoadChange) -> str:
    """'4 in flight', '30 per second', or 'the load' where that is not said."""
    words = "the load" if point.load is None else f"{point.load:g} {point.mode}"
    return f"{point.name}, {words}" if point.name else words
