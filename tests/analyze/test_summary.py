"""The summary: what goes into a trace comes out as numbers, whatever the trace."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from framepace.analyze.summary import summarize
from framepace.facts.plan import ModelPlan, Plan, Target
from framepace.facts.summary import Summary
from framepace.facts.trace import DropCause, Mark, Outcome
from framepace.testing import make_trace

MS = 1_000_000


def test_known_trace_is_recovered() -> None:
    """Calibration: latency, stages, CPU time, rate and budget of a made-up trace come out as they went in."""
    noise = np.random.default_rng(0).normal(0, 0.02 * MS, 900)
    trace = make_trace(stages={"infer": 6 * MS + noise, "decode": 2 * MS, "wake-up": MS // 10}, columns={"cpu": 3 * MS})
    found = summarize(trace)
    assert found.frames.mean == pytest.approx(8.1 * MS, rel=0.001)
    assert found.throughput == pytest.approx(30, rel=0.01)
    assert found.budget == pytest.approx(1e9 / 30)
    assert (found.missed, found.process_cpu) == (0.0, 3 * MS)
    assert {s.name: round(s.median / MS, 1) for s in found.frames.stages if s.mean} == {
        "wake-up": 0.1,
        "decode": 2.0,
        "infer": 6.0,
    }
    assert sum(s.share for s in found.frames.stages) == pytest.approx(1)
    assert found.pacer_error == {"median": MS / 10, "p99": MS / 10, "max": MS / 10}
    p50 = found.frames.percentile(50)
    assert p50 is not None
    assert p50.estimate is not None
    assert p50.estimate.value == pytest.approx(8.1 * MS, rel=0.01)


def test_one_model_is_the_frames() -> None:
    """With one model its summary is that of whole frames, under its own name."""
    found = summarize(make_trace(np.full(50, 5 * MS), models=("detector",)))
    assert found.models[0].model == "detector"
    assert msgspec.structs.replace(found.models[0], model="frames") == found.frames


def test_several_models_are_told_apart() -> None:
    """Of two models each has its own latency, and the frame ends with the last."""
    found = summarize(make_trace(stages={"infer": np.full(60, 5 * MS)}, models=("a", "b")))
    assert [m.mean for m in found.models] == [5 * MS, 10 * MS]
    assert found.frames.mean == 10 * MS
    assert {s.name: s.mean for s in found.models[1].stages if s.mean} == {"other models": 5 * MS, "infer": 5 * MS}


def test_warm_up_is_counted_and_left_out() -> None:
    """Slow first requests that are marked as warm-up do not touch the numbers."""
    latency, marks = np.full(100, 5 * MS), np.zeros(100)
    latency[:10], marks[:10] = 50 * MS, Mark.WARMUP
    found = summarize(make_trace(latency, columns={"marks": marks})).frames
    assert (found.warmup, found.requests, found.mean) == (10, 90, 5 * MS)


def test_failures_and_drops_are_counted_and_miss_the_budget() -> None:
    """Failed and dropped frames have no latency, but they are counted by cause, and they missed their budget."""
    outcome, cause = np.zeros(100), np.zeros(100)
    outcome[:20], cause[:20] = Outcome.FAILED, DropCause.BACKEND
    outcome[20:30], cause[20:30] = Outcome.DROPPED, DropCause.STALE
    found = summarize(make_trace(np.full(100, 5 * MS), columns={"outcome": outcome, "cause": cause}))
    assert found.frames.outcomes == {"ok": 70, "dropped": 10, "failed": 20}
    assert found.frames.causes == {"stale": 10, "inference failed": 20}
    assert found.missed == pytest.approx(0.3)


@pytest.mark.parametrize("code", [1, 77, 2**31, 2**62, -(2**63)])
def test_codes_that_nothing_has_cost_nothing(code: int) -> None:
    """A damaged trace can hold any: they are left out, however large they are."""
    outcome, cause = np.zeros(100, np.int64), np.zeros(100, np.int64)
    outcome[40], cause[40:42] = code, (code, DropCause.STALE)
    found = summarize(make_trace(np.full(100, 5 * MS), columns={"outcome": outcome, "cause": cause}))
    assert found.frames.outcomes == {"ok": 99}
    assert found.frames.causes == ({"stale": 1, "buffer full": 1} if code == 1 else {"stale": 1})


def test_budget_is_the_target_first() -> None:
    """The p99 target is the budget; frames over it are missed."""
    plan = Plan(models=(ModelPlan(name="model", model="m.onnx"),), target=Target(p99_ms=6))
    found = summarize(make_trace(np.repeat([5 * MS, 7 * MS], 10), plan=plan))
    assert (found.budget, found.missed) == (6 * MS, 0.5)


def test_marks_and_doubts_are_told() -> None:
    """Outputs that are not finite, an unstable warm-up and an interrupted run are told in words."""
    found = summarize(make_trace([5 * MS] * 3, columns={"marks": Mark.NAN}, warmup_stable=False, stopped="interrupted"))
    assert found.frames.marks == {"output not finite": 3}
    assert len([n for n in found.notes if "not finite" in n or "not stable" in n or "interrupted" in n]) == 3


def test_a_doubt_is_told_once() -> None:
    """Older traces have the sentence on their warm-up among their notes."""
    unstable = [n for n in summarize(make_trace([5 * MS] * 3, warmup_stable=False)).notes if "not stable" in n]
    assert len(unstable) == 1
    older = summarize(make_trace([5 * MS] * 3, warmup_stable=False, notes=tuple(unstable)))
    assert [n for n in older.notes if "not stable" in n] == unstable


def test_process_cpu_and_neighbours_come_from_telemetry() -> None:
    """CPU time per frame is the process's over the frames delivered meanwhile; other CPU time is the neighbours'."""
    time = 10**9 + np.arange(11) * 10**8
    telemetry: dict[str, ArrayLike] = {
        "time": time,
        "device": -1,
        "process_cpu": np.arange(11) * 3 * 10**7,
        "cpu_mhz": 2500,
    }
    telemetry |= {"system_busy": np.arange(11) * 7 * 10**7, "run_delay": np.arange(11) * 10**6}
    found = summarize(make_trace(np.full(60, 5 * MS), telemetry=telemetry))
    assert found.process_cpu == pytest.approx(3e8 / 30, rel=0.04)
    assert found.neighbours_cpu == pytest.approx(0.1)
    assert found.telemetry["cpu_mhz"] == 2500
    assert found.telemetry["run_delay_s"] == pytest.approx(1e7)


def test_pacer_error_is_of_takers_that_waited() -> None:
    """A frame whose taker came late says nothing about the pacer; a closed loop has no pacer error."""
    backlog = np.repeat([0, MS], 10)
    found = summarize(make_trace(stages={"wake-up": np.repeat([7, 99], 10), "backlog": backlog, "infer": MS}))
    assert found.pacer_error == {"median": 7, "max": 7}


def test_tiers_and_outliers_are_of_the_measured_series() -> None:
    """The summary carries the tiers with what stood beside them, and the outliers."""
    latency = np.repeat([5 * MS, 9 * MS], 100)
    latency[30] = 40 * MS
    found = summarize(make_trace(latency)).frames
    assert [(t.first, t.last) for t in found.tiers] == [(0, 99), (100, 199)]
    assert [o.request for o in found.outliers] == [30]
    assert found.tiers[0].beside["gap"] > found.tiers[1].beside["gap"]


@pytest.mark.parametrize("columns", [{"outcome": Outcome.FAILED}, {"marks": Mark.WARMUP}])
def test_nothing_measured_is_no_crash(columns: dict[str, int]) -> None:
    """A trace whose requests all failed, or were all warm-up, has zeros, refusals and a note."""
    found = summarize(make_trace([5 * MS] * 4, columns=columns))
    assert (found.frames.requests, found.throughput) == (0, 0.0)
    assert all(p.estimate is None for p in found.frames.percentiles)
    assert "no request was measured" in found.notes


@settings(max_examples=40)
@given(count=st.integers(0, 40), models=st.integers(1, 3), seed=st.integers(0, 2**32 - 1))
def test_any_trace_has_a_summary_that_can_be_stored(count: int, models: int, seed: int) -> None:
    """Whatever the outcomes, marks, batches and missing stamps, the summary survives strict JSON."""
    rng, rows = np.random.default_rng(seed), count * models
    columns = {name: np.where(rng.random(rows) < 0.2, -1, rng.integers(0, 10**7, rows)) for name in
               ("available", "captured", "queued", "batched", "cpu", "h2d")}  # fmt: skip
    columns |= {"outcome": rng.choice(list(Outcome.NAMES), rows), "marks": rng.integers(0, 16, rows)}
    columns |= {"batch_size": rng.integers(0, 5, rows), "cause": rng.integers(0, 7, rows)}
    names = [f"m{i}" for i in range(models)]
    found = summarize(make_trace(rng.integers(0, 10**7, count), models=names, columns=columns))
    assert msgspec.json.decode(msgspec.json.encode(found), type=Summary) == found
    assert found.frames.warmup + sum(found.frames.outcomes.values()) == count
