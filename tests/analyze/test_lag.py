"""Live sources that fall behind their own clocks."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from framepace.analyze.lag import growth
from framepace.analyze.summary import summarize
from framepace.facts.trace import Trace
from framepace.facts.workload import Paced
from framepace.testing import make_trace

MS = 1_000_000
CAMERA = "rtsp://camera/1"


@pytest.mark.parametrize(("source", "told"), [(CAMERA, True), ("file.mp4", False)])
def test_a_camera_that_is_read_too_slowly_falls_behind(source: str, told: bool) -> None:
    """Each picture of 30 fps is 20 ms later than the one before: 20 ms per 53 ms, and said; of files not."""
    trace = make_trace(np.arange(1, 201) * 20 * MS, sources=(source,))
    notes = [note for note in summarize(trace).notes if "behind every second" in note]
    assert bool(notes) is told
    if told:
        (lag,) = growth(trace)
        assert lag.per_second == pytest.approx(20 / (20 + 1000 / 30), rel=0.02)
        assert notes == [f"{CAMERA} falls {lag.per_second:.2f} s behind every second: {lag.seconds:.1f} s at the end"]


def test_a_camera_that_is_read_in_time_is_not_told() -> None:
    """Even latencies are no lag."""
    trace = make_trace(np.full(200, 20 * MS), sources=(CAMERA,))
    assert growth(trace)[0].per_second == pytest.approx(0, abs=1e-6)
    assert not [note for note in summarize(trace).notes if "behind" in note]


@pytest.mark.parametrize(("fps", "told"), [(10.0, True), (30.0, False)])
def test_a_rate_that_the_camera_does_not_have_is_said(fps: float, told: bool) -> None:
    """10 fps asked of a camera that sends 30."""
    trace = make_trace(np.full(200, 20 * MS), sources=(CAMERA,), fps=30)
    workload = replace(trace.meta.workload, load=Paced(fps=fps))
    asked = Trace(replace(trace.meta, workload=workload), trace.requests, trace.telemetry)
    notes = [note for note in summarize(asked).notes if "the load is" in note]
    assert notes == [f"the load is 10 fps, and {CAMERA} sends 30: a live source sets its own pace (--fps 30)"] * told
