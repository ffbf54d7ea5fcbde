"""Tables of loads of other tools, which have a row per load and none per request: `explain_loads`, `compare_loads`."""

from __future__ import annotations

from pathlib import Path

from framepace import values
from framepace.analyze.loads import compared_loads, explained_loads
from framepace.facts.loads import LoadComparison, LoadExplanation
from framepace.logs.loads import read_loads


def explain_loads(path: str | Path) -> LoadExplanation:
    """What a table of loads shows: where more load brings no more answers, and what grows instead.

    Args:
        path: what perf_analyzer wrote (its CSV, its console or its exported requests), or Model Analyzer's CSV.

    Returns:
        The loads, the smallest that gives nearly all of the throughput, and what is suspected. Nothing is proven.

    Raises:
        StoreError: the file cannot be read, or has no loads.
    """
    return explained_loads(read_loads(values.path(path, "path")))


def compare_loads(a: str | Path, b: str | Path) -> LoadComparison:
    """What changed between two tables of loads, at the loads that both have.

    Args:
        a: as `explain_loads` reads it.
        b: the table that is held against it.

    Returns:
        The ratios b/a of each load. They are undecided: one number per load has no spread.

    Raises:
        StoreError: a file cannot be read, or has no loads.
    """
    return compared_loads(read_loads(values.path(a, "a")), read_loads(values.path(b, "b")))
