"""framepace report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from framepace.cli import options as o
from framepace.cli.show import give

if TYPE_CHECKING:
    from framepace.facts.trace import Trace

Traces = Annotated[list[Path], o.path_argument("TRACE...", help="folders of traces, or logs (.csv, .jsonl, ...)")]
File = Annotated[
    Path | None, o.path_option("--out", help="path of the HTML file (default: report.html beside the first trace)")
]
_PERFETTO = "also write the time line of the first trace for ui.perfetto.dev (.json or .json.gz)"
Perfetto = Annotated[Path | None, o.path_option("--perfetto", help=_PERFETTO)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace --out even if it is not a framepace report")]


def command(
    traces: Traces,
    out: File = None,
    perfetto: Perfetto = None,
    overwrite: Overwrite = False,
    json: o.Json = False,
) -> None:
    """Write one self-contained HTML file about one or more traces."""
    from framepace import api
    from framepace.reading import trace_of

    loaded = [trace_of(path) for path in traces]
    path = api.report(
        loaded,
        out=out or _beside(traces[0]),
        explanation=_explanation_beside(traces[0]),
        perfetto=perfetto,
        overwrite=overwrite,
    )
    _show(path, perfetto, loaded, json)


def _show(path: Path, perfetto: Path | None, traces: list[Trace], json: bool) -> None:
    """Print where the report is."""
    from framepace import api
    from framepace.reporting import documents
    from framepace.reporting.terminal.layout import show_paths

    paths = {"report": str(path)}
    if perfetto is not None:
        paths["perfetto"] = str(perfetto)
    give(
        json,
        lambda: documents.report_document(traces, [api.summary(trace) for trace in traces], **paths),
        lambda console: show_paths(console, paths),
    )


def _beside(trace: Path) -> Path:
    folder = trace.parent if trace.is_file() else trace
    return folder / "report.html"


def _explanation_beside(trace: Path) -> Path | None:
    """The explanation beside `trace`, if there is one."""
    path = trace.parent / "explanation.json"
    if path.exists():
        return path
    return None
