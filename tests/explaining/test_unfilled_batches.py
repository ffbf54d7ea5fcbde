"""Batches that never fill: single frames where frames come at a rate; a closed loop fills its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from framepace import api
from framepace.analyze.summary import summarize
from framepace.clock.virtual import VirtualClock
from framepace.explaining.causes.unfilled_batches import UnfilledBatches
from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe
from framepace.explaining.metrics import INTERVAL, LATENCY
from framepace.facts.settings import Case
from framepace.facts.trace import Outcome, Trace
from framepace.facts.workload import Closed, Delay, Load
from framepace.testing import make_trace
from tests.explaining.timedlab import TimedLab

MS = 1_000_000


def closed_case(load: Load, settings: dict[str, Any], **others: Any) -> Case:
    """Batches of 16 on backend null."""
    chosen = {"backend": "null", "batch": 16, **settings}
    return api.make_case("null", **{"fps": None, "load": load, "settings": chosen, **others})


@pytest.mark.parametrize("decode", ["inline", "thread"])
@pytest.mark.parametrize("load", [Closed(concurrency=1), Closed(concurrency=3), Delay(delay_ms=1.0)], ids=str)
def test_a_closed_loop_goes_in_whole_batches_whoever_decodes(load: Load, decode: str) -> None:
    """Reading 16 frames takes 3.2 ms, longer than a period of 400 fps, and a buffer holds two: batches are full, and
    nothing is dropped, in the worker that decodes and in a thread.
    """
    case = closed_case(load, {"decode": decode, "drop": "oldest", "stale-ms": 1.0, "option.latency_us": 2_000}, fps=400)
    with TimedLab(200, limit_s=60, clock=VirtualClock()) as lab:
        trace = lab.run(case)
    assert not (trace.requests["outcome"] == Outcome.DROPPED).any()
    assert set(trace.requests["batch_size"][:96]) == {16}  # what was read when the run ends goes as it is
    assert UnfilledBatches().suspect(Evidence(case, {"stream": trace}, {}, 2)) is None


def test_a_camera_fills_no_batch_whatever_the_load_is_called() -> None:
    """Pictures of a live source come at its pace: single frames are tried, by latency."""
    case = closed_case(Closed(concurrency=1), {}, videos=["rtsp://camera/1"])
    trace = make_trace(np.full(60, MS), plan=case.plan, fps=None)
    probe = UnfilledBatches().probe(Evidence(case, {"stream": trace}, {"stream": summarize(trace)}, 2))
    assert isinstance(probe, Probe)
    assert probe.metric is LATENCY


@pytest.mark.parametrize(("size", "count"), [(1, 60), (15, 60), (30, 60)])
def test_the_time_between_frames_is_that_of_all_batches_but_the_first(size: int, count: int) -> None:
    """Few large batches are not faster than many small ones of the same time per frame."""
    batches = np.arange(count) // size
    trace = make_trace(np.full(count, MS), fps=None, columns={"batch_id": batches, "batch_size": size})
    rows = {**trace.requests, "delivered": (batches + 1) * size * MS}
    again = Trace(trace.meta, rows, trace.telemetry)
    assert INTERVAL.value(again) == pytest.approx(MS)


def test_one_batch_has_no_time_between_frames() -> None:
    """It ended, and nobody knows when it began."""
    assert INTERVAL.value(make_trace(np.full(8, MS), columns={"batch_id": 0, "batch_size": 8})) is None
