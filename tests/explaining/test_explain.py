"""`explain` end to end: in virtual time against a known truth, and on the CPU against causes that are built in."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from framepace import api
from framepace.explaining.causes import CAUSES
from framepace.explaining.run import explain
from framepace.facts.finding import Explanation, Finding
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.settings import Case
from framepace.testing import FakeClock

BY_CODE = {cause.code: cause for cause in CAUSES}


def case(settings: dict[str, Any] | None = None, fps: float = 30, **options: Any) -> Case:
    """The null backend under a paced load."""
    plan = Plan(models=(ModelPlan(name="m", model="null", backend="null", options=options),))
    return api.make_case(plan, fps=fps, settings=settings)


def virtual(subject: Case, oversleep: int = 0, limit: float = 90.0) -> Explanation:
    """Explained in virtual time, where the only truth is what the backend and the clock were told."""
    return explain(subject, time_limit=limit, clock=FakeClock(oversleep=oversleep))


@pytest.mark.parametrize("seed", range(6))
def test_a_healthy_case_has_no_cause(seed: int) -> None:
    """2 ms of work at 30 fps with 10 % noise and 1 % outliers: nothing is confirmed, the budget is met."""
    found = virtual(case(latency_us=2000, noise=0.1, outlier_share=0.01, seed=seed))
    assert found.confirmed == ()
    assert found.bottleneck == "healthy"
    assert found.met is True


def test_a_host_that_wakes_late_is_found_and_the_gain_is_what_it_cost() -> None:
    """Sleeps that end 1 ms late before 2 ms of work: FP002, worth 0.7 ms (the spin covers 0.3 ms of it)."""
    found = virtual(case(latency_us=2000, noise=0.05), oversleep=1_000_000, limit=60.0)
    (finding,) = found.confirmed
    assert finding.code == "FP002"
    assert finding.intervention is not None
    assert finding.intervention.before.value - finding.intervention.after.value == pytest.approx(700_000, rel=0.1)


def test_outputs_that_are_not_finite_and_failures_are_findings() -> None:
    """NaN from the first request on and one failed request: both are named with their counts, nothing crashes."""
    found = virtual(case(latency_us=2000, nan_at=0, fail_at=300))
    counts = {f.code: f.evidence["requests"] for f in found.confirmed}
    assert counts["FP100"] > 500
    assert counts["FP101"] == 1


def test_a_missed_budget_is_said() -> None:
    """40 ms of work at 30 fps cannot meet 33 ms."""
    found = virtual(case(latency_us=40_000), limit=20.0)
    assert found.met is False
    assert "missed" in found.verdict


def test_the_time_limit_is_kept_and_what_found_no_time_is_listed() -> None:
    """Within 10 s of virtual time the scopes are measured; a cause without time is named, not dropped."""
    found = virtual(case(latency_us=2000), oversleep=1_000_000, limit=6.0)
    assert found.seconds < 10
    assert {f.code for f in found.findings} | set(found.not_tested) >= {"FP002"}


def test_the_account_adds_up() -> None:
    """Model, lines and the unexplained rest are the stream's latency."""
    a = virtual(case(latency_us=2000, noise=0.1)).account
    assert a.model + sum(line.ns for line in a.lines) + a.unexplained == pytest.approx(a.stream, rel=1e-6)


def test_ctrl_c_before_the_first_trace_is_an_interruption_and_later_keeps_what_was_found(tmp_path: Path) -> None:
    """SIGINT in the first scope raises KeyboardInterrupt; the trace on disk is complete."""
    from framepace.store import load_trace

    threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        explain(case(latency_us=100), folder=tmp_path)
    assert load_trace(tmp_path / "stream").meta.stopped == "interrupted"


def tried(code: str, model: str = "builtin:manykernels", limit: float = 36.0, **settings: Any) -> Finding:
    """One cause tried on a real model at 30 fps, with one thread and no spinning unless told otherwise."""
    chosen = {"threads": 1, "spinning": False, **{k.replace("_", "-"): v for k, v in settings.items()}}
    subject = api.make_case(model, fps=30, settings=chosen)
    found = explain(subject, time_limit=limit, causes=(BY_CODE[code],))
    assert code not in found.not_tested, found.not_tested
    return next(finding for finding in found.findings if finding.code == code)  # beside observations


@pytest.mark.timing
def test_spinning_threads_are_found_fixed_and_verified() -> None:
    """ONNX Runtime's default at 30 fps: FP013, CPU time down by more than half, verified with the patched plan."""
    finding = tried("FP013", model="builtin:detector", threads=0, spinning=True)
    assert finding.verdict == "confirmed"
    assert finding.remedy is not None
    assert finding.remedy.plan == {"spinning": False}
    assert finding.gain is not None
    assert (finding.gain.verified or 0) > 0.5 * finding.intervention.before.value  # type: ignore[union-attr]


@pytest.mark.long
@pytest.mark.timing
def test_slow_python_preparation_is_found() -> None:
    """A hook of 10 ms before a model of 1 ms: FP011, and it says which stage."""
    finding = tried("FP011", prepare_hook="tests.explaining.hooks:slow")
    assert finding.verdict == "confirmed"
    assert finding.evidence["stage"] == "prepare"


@pytest.mark.long
@pytest.mark.timing
def test_too_many_threads_are_found() -> None:
    """Eight times as many threads as cores: FP012, remedied by as many threads as cores."""
    cores = os.cpu_count() or 1
    finding = tried("FP012", model="builtin:detector", threads=8 * cores, spinning=True)
    assert finding.verdict == "confirmed"
    assert finding.remedy is not None
    assert finding.remedy.plan["threads"] <= cores


@pytest.mark.long
@pytest.mark.timing
def test_workers_that_share_the_interpreter_are_found() -> None:
    """Two workers whose preparation is pure Python: FP014, confirmed by running them as processes."""
    finding = tried("FP014", limit=60.0, workers=2, prepare_hook="tests.explaining.hooks:slow")
    assert finding.verdict == "confirmed"


@pytest.mark.long
@pytest.mark.timing
def test_garbage_collection_stalls_are_found() -> None:
    """A hook that makes cyclic garbage beside many live objects: FP015, remedied by switching collection off."""
    finding = tried("FP015", finish="tests.explaining.hooks:garbage")
    assert finding.verdict == "confirmed"
    assert finding.remedy is not None
    assert finding.remedy.plan == {"gc": "off"}
