"""Questions about traces on disk: `compare`, `summary` and `report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from framepace import values
from framepace.analyze.compare import compare as compare_traces
from framepace.analyze.summary import summarize
from framepace.facts.address import without_secrets
from framepace.facts.finding import Explanation
from framepace.facts.summary import Comparison, Summary
from framepace.facts.trace import Trace
from framepace.reporting.page.document import REPORT_MARK
from framepace.reporting.page.report import render
from framepace.store import check_replaceable, load_explanation, load_trace, write_atomic


def compare(a: Trace | str | Path, b: Trace | str | Path, *, threshold: float = 0.03) -> Comparison:
    """Is B faster than A, slower, the same, or undecided?

    Args:
        a: a trace or its folder.
        b: the trace that is judged, or its folder.
        threshold: differences up to this share of the latency count as none.

    Returns:
        The verdict with the differences and their intervals.

    Raises:
        UsageError: the traces come from different machines.
        StoreError: a trace cannot be read.
    """
    return compare_traces(_trace(a), _trace(b), threshold)


def summary(trace: Trace | str | Path) -> Summary:
    """A trace in numbers: latency with intervals, stages, drops, outliers and cost.

    Args:
        trace: a trace or its folder.

    Returns:
        The summary of the frames and of each model.

    Raises:
        StoreError: the trace cannot be read.
    """
    return summarize(_trace(trace))


def report(
    traces: Sequence[Trace | str | Path],
    *,
    out: str | Path,
    explanation: Explanation | str | Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Write one self-contained HTML file about traces.

    Args:
        traces: traces or their folders.
        out: the file.
        explanation: the explanation that the traces belong to, or its file (explanation.json).
        overwrite: replace `out` even if it is no report.

    Returns:
        The path of the file.

    Raises:
        StoreError: a trace or explanation cannot be read, or the file cannot be written.
    """
    if not overwrite:
        check_replaceable(values.path(out, "out"), REPORT_MARK)
    loaded = [_without_secrets(_trace(trace)) for trace in traces]
    if isinstance(explanation, str | Path):
        explanation = load_explanation(values.path(explanation, "explanation"))
    page = render(loaded, [summarize(trace) for trace in loaded], without_secrets(explanation))
    write_atomic(Path(out), page.encode())
    return Path(out)


def _without_secrets(trace: Trace) -> Trace:
    return Trace(without_secrets(trace.meta), trace.requests, trace.telemetry)


def _trace(trace: Trace | str | Path) -> Trace:
    if isinstance(trace, Trace):
        return trace
    return load_trace(values.path(trace, "trace"))
