"""Late frames: which stage grew, in which pattern, and what each of them was late for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from framepace.analyze.late import late_frames, receipts
from framepace.analyze.summary import summarize
from framepace.facts.late import LateFrames, Receipt
from framepace.facts.plan import EnginePlan, ModelPlan, Plan, Target
from framepace.facts.trace import DropCause, Outcome, Trace
from framepace.reporting.views.late import late_sentences, receipt_rows, receipts_title
from framepace.testing import make_trace

MS = 1_000_000
FRAMES = 500


def run(late: np.ndarray[Any, Any], stage: str = "finish", budget: float = 20.0, **columns: Any) -> Trace:
    """5 ms per frame, 25 ms in those that are `late`, all of the difference in one stage."""
    latency = np.where(late, 25, 5) * MS
    plan = Plan(models=(ModelPlan(name="model", model="null"),), engine=EnginePlan(), target=Target(p99_ms=budget))
    return make_trace(latency, stages={stage: np.where(late, 21, 1) * MS}, plan=plan, columns=columns)


def account(trace: Trace) -> LateFrames:
    """The account, which is there."""
    found = late_frames(trace, summarize(trace))
    assert found is not None
    return found


@pytest.mark.parametrize("stage", ["decode", "prepare", "finish"])
@pytest.mark.parametrize(("budget", "chosen"), [(20.0, "over the budget"), (100.0, "far over the median")])
def test_the_stage_that_grew_is_named(stage: str, budget: float, chosen: str) -> None:
    """A tenth of the frames takes 20 ms more in one stage, over the budget or not: all of it is there."""
    found = account(run(np.arange(FRAMES) % 50 >= 45, stage, budget))
    assert (found.chosen, found.count, found.share) == (chosen, FRAMES // 10, 0.1)
    assert found.more == 20 * MS
    assert [(growth.stage, growth.share) for growth in found.stages] == [(stage, 1.0)]


@pytest.mark.parametrize(
    ("late", "pattern", "every"),
    [
        (np.arange(FRAMES) % 30 == 0, "every nth frame", 30),
        (np.arange(FRAMES) % 8 == 6, "every nth frame", 8),
        ((np.arange(FRAMES) % 8 == 6) | np.isin(np.arange(FRAMES), range(33, FRAMES, 50)), "every nth frame", 8),
        ((np.arange(FRAMES) % 8 == 6) & (np.arange(FRAMES) % 100 < 50), "single frames", 0),
        (np.arange(FRAMES) % 100 >= 90, "bursts", 100),
        (np.isin(np.arange(FRAMES), [3, 4, 5, 90, 91, 130, 131, 255, 256, 300, 301]), "bursts", 0),
        (np.isin(np.arange(FRAMES), [3, 40, 90, 130, 255, 300, 444]), "single frames", 0),
    ],
)
def test_patterns(late: np.ndarray[Any, Any], pattern: str, every: int) -> None:
    """Every 30th or 8th frame, though a few others are late, too; ten in a row at a fixed distance; here and there."""
    found = account(run(late))
    assert (found.pattern, found.every) == (pattern, every)


def test_every_nth_frame_is_told_though_neighbours_make_many_others_late() -> None:
    """Every 37th frame takes 20 ms more in a hook; twice as many are late in a queue, here and there."""
    places = np.arange(FRAMES)
    hook = places % 37 == 5
    queued = np.isin(places, np.random.default_rng(1).choice(FRAMES, 2 * hook.sum(), replace=False))
    spent = {"finish": np.where(hook, 21, 1) * MS, "queue": np.where(queued, 20, 0) * MS}
    plan = Plan(models=(ModelPlan(name="model", model="null"),), engine=EnginePlan(), target=Target(p99_ms=20))
    found = account(make_trace(stages={"infer": 2 * MS, **spent}, plan=plan))
    assert (found.every, found.slow_every) == (0, 37)
    assert "every 37th frame takes longer in finish" in late_sentences(found)


def test_even_frames_have_no_late_ones() -> None:
    """Where all frames take the same, none is called late."""
    trace = run(np.zeros(FRAMES, dtype=bool))
    assert late_frames(trace, summarize(trace)) is None


def test_a_page_shows_the_receipts_of_the_ten_slowest() -> None:
    """Slowest first, with the frame that each waited for; a lost frame has no latency and is counted alone."""
    slow = [
        Receipt(
            frame=n, source=0, late=(50.0 + n) * MS, stage="queue", more=40.0 * MS, cause="backlog", waited_for=n - 1
        )
        for n in range(1, 13)
    ]
    lost = Receipt(frame=40, source=0, late=0.0, stage="queue", more=0.0, cause="buffer full")
    rows = receipt_rows([*slow, lost])
    assert len(rows) == 10
    assert rows[0] == ("12", "0", "62.0 ms", "queue", "40.0 ms", "backlog", "11")
    assert receipts_title([*slow, lost]).startswith("the 10 slowest of 13 late or lost frames")


def test_late_and_lost_frames_have_receipts() -> None:
    """Each frame over the budget says which stage took how much more; a dropped one says why."""
    late = np.arange(FRAMES) % 50 == 7
    outcome = np.zeros(FRAMES)
    cause = np.zeros(FRAMES)
    outcome[20] = Outcome.DROPPED
    cause[20] = DropCause.BUFFER_FULL
    found = receipts(run(late, outcome=outcome, cause=cause), 20 * MS)
    assert [receipt.frame for receipt in found] == [7, 20, *range(57, FRAMES, 50)]
    assert (found[0].stage, found[0].more, found[0].late) == ("finish", 20 * MS, 25 * MS)
    assert (found[1].stage, found[1].cause) == ("queue", "buffer full")


def test_no_late_frames_no_receipts() -> None:
    """A run within its budget has none."""
    assert receipts(run(np.zeros(FRAMES, dtype=bool)), 20 * MS) == ()


def test_what_a_queue_stands_behind_is_named() -> None:
    """Late frames that wait for most of the time still show the stage that made the queue."""
    late = np.arange(FRAMES) % 50 >= 45
    trace = make_trace(
        np.where(late, 65, 5) * MS,
        stages={"queue": np.where(late, 40, 0) * MS, "finish": np.where(late, 21, 1) * MS},
        plan=Plan(models=(ModelPlan(name="model", model="null"),), engine=EnginePlan(), target=Target(p99_ms=20)),
    )
    found = account(trace)
    assert found.stages[0].stage == "queue"
    assert [growth.stage for growth in found.working] == ["finish"]
    assert "they wait behind frames that take longer in finish" in late_sentences(found)
