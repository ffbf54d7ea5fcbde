"""The files of a tuning for people: the plan with its numbers, and the report."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from framepace.analyze.summary import summarize
from framepace.errors import StoreError
from framepace.facts.address import without_secrets
from framepace.facts.trace import Trace
from framepace.facts.tuning import Tuning
from framepace.reporting.page.tuning import render_tuning
from framepace.reporting.views.tuning import tuning_view
from framepace.store import load_trace, save_plan, write_atomic

_TRACES = 2  # of the best plan that the report shows, the last ones measured


def saved(tuning: Tuning, folder: Path) -> Tuning:
    """The tuning with plan and report in `folder`; a note says if they could not be written."""
    if tuning.plan is None:
        return tuning
    try:
        _save(tuning, folder)
    except StoreError as error:  # the answer matters more than its files
        note = f"plan and report were not saved: {error.what} ({error.got})"
        return replace(tuning, notes=(*tuning.notes, note))
    return tuning


def _save(tuning: Tuning, folder: Path) -> None:
    """Write plan.yaml and report.html into `folder`, without the secrets of addresses. Raises StoreError."""
    tuning = without_secrets(tuning)
    if tuning.plan is not None:
        save_plan(tuning.plan, folder / "plan.yaml")
        write_atomic(folder / "plan.yaml", (_numbers(tuning) + (folder / "plan.yaml").read_text()).encode())
    traces = _traces(tuning, folder)
    page = render_tuning(tuning, traces, [summarize(trace) for trace in traces])
    write_atomic(folder / "report.html", page.encode())


def _numbers(tuning: Tuning) -> str:
    """Measured and predicted numbers as comments, so that the plan file says what it is based on."""
    row = next((row for row in tuning_view(tuning).rows if row.best), None)
    if row is None:
        return ""
    texts = {"measured": row.reached, "predicted": row.foretold, "p99": row.texts[3], "a frame": row.cost_text}
    lines = [f"# {name}: {text}" for name, text in texts.items() if text]
    return "\n".join([*lines, *(f"# missing: {text}" for text in tuning.shortfalls), ""])


def _traces(tuning: Tuning, folder: Path) -> list[Trace]:
    traces = []
    for path in sorted((folder / "runs").glob(f"{tuning.best}-at-*"), key=lambda p: p.stat().st_mtime)[-_TRACES:]:
        try:
            traces.append(load_trace(path))
        except StoreError:
            continue
    return traces
