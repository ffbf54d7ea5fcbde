"""Reports on traces of programs."""

from __future__ import annotations

from io import StringIO

import numpy as np
from msgspec.structs import replace
from rich.console import Console

from framepace.analyze.compare import compare
from framepace.analyze.summary import summarize
from framepace.facts.program import Part, Program
from framepace.reporting.page.report import render
from framepace.reporting.terminal.parts import show_parts
from framepace.testing import make_trace
from framepace.units import NS_PER_MS

PROGRAM = Program(command=("python", "app.py", "rtsp://***@camera/1"), folder="shop", names=("detect", "track"))


def test_the_parts_of_a_program_s_stages_are_told_in_80_columns() -> None:
    """A call with how often it is made, a line, and a thread beside with its share of a core."""
    parts = (
        Part(stage="beside", name="app.py:21 watch", ns=3.9e8),
        Part(stage="finish", name="nudenet/nudenet.py:96 _postprocess", ns=27.1e6),
        Part(stage="decode", name="cv2.VideoCapture.read", ns=1e6, count=4.0),
        Part(stage="prepare", name="", ns=5e5),
    )
    file = StringIO()
    out = Console(file=file, width=80)
    show_parts(out, replace(PROGRAM, parts=parts))
    lines = [" ".join(line.split()) for line in file.getvalue().splitlines()]
    assert "beside app.py:21 watch 39% of a core" in lines
    assert "finish nudenet/nudenet.py:96 _postprocess 27.1 ms" in lines
    assert "decode cv2.VideoCapture.read 1.00 ms 4" in lines
    assert "prepare between the timed calls 500 us" in lines
    file.truncate(0)
    show_parts(out, PROGRAM)
    assert not file.getvalue().strip(chr(0))


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
