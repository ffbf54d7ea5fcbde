"""What people ask: why some frames are late, why requests wait, why batches do not help, why the budget is missed."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from framepace import api
from framepace.explaining.causes import CAUSES
from framepace.explaining.run import explain
from framepace.facts.finding import Explanation
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.workload import Closed
from framepace.reporting.views.answer import answer_lines
from framepace.reporting.views.explanation import explanation_view
from framepace.testing import FakeClock
from tests.explaining.hooks import Virtual
from tests.reporting import samples

MS = 1_000_000


def explained(
    code: str, settings: dict[str, Any] | None = None, work_us: int = 2000, time_limit: float = 90, **load: Any
) -> Explanation:
    """The null backend in virtual time, with the cause `code` alone among those that are tried."""
    backend: dict[str, str | int | float | bool] = {"latency_us": work_us, "noise": 0.0}
    plan = Plan(models=(ModelPlan(name="m", model="null", backend="null", options=backend),))
    Virtual.clock = FakeClock()
    case = api.make_case(plan, settings=settings, **load)
    causes = tuple(cause for cause in CAUSES if cause.code == code)
    return explain(case, clock=Virtual.clock, causes=causes, time_limit=time_limit)


@pytest.mark.long
def test_a_hook_that_is_slow_on_some_frames_is_the_cause_of_the_late_ones() -> None:
    """One frame in five takes 22 ms more in the finish hook: named, in bursts of 20, tried on the slowest frames."""
    found = explained("FP017", {"finish": "tests.explaining.hooks:crowded"}, fps=30)
    assert found.late is not None
    assert found.late.stages[0].stage == "finish"
    assert found.late.more == pytest.approx(22 * MS, rel=0.1)
    assert found.late.pattern == "bursts"
    (finding,) = [finding for finding in found.confirmed if finding.code == "FP017"]
    assert finding.intervention is not None
    assert finding.intervention.before.value - finding.intervention.after.value == pytest.approx(22 * MS, rel=0.1)
    assert found.bottleneck != "healthy"
    assert "all of it in finish" in explanation_view(found).late[0]


@pytest.mark.long
def test_a_queue_that_the_load_makes_is_told_with_the_number_that_suffices() -> None:
    """16 requests in flight on one worker take 16 times as long as one, at the same rate."""
    found = explained("FP018", load=Closed(concurrency=16), fps=None)
    finding = found.confirmed[0]
    assert finding.code == "FP018"
    assert finding.intervention is not None
    assert finding.intervention.before.value / finding.intervention.after.value == pytest.approx(16, rel=0.1)
    assert finding.remedy is not None
    assert "--load closed:1" in finding.remedy.text


def test_batches_that_never_fill_are_told() -> None:
    """A window of 15 ms for a batch of four that one camera never fills: batch 1 is tried, and verified in the plan."""
    found = explained("FP019", {"batch": 4, "window-ms": 15}, fps=30, time_limit=40)
    finding = next(finding for finding in found.confirmed if finding.code == "FP019")
    assert finding.evidence["mean_batch"] == 1
    assert found.plan.models[0].batch.max == 1
    assert finding.gain is not None
    assert finding.gain.verified == pytest.approx(15 * MS, rel=0.2)


def test_a_budget_below_the_floor_is_told_before_the_causes() -> None:
    """Of four findings the first lines show three, and that no setting can meet the budget is among them."""
    causes = [replace(samples.finding(), code=code) for code in ("FP006", "FP008", "FP001")]
    exceeds = replace(samples.finding(), code="FP102", title="the model alone takes longer than the budget")
    lines = answer_lines([*causes, replace(exceeds, intervention=None, gain=None, summary="no setting can meet it")])
    assert lines[0] == "FP102 the model alone takes longer than the budget: no setting can meet it"
    assert [line[:5] for line in lines] == ["FP102", "FP006", "FP008", "and 1"]


def test_a_model_that_exceeds_the_budget_is_never_healthy() -> None:
    """40 ms of work at 30 fps: missed, the best that was seen against what is allowed, and no setting is promised."""
    found = explained("FP017", work_us=40_000, fps=30)
    assert found.met is False
    assert found.bottleneck == "model"
    finding = next(finding for finding in found.confirmed if finding.code == "FP102")
    assert "40.0 ms at best" in finding.summary
    assert "33.3 ms allowed" in finding.summary
    assert finding.remedy is not None
    assert finding.remedy.text.startswith("no setting that was tried can meet it")


def test_late_and_lost_frames_have_receipts() -> None:
    """Each frame over a budget of 20 ms says that finishing took longer and by how much."""
    found = explained("FP011", {"finish": "tests.explaining.hooks:crowded"}, fps=30, p99_ms=20)
    assert found.late is not None
    assert len(found.receipts) == found.late.count
    assert {receipt.stage for receipt in found.receipts} == {"finish"}
    assert all(receipt.more == pytest.approx(22 * MS, rel=0.1) for receipt in found.receipts)


@pytest.mark.parametrize(("settings", "drop"), [({}, "oldest"), ({"drop": "never"}, "never")])
def test_a_live_source_drops_the_oldest_picture_unless_told_otherwise(settings: dict[str, Any], drop: str) -> None:
    """Pictures that wait in a socket are late; what is set stays set, and files lose nothing."""
    assert api.make_case("null", videos=["rtsp://camera/1"], settings=settings).plan.source.drop == drop
    assert api.make_case("null", videos=["file.mp4"]).plan.source.drop == "never"
