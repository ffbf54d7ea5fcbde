"""Questions about traces and logs on disk: `compare`, `summary`, `report` and `explain_log`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from framepace import values
from framepace.analyze.beside import beside
from framepace.analyze.compare import compare as compare_traces
from framepace.analyze.late import late_frames, late_rows, receipts
from framepace.analyze.summary import summarize
from framepace.analyze.suspicions import Grounds, suspicions
from framepace.errors import StoreError, UsageError
from framepace.facts.address import without_secrets
from framepace.facts.finding import Explanation
from framepace.facts.late import Receipt
from framepace.facts.log import Beside, LogExplanation, LogReading
from framepace.facts.plan import Plan, Target
from framepace.facts.summary import Comparison, Summary
from framepace.facts.trace import Trace
from framepace.logs.reading import is_log
from framepace.logs.trace import Log, load_log, load_logs
from framepace.reporting.page.document import REPORT_MARK
from framepace.reporting.page.report import render
from framepace.reporting.perfetto import perfetto_file, perfetto_mark
from framepace.store import check_replaceable, is_trace, load_explanation, load_trace, write_atomic

Columns = Mapping[str, str] | Sequence[str]
"""What columns of a log are, where their names do not say: {'latency': 'total_ms'} or 'latency=total:us'."""


def compare(
    a: Trace | str | Path, b: Trace | str | Path, *, threshold: float = 0.03, columns: Columns = ()
) -> Comparison:
    """Is B faster than A, slower, the same, or undecided?

    Args:
        a: a trace or its folder, or a log file (.csv, .parquet, .jsonl and others).
        b: the trace that is judged, or its folder, or a log file.
        threshold: differences up to this share of the latency count as none.
        columns: what columns of logs are, where their names do not say.

    Returns:
        The verdict with the differences and their intervals.

    Raises:
        UsageError: the traces come from different machines, or something about a log is open.
        StoreError: a trace or log cannot be read.
    """
    threshold = values.number(threshold, "threshold", least=0.0, most=10.0)
    logs = _logs((a, b), columns)
    return compare_traces(trace_of(a, logs), trace_of(b, logs), threshold)


def explain_log(
    path: str | Path, *, columns: Columns = (), fps: float | None = None, p99_ms: float | None = None
) -> LogExplanation:
    """What a log of another program shows, without any model, and which experiments would decide.

    Args:
        path: a log with one row per frame or request: CSV, TSV, JSON, JSON lines or Parquet, also packed with gzip.
        columns: what columns are, where their names do not say.
        fps: frames per second that are wanted: what takes longer than a frame period is late.
        p99_ms: the latency that frames must keep, ms, instead of the frame period.

    Returns:
        How the log was read, its numbers, its late frames, what goes with them, and what is suspected.

    Raises:
        UsageError: something about the log is open; the error asks one question and has its answers.
        StoreError: the log cannot be read or understood.
        NotEnoughSamples: no row has a latency.
    """
    return explained_log(read_log(path, columns=columns, fps=fps, p99_ms=p99_ms))


def explained_log(log: Log) -> LogExplanation:
    """The answer about a log that has been read."""
    numbers = summarize(log.trace)
    late = late_frames(log.trace, numbers)
    goes_with = _beside(log, numbers)
    batches = log.trace.requests["batch_size"]
    subject = log.trace.meta.subject
    program = None if isinstance(subject, Plan) else subject
    grounds = Grounds(numbers, late, goes_with, bool(batches.min() != batches.max()), program)
    return LogExplanation(
        reading=log.reading,
        summary=numbers,
        late=late,
        receipts=_receipts(log.trace, numbers.budget),
        beside=goes_with,
        suspected=suspicions(grounds),
    )


def _receipts(trace: Trace, budget: float | None) -> tuple[Receipt, ...]:
    if budget is None:
        return ()
    return receipts(trace, budget)


def _beside(log: Log, numbers: Summary) -> tuple[Beside, ...]:
    """What goes with the latency of a log; nothing where its rows are those of several models of a frame."""
    counted = log.trace.counted
    whole, late, _ = late_rows(log.trace, numbers)
    if len(whole) != int(counted.sum()):
        return ()
    return beside(whole.latency, late, {name: cells[counted] for name, cells in log.beside.items()}, log.roles)


def summary(trace: Trace | str | Path) -> Summary:
    """A trace in numbers: latency with intervals, stages, drops, outliers and cost.

    Args:
        trace: a trace or its folder, or a log file.

    Returns:
        The summary of the frames and of each model.

    Raises:
        StoreError: the trace cannot be read.
    """
    return summarize(trace_of(trace))


def report(
    traces: Sequence[Trace | str | Path],
    *,
    out: str | Path,
    explanation: Explanation | str | Path | None = None,
    perfetto: str | Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Write one self-contained HTML file about traces.

    Args:
        traces: traces or their folders, or log files.
        out: the file.
        explanation: the explanation that the traces belong to, or its file (explanation.json).
        perfetto: the time line of the first trace as a file for ui.perfetto.dev (.json, or packed: .json.gz).
        overwrite: replace `out` even if it is no report.

    Returns:
        The path of the file.

    Raises:
        StoreError: a trace or explanation cannot be read, or the file cannot be written.
    """
    if not overwrite:
        check_replaceable(values.path(out, "out"), REPORT_MARK)
    if perfetto is not None and not overwrite:
        check_replaceable(values.path(perfetto, "perfetto"), perfetto_mark(Path(perfetto)))
    loaded = [_without_secrets(trace_of(trace)) for trace in traces]
    if isinstance(explanation, str | Path):
        explanation = load_explanation(values.path(explanation, "explanation"))
    page = render(loaded, [summarize(trace) for trace in loaded], without_secrets(explanation))
    write_atomic(Path(out), page.encode())
    if perfetto is not None:
        write_atomic(Path(perfetto), perfetto_file(loaded[0], Path(perfetto)))
    return Path(out)


def _without_secrets(trace: Trace) -> Trace:
    return Trace(without_secrets(trace.meta), trace.requests, trace.telemetry)


def trace_of(trace: Trace | str | Path, logs: Mapping[Path, Log] | None = None) -> Trace:
    """A trace, or that in a folder or a log; `logs` are those that have been read."""
    if isinstance(trace, Trace):
        return trace
    path = values.path(trace, "trace")
    if logs is None:
        logs = _logs((path,), ())
    if path in logs:
        return logs[path].trace
    return load_trace(path)


def _logs(traces: Sequence[Trace | str | Path], columns: Columns) -> dict[Path, Log]:
    """The logs among these; read together, since a column may be in one of them only."""
    paths = [values.path(trace, "trace") for trace in traces if not isinstance(trace, Trace)]
    logs = [path for path in paths if is_log(path)]
    return dict(zip(logs, load_logs(logs, columns), strict=True))


def read_log(path: str | Path, *, columns: Columns = (), fps: float | None = None, p99_ms: float | None = None) -> Log:
    """A log as a trace of a program, with how it was read; see `explain_log`."""
    if fps is not None:
        fps = values.number(fps, "fps", least=values.LOWEST_RATE, most=values.HIGHEST_RATE)
    if p99_ms is not None:
        p99_ms = values.number(p99_ms, "p99_ms", least=values.SHORTEST_MS, most=values.LONGEST_MS)
    named = values.path(path, "log")
    if is_trace(named):
        return _of_program(load_trace(named), named.name, fps, p99_ms)
    return load_log(named, columns, fps=fps, p99_ms=p99_ms)


def _of_program(trace: Trace, name: str, fps: float | None, p99_ms: float | None) -> Log:
    """The trace of a program as a log, whose columns are known. Raises UsageError for the trace of a plan."""
    subject = trace.meta.subject
    if isinstance(subject, Plan):
        fix = "name its models: framepace explain MODEL --fps 30"
        raise UsageError(
            "explain takes the trace of a program, or models", got=f"{name}, which is that of a plan", fix=fix
        )
    if fps is not None or p99_ms is not None:
        target = Target(fps=fps, p99_ms=p99_ms)
        trace = dataclasses.replace(trace, meta=replace(trace.meta, subject_program=replace(subject, target=target)))
    reading = LogReading(file=name, kind="the trace of a program", rows=len(trace))
    return Log(trace, reading, {})


def page_in(out: str | Path | None, name: str) -> Path | None:
    """The page of a name in the folder `out`, if there is one. Raises StoreError where a foreign file has its place."""
    if out is None:
        return None
    page = values.path(out, "out") / name
    try:
        check_replaceable(page, REPORT_MARK)
    except StoreError as error:
        raise StoreError(error.what, got=str(page), fix="name another folder with --out") from error
    return page


def report_log(log: Log, explanation: LogExplanation, out: Path, *, overwrite: bool = False) -> Path:
    """Write one self-contained HTML file about a log. Raises StoreError."""
    if not overwrite:
        check_replaceable(out, REPORT_MARK)
    page = render([log.trace], [explanation.summary], log=explanation)
    write_atomic(out, page.encode())
    return out
