"""What `explain` and `compare` take of logs: files that another program wrote, one row per frame."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from framepace.cli.bench import output_folder
from framepace.cli.show import answer, give
from framepace.errors import UsageError

if TYPE_CHECKING:
    from framepace.facts.log import LogExplanation
    from framepace.logs.trace import Log

_COLUMN = "of a log: what a column is, ROLE=COLUMN[:UNIT], e.g. latency=total_ms or time=t:s; repeat for several"
Column = Annotated[list[str], typer.Option("--column", metavar="ROLE=COLUMN", help=_COLUMN)]
_NO_OPTIONS = (
    "video", "load", "size", "shape", "layout", "input_", "image", "previous", "state", "window", "set_", "seed",
    "backend", "device", "expect", "from_",
)  # fmt: skip


def log_among(models: list[str], columns: list[str]) -> Path | None:
    """The log that is named instead of models. Raises UsageError for a log beside other things."""
    from framepace.logs.reading import is_log

    logs = [Path(model) for model in models if _is_observed(model) or is_log(model)]
    if len(logs) == len(models) == 1:
        return logs[0]
    if logs:
        fix = f"name one log alone, or `framepace compare` with two: {' '.join(models[:2])}"
        raise UsageError("explain takes one log, or models", got=", ".join(models), fix=fix)
    if columns:
        fix = "name a log (.csv, .tsv, .jsonl, .json, .parquet), or leave --column out"
        raise UsageError("--column is for logs", got=", ".join(models), fix=fix)
    return None


def _is_observed(model: str) -> bool:
    """Whether a path is a folder with the trace of a program; that of a plan names the models to run again."""
    from framepace.store import is_trace, load_trace

    return os.path.isdir(model) and is_trace(Path(model)) and not load_trace(Path(model)).meta.is_plan


def _report(log: Log, explanation: LogExplanation, out: Path | None, overwrite: bool) -> str:
    """Write the report; its path."""
    from framepace import reading

    with output_folder(out, "explain") as folder:
        return str(reading.report_log(log, explanation, folder / "report.html", overwrite=overwrite))


def check_no_others(context: typer.Context) -> None:
    """Raise UsageError for options that say how models run: nothing runs for a log."""
    typed = [name for name in _NO_OPTIONS if _is_typed(context, name)]
    if typed:
        options = ", ".join(f"--{name.strip('_').replace('_', '-')}" for name in typed)
        fix = f"leave out {options}; --fps, --p99-ms, --column, --out and --json go with a log"
        raise UsageError("a log is read, and nothing is run", got=options, fix=fix)


def _budget(context: typer.Context) -> dict[str, float | None]:
    """The budget that was named; the rate has a default, which is that of runs. Raises UsageError for other options."""
    check_no_others(context)
    budget = {"p99_ms": context.params["p99_ms"]}
    if _is_typed(context, "fps"):
        budget["fps"] = context.params["fps"]
    return budget


def _is_typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def explain_log(
    path: Path, context: typer.Context, *, columns: list[str], out: Path | None, overwrite: bool, json: bool
) -> None:
    """Explain a log, write its report, and end with 1 where it plainly misses the budget that was named."""
    from framepace import reading
    from framepace.reporting.documents import explain_log_document
    from framepace.reporting.terminal.log import show_log

    if is_table_of_loads(path):
        check_no_others(context)
        explain_loads(path, json)
        return
    log = reading.read_log(path, columns=columns, **_budget(context))
    explanation = reading.explained_log(log)
    paths = {"report": _report(log, explanation, out, overwrite)}
    give(json, partial(explain_log_document, explanation, **paths), lambda out: show_log(out, explanation, paths))
    answer(explanation.summary.met is not False)


def is_table_of_loads(path: Path) -> bool:
    """Whether a path is a file with a row per load, as perf_analyzer writes it, and none per request."""
    from framepace.logs.loads import is_loads

    return not os.path.isdir(path) and is_loads(path)


def explain_loads(path: Path, json: bool) -> None:
    """Say what a table of loads shows."""
    from framepace.loadtables import explain_loads
    from framepace.reporting.loadsdocument import loads_document
    from framepace.reporting.terminal.loads import show_loads

    explanation = explain_loads(path)
    give(json, lambda: loads_document(explanation), lambda out: show_loads(out, explanation))


def compare_loads(a: Path, b: Path, json: bool) -> None:
    """Hold two tables of loads against each other."""
    from framepace.loadtables import compare_loads
    from framepace.reporting.loadsdocument import loads_comparison_document
    from framepace.reporting.terminal.loads import show_loads_comparison

    comparison = compare_loads(a, b)
    give(json, lambda: loads_comparison_document(comparison), lambda out: show_loads_comparison(out, comparison))
