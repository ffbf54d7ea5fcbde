"""framepace report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from framepace.cli import options as o
from framepace.cli.show import give

Traces = Annotated[list[Path], typer.Argument(metavar="TRACE...", help="folders of traces", show_default=False)]
File = Annotated[Path | None, typer.Option("--out", help="the HTML file (default: report.html beside the first trace)")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace --out even if it is no report")]


def command(traces: Traces, out: File = None, overwrite: Overwrite = False, json: o.Json = False) -> None:
    """One self-contained HTML file about one or more traces."""
    from framepace import api
    from framepace.reporting import documents
    from framepace.reporting.terminal.layout import show_paths
    from framepace.store import load_trace

    loaded = [load_trace(path) for path in traces]
    explanation = None
    beside = traces[0].parent / "explanation.json"
    if beside.exists():
        explanation = beside
    path = api.report(loaded, out=out or traces[0] / "report.html", explanation=explanation, overwrite=overwrite)
    give(
        json,
        lambda: documents.report_document(str(path), loaded, [api.summary(t) for t in loaded]),
        lambda console: show_paths(console, {"report": str(path)}),
    )
