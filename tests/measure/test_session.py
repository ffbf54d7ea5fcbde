"""Measurements end to end on the null backend: what is kept when things go wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from framepace.errors import PlanError, UsageError
from framepace.facts.plan import EnginePlan, ModelPlan, Plan
from framepace.facts.settings import Case, apply
from framepace.facts.trace import DropCause, Mark, Outcome, Trace
from framepace.facts.workload import Closed, Paced, Replay, Stop, Warmup, Workload
from framepace.measure.session import measure
from framepace.store import load_trace
from framepace.testing import FakeClock

NULL = Plan(models=(ModelPlan(name="m", model="null", backend="null", options={"latency_us": 200}),))
QUICK = Warmup(seconds_max=0.05)
CASE = Case(plan=NULL, workload=Workload(load=Paced(fps=500), scope="model", stop=Stop(count=100), warmup=QUICK))


def run(folder: Path | None = None, **changes: Any) -> Trace:
    """The case with changes, measured."""
    case = apply(CASE, changes)
    return measure(case.plan, case.workload, folder=folder)


@pytest.mark.parametrize("scope", ["model", "pipeline", "stream"])
@pytest.mark.parametrize("workers", [1, 2])
def test_every_scope_and_crew_measures_what_it_is_asked(scope: str, workers: int) -> None:
    """A hundred frames past warm-up, stamps in order, every frame once."""
    trace = run(scope=scope, workers=workers)
    r = trace.measured().requests
    assert len(r["due"]) >= 100
    assert len(np.unique(trace.requests["frame"])) == len(trace)
    for earlier, later in zip(
        ("due", "captured", "decoded", "queued", "batched", "started", "enqueued", "finished"),
        ("captured", "decoded", "queued", "batched", "started", "enqueued", "finished", "delivered"),
        strict=True,
    ):
        assert np.all(r[earlier] <= r[later]), (earlier, later)


def test_telemetry_stands_beside_the_requests() -> None:
    """Samples before, during and after the run; counters never fall."""
    trace = run()
    t, r = trace.telemetry, trace.requests
    assert t["time"][0] < r["due"][0]
    assert t["time"][-1] > r["delivered"][-1]
    assert np.all(np.diff(t["process_cpu"]) >= 0)
    assert (t["memory_bytes"] > 0).all()
    assert trace.meta.overhead["core_share"] >= 0


def test_virtual_time_is_exact_and_takes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand frames at 30 fps with a virtual clock: 200 us each, on the grid, and nobody sleeps for one."""
    case = apply(CASE, {"fps": 30})
    others = set(threading.enumerate()) - {threading.current_thread()}  # of tests before; they may sleep
    sleep = time.sleep

    def sleep_elsewhere(seconds: float) -> None:
        assert threading.current_thread() in others
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", sleep_elsewhere)
    trace = measure(case.plan, case.workload, clock=FakeClock())
    assert set(trace.latency.tolist()) == {200_000}
    assert trace.meta.clock == "virtual"


def test_a_failure_on_the_500th_request_is_a_row_and_the_499_before_it_are_kept() -> None:
    """One failed row with its cause, 499 good ones before it, and a note with the reason."""
    trace = run(None, **{"option.fail_at": 499, "concurrency": 1, "scope": "model"})
    assert len(trace) > 0
    case = apply(CASE, {"option.fail_at": 499, "concurrency": 1})
    long = measure(case.plan, _counted(case.workload, 600))
    outcome = long.requests["outcome"]
    assert outcome[:499].max() == Outcome.OK
    assert outcome[499] == Outcome.FAILED
    assert long.requests["cause"][499] == DropCause.BACKEND
    assert outcome[500:].max() == Outcome.OK
    assert any("fails" in note for note in long.meta.notes)


def _counted(workload: Workload, count: int) -> Workload:
    from msgspec.structs import replace

    return replace(workload, stop=Stop(count=count), warmup=Warmup(seconds_max=0.0))


def test_outputs_that_are_not_finite_are_marked_not_a_crash() -> None:
    """NaN from request 50 on marks those rows."""
    trace = run(None, **{"option.nan_at": 50})
    marks = trace.requests["marks"] & Mark.NAN
    assert not marks[:50].any()
    assert marks[50:].all()


def interrupt(model: str, outputs: Any, number: int) -> None:
    """A finish hook that presses Ctrl-C at frame 20."""
    if number == 20:
        os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_ends_the_run_and_keeps_it(tmp_path: Path) -> None:
    """SIGINT during a run of an hour: the trace is complete and says that it was interrupted."""
    case = apply(CASE, {"finish": f"{__name__}:interrupt", "scope": "pipeline"})
    from msgspec.structs import replace

    workload = replace(case.workload, stop=Stop(seconds=3600.0))
    trace = measure(case.plan, workload, folder=tmp_path / "t")
    assert trace.meta.stopped == "interrupted"
    assert len(load_trace(tmp_path / "t")) == len(trace) > 10


_ENDLESS = """
import sys
from pathlib import Path
from typing import Any
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.workload import Paced, Stop, Workload
from framepace.measure.session import measure
plan = Plan(models=(ModelPlan(name="m", model="null", backend="null"),))
load = Workload(load=Paced(fps=500), scope="model", stop=Stop(seconds=3600.0))
measure(plan, load, folder=Path(sys.argv[1]), progress=lambda share: print("+", flush=True))
"""


@pytest.mark.timing
def test_a_killed_run_keeps_all_but_its_last_second(tmp_path: Path) -> None:
    """SIGKILL: the rows on disk reach to within a second of the kill."""
    process = subprocess.Popen([sys.executable, "-c", _ENDLESS, str(tmp_path / "t")], stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(8):
        process.stdout.read(2)
    killed = time.perf_counter_ns()
    process.kill()
    process.wait()
    process.stdout.close()
    trace = load_trace(tmp_path / "t")
    assert trace.meta.stopped == "killed"
    assert len(trace) > 100
    assert killed - trace.requests["delivered"].max() < 1_000_000_000


def test_processes_share_an_open_load() -> None:
    """Two processes at 200 fps: each frame once, due on one grid, by two workers."""
    case = apply(CASE, {"fps": 200, "workers": 2, "strategy": "worker-processes"})
    r = measure(case.plan, case.workload).requests
    assert set(r["worker"].tolist()) == {0, 1}
    assert len(np.unique(r["frame"])) == len(r["frame"])
    due = np.sort(r["due"])
    assert np.diff(due).min() > 0
    assert np.median(np.diff(due)) == pytest.approx(5_000_000, rel=0.001)


def test_a_case_that_processes_cannot_run_says_so() -> None:
    """A virtual clock cannot be shared by processes."""
    case = apply(CASE, {"strategy": "worker-processes"})
    with pytest.raises(UsageError, match="virtual clock"):
        measure(case.plan, case.workload, clock=FakeClock())


def test_a_replay_has_the_gaps_of_the_recorded_run(tmp_path: Path) -> None:
    """Due times of the second run are those of the first, moved."""
    first = run(tmp_path / "a")
    from msgspec.structs import replace

    workload = replace(CASE.workload, load=Replay(trace=str(tmp_path / "a")))
    second = measure(NULL, workload)
    count = min(len(first), len(second))
    gaps = [np.diff(np.sort(t.requests["due"]))[: count - 1] for t in (first, second)]
    assert np.array_equal(gaps[0], gaps[1])


def test_a_missing_hook_is_named_before_anything_runs() -> None:
    """A finish hook that does not exist is a PlanError."""
    plan = Plan(models=NULL.models, engine=EnginePlan(finish="nowhere:nothing"))
    with pytest.raises(PlanError, match="nowhere"):
        measure(plan, Workload(load=Closed()))
