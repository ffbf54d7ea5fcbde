"""Reports on traces of programs."""

from __future__ import annotations

import numpy as np

from framepace.analyze.compare import compare
from framepace.analyze.summary import summarize
from framepace.facts.program import Program
from framepace.reporting.page.report import render
from framepace.testing import make_trace
from framepace.units import NS_PER_MS

PROGRAM = Program(command=("python", "app.py", "rtsp://***@camera/1"), folder="shop", names=("detect", "track"))


def test_a_report_on_a_program_shows_its_command_instead_of_a_plan() -> None:
    """Figures and numbers as for any trace; the stages by name; no plan, for there is none."""
    latency = np.arange(100) % 7 * NS_PER_MS + 10 * NS_PER_MS
    columns = dict.fromkeys(("available", "decoded", "queued", "enqueued"), -1)
    traces = [make_trace(latency * k, models=PROGRAM.names, columns=columns, program=PROGRAM) for k in (1, 2)]
    comparison = compare(traces[0], traces[1])
    page = render(traces, [summarize(trace) for trace in traces], None, comparison)
    assert "<title>framepace: detect, track</title>" in page
    assert "<h2>Program</h2>" in page
    assert "app.py" in page
    assert "<h2>Plan</h2>" not in page
