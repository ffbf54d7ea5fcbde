"""framepace compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from framepace.cli import options as o
from framepace.cli.logs import Column, compare_loads, is_table_of_loads
from framepace.cli.show import answer, give

Trace = Annotated[Path, o.path_argument("TRACE", help="folder of a trace, or a log (.csv, .jsonl, .parquet, ...)")]
Threshold = Annotated[
    float, o.number_option("--threshold", least=0.0, most=10.0, help="smallest difference that counts, as a fraction")
]


def command(a: Trace, b: Trace, threshold: Threshold = 0.03, column: Column = [], json: o.Json = False) -> None:
    """Compare two traces or logs: is B faster, slower, the same or undecided, and why. Exit code 1 if slower."""
    from framepace import api
    from framepace.reporting import documents
    from framepace.reporting.terminal.comparison import show_comparison

    if is_table_of_loads(a) and is_table_of_loads(b):
        compare_loads(a, b, json)
        return
    result = api.compare(a, b, threshold=threshold, columns=column)
    give(json, lambda: documents.compare_document(result), lambda console: show_comparison(console, result))
    answer(result.verdict != "slower")
