"""Batches that never fill: single frames where frames come at a rate; a closed loop fills its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from framepace import api
from framepace.analyze.summary import summarize
from framepace.clock.virtual import VirtualClock
from framepace.explaining.causes.unfilled_batches import UnfilledBatches
from framepace.explaining.draft import Draft
from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import INTERVAL, LATENCY
from framepace.explaining.suspects import try_causes
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.settings import Case
from framepace.facts.trace import Outcome, Trace
from framepace.facts.workload import Closed, Delay, Load
from framepace.lab.lab import Lab
from framepace.testing import make_trace
from tests.explaining.timedlab import TimedLab

MS = 1_000_000


def closed_case(load: Load, settings: dict[str, Any], **others: Any) -> Case:
    """Batches of 16 on backend null."""
    chosen = {"backend": "null", "batch": 16, **settings}
    return api.make_case("null", **{"fps": None, "load": load, "settings": chosen, **others})


@pytest.mark.parametrize("load", [Closed(concurrency=1), Closed(concurrency=3), Delay(delay_ms=1.0)], ids=str)
def test_a_closed_loop_goes_in_whole_batches_whoever_decodes(load: Load) -> None:
    """Reading 16 frames takes 3.2 ms, longer than a period of 400 fps, and a buffer holds two: batches are full, and
    nothing is dropped, in the worker that decodes and in a thread.
    """
    sizes = []
    for decode in ("inline", "thread"):
        settings = {
            "decode": decode,
            "drop": "oldest",
            "stale-ms": 1.0,
            "option.latency_us": 2_000,
            "option.noise": 0.0,
        }
        with TimedLab(200, limit_s=60, clock=VirtualClock()) as lab:
            trace = lab.run(closed_case(load, settings, fps=400))
        assert not (trace.requests["outcome"] == Outcome.DROPPED).any()
        sizes.append(set(trace.requests["batch_size"][:96]))  # what was read when the run ends goes as it is
        assert UnfilledBatches().suspect(Evidence(closed_case(load, settings), {"stream": trace}, {}, 2)) is None
    assert sizes == [{16}, {16}]


def test_a_camera_fills_no_batch_whatever_the_load_is_called() -> None:
    """Pictures of a live source come at its pace: single frames are tried, by latency."""
    case = closed_case(Closed(concurrency=1), {}, videos=["rtsp://camera/1"])
    trace = make_trace(np.full(60, MS), plan=case.plan, fps=None)
    probe = UnfilledBatches().probe(Evidence(case, {"stream": trace}, {"stream": summarize(trace)}, 2))
    assert isinstance(probe, Probe)
    assert probe.metric is LATENCY


class Slow:
    """A made-up cause with three changes: to 6 ms, to 3 ms, which competes, and to 1 ms, which does not."""

    code = "FP900"
    title = "slow"
    bottleneck: Bottleneck = "compute"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """Always."""
        return Suspicion("slow", {}, 1.0)

    def probe(self, evidence: Evidence) -> tuple[Probe, ...]:
        """Three latencies of the model."""
        changes = [{"option.latency_us": us} for us in (6_000, 3_000, 1_000)]
        first, second, third = (Probe(evidence.case, change, LATENCY) for change in changes)
        return first, replace(second, competes=True), third

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """What was tried."""
        return Remedy(text="faster", plan=dict(blocks.change))


def test_the_better_of_changes_that_compete_is_the_remedy() -> None:
    """The second is tried though the first was confirmed, and wins; the third is not tried any more."""
    settings = {"backend": "null", "option.latency_us": 10_000, "option.noise": 0.0}
    case = api.make_case("null", fps=None, load=Closed(concurrency=1), settings=settings)
    trace = make_trace(np.full(60, 10 * MS), plan=case.plan, fps=None)
    draft = Draft()
    with Lab(limit_s=30, clock=VirtualClock()) as lab:
        try_causes(lab, Evidence(case, {"stream": trace}, {"stream": summarize(trace)}, 2), (Slow(),), draft)
    (found,) = draft.findings
    assert found.remedy is not None
    assert found.remedy.plan == {"option.latency_us": 3_000}
    assert len(draft.trials) == 2


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
