"""What every strategy promises: each frame once, in order, the same outputs, and nothing lost or left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import psutil
import pytest

from framepace.analyze.strategies import reasons
from framepace.analyze.summary import summarize
from framepace.backends.null import NullBackend
from framepace.errors import BackendError, UsageError
from framepace.facts.plan import ModelPlan, Plan, Strategy
from framepace.facts.settings import Case, apply
from framepace.facts.strategy import STRATEGIES
from framepace.facts.trace import Column, DropCause, Mark, Outcome, Trace
from framepace.facts.workload import Closed, Input, Stop, Warmup, Workload
from framepace.measure.session import measure
from framepace.store import load_trace
from framepace.testing import FakeClock
from framepace.video import sharedframes, sharedmemory
from framepace.video.sharedmemory import Block
from tests.contract import hooks
from tests.contract.notinghook import IN_RUN, SET_UP
from tests.doubles.processes import runs, waited_for

ALL: Sequence[str] = get_args(Strategy)
IN_TURN = ("workers", "serial", "asyncio")
SIDE_BY_SIDE = ("threads", "asyncio-threads", "processes")
NULLS = tuple(ModelPlan(name=n, model="null", backend="null", options={"latency_us": 200}) for n in "abc")
NETS = tuple(
    ModelPlan(name=n, model=f"builtin:{m}", threads=1, spinning=False)
    for n, m in (("a", "detector"), ("b", "classifier"), ("c", "manykernels"))
)
SLEEPS: dict[str, Any] = {"option.latency_us": 20_000, "option.cpu": "sleep"}
FAILS: dict[str, Any] = {"b.option.fail_at": 4}
BATCH: dict[str, Any] = {"b.batch": 3}
BEATS: dict[str, Any] = {"heartbeat-ms": 5.0}
WRONG: dict[str, Any] = {"b.option.latency_uss": 3}
QUICK = Warmup(seconds_max=0.05)

ENDLESS = """
from tests.contract.test_strategies import case
from framepace.lab.measuringprocess import measure_apart

if __name__ == "__main__":
    endless = case(count=10**9, strategy="{strategy}")
    measure_apart(endless.plan, endless.workload)
"""


def case(models: Sequence[ModelPlan] = NULLS, count: int = 30, **changes: Any) -> Case:
    """Three models a frame, back to back, pictures of 320x192 in memory."""
    load = {"load": Closed(), "scope": "pipeline", "input": Input(size=(192, 320), frames=8)}
    workload = Workload(**load, stop=Stop(count=count), warmup=QUICK)  # type: ignore[arg-type]
    return apply(Case(plan=Plan(models=tuple(models)), workload=workload), changes)


def run(given: Case, **how: Any) -> Trace:
    """The case, measured."""
    return measure(given.plan, given.workload, **how)


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the shared memory that this process made."""
    names: list[str] = []

    def noted(size: int) -> Block:
        block = sharedmemory.create(size)
        names.append(block.name)
        return block

    monkeypatch.setattr(sharedframes, "create", noted)
    return names


def nothing_left(shared: Sequence[str]) -> bool:
    """Whether no block of `shared` exists any more, and no process either."""
    for name in shared:
        with pytest.raises(BackendError):
            sharedmemory.attach(name)
    return not multiprocessing.active_children()


def of(trace: Trace, model: int) -> dict[str, Column]:
    """The rows of one model in order of their frames."""
    order = np.argsort(trace.requests["frame"], kind="stable")
    rows = {name: column[order] for name, column in trace.requests.items()}
    return {name: column[rows["model"] == model] for name, column in rows.items()}


@pytest.mark.parametrize("strategy", ALL)
@pytest.mark.parametrize(("scope", "workers"), [("stream", 1), ("pipeline", 2), ("model", 1)])
def test_every_frame_is_delivered_once_by_every_model(
    strategy: str, scope: str, workers: int, shared: list[str]
) -> None:
    """Frames 0..n without a gap for each of three models, none failed; at least as many as were asked for."""
    trace = run(case(strategy=strategy, scope=scope, workers=workers))
    frames = of(trace, 0)["frame"]
    assert len(frames) >= 30
    assert set(trace.requests["outcome"].tolist()) == {Outcome.OK}
    for model in range(3):
        rows = of(trace, model)
        assert len(np.unique(rows["frame"])) == len(rows["frame"])
        assert set(rows["frame"].tolist()) == set(frames.tolist())
    if strategy != "worker-processes" or workers == 1:  # each process counts its own frames of a closed loop
        assert frames.tolist() == list(range(len(frames)))
    assert set(trace.requests["worker"].tolist()) <= set(range(workers))
    assert nothing_left(shared)


@pytest.mark.parametrize("strategy", ALL)
def test_outputs_are_the_same_whatever_runs_them(
    strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three networks on decoded video: each frame's outputs are those of the serial run, to the last bit."""
    found: list[dict[tuple[str, int], str]] = []
    for name in ("serial", strategy):
        path = tmp_path / f"{len(found)}"
        monkeypatch.setenv(hooks.TOLD, str(path))
        trace = run(case(NETS, 12, strategy=name, finish="tests.contract.hooks:tell"))
        assert set(trace.requests["outcome"].tolist()) == {Outcome.OK}, trace.meta.notes
        found.append(hooks.told(path))
    both = found[0].keys() & found[1].keys()
    assert {model for model, _ in both} == set("abc")
    assert len(both) >= 36
    assert all(found[0][key] == found[1][key] for key in both)
    assert len({found[0][key] for key in both}) > 3  # the pictures differ


@pytest.mark.parametrize("strategy", ALL)
def test_a_worker_keeps_the_order_of_its_source(strategy: str) -> None:
    """One worker: a later frame is taken after an earlier one, delivered after it, and all are delivered by then."""
    trace = run(case(strategy=strategy, scope="stream"))
    rows = [of(trace, model) for model in range(3)]
    end = np.max([r["delivered"] for r in rows], axis=0)
    for r in rows:
        assert (np.diff(r["delivered"]) > 0).all()
        assert (r["queued"] <= r["batched"]).all()
        if strategy != "workers":
            assert (r["batched"][1:] >= end[:-1]).all()
    assert len({tuple(r["captured"].tolist()) for r in rows}) == 1


@pytest.mark.parametrize("strategy", [*IN_TURN, *SIDE_BY_SIDE])
def test_models_run_in_turn_or_side_by_side(strategy: str) -> None:
    """Inferences that sleep 20 ms: one frame's overlap where each model has a thread or a process, else never."""
    trace = run(case(count=8, strategy=strategy, **SLEEPS))
    rows = [of(trace, model) for model in range(3)]
    begun, ended = (np.array([r[name] for r in rows]) for name in ("batched", "delivered"))
    together = begun.max(axis=0) < ended.min(axis=0)
    assert (together.mean() > 0.5) if strategy in SIDE_BY_SIDE else not together.any()


@pytest.mark.parametrize("strategy", ALL)
def test_a_model_that_fails_is_a_failed_row_and_nothing_else(strategy: str) -> None:
    """The fifth inference of the second model fails: that row, with its cause, and all frames are delivered."""
    trace = run(case(strategy=strategy, **FAILS))
    for model in range(3):
        rows = of(trace, model)
        failed = rows["frame"][rows["outcome"] == Outcome.FAILED]
        assert failed.tolist() == ([4] if model == 1 else [])
        assert set(rows["cause"][rows["outcome"] == Outcome.FAILED].tolist()) <= {DropCause.BACKEND}
    assert len(np.unique(trace.requests["frame"])) >= 30
    assert any("fails here" in note for note in trace.meta.notes)


@pytest.mark.parametrize("strategy", ALL)
def test_batches_of_one_model_are_inferences_of_the_others(strategy: str) -> None:
    """Batch 3 for one of three models, whole frames taken three at a time: one inference there, three elsewhere."""
    trace = run(case(strategy=strategy, **BATCH))
    assert set(of(trace, 1)["batch_size"].tolist()) == {3}
    assert set(of(trace, 0)["batch_size"].tolist()) == {1}
    for model in range(3):
        rows = of(trace, model)
        assert len(np.unique(rows["frame"])) == len(rows["frame"])
    pairs = np.unique(np.stack([trace.requests["model"], trace.requests["batch_id"]]), axis=1)
    assert len(pairs[0]) == len(np.unique(trace.requests["batch_id"]))  # a batch's number is no other model's


@pytest.mark.parametrize("strategy", ALL)
def test_ctrl_c_keeps_the_rows(strategy: str, tmp_path: Path, shared: list[str]) -> None:
    """SIGINT once rows are on disk: the trace is complete and says that it was interrupted."""
    folder = tmp_path / "t"
    journal = folder / "requests.journal"
    sent: list[float] = []

    def interrupt(share: float) -> None:
        if not sent and journal.exists() and journal.stat().st_size > 0:
            sent.append(share)
            os.kill(os.getpid(), signal.SIGINT)

    trace = run(case(count=10**9, strategy=strategy), folder=folder, progress=interrupt)
    assert trace.meta.stopped == "interrupted"
    assert len(load_trace(folder)) == len(trace) > 0
    assert len(of(trace, 0)["frame"]) == len(of(trace, 2)["frame"])
    assert nothing_left(shared)


@pytest.mark.parametrize("strategy", ALL)
def test_warm_up_and_start_up_are_told_apart(strategy: str) -> None:
    """Rows of warm-up are marked, whoever ran them; what came before the load is in the meta."""
    trace = run(case(strategy=strategy, **BEATS))
    warm = (trace.requests["marks"] & Mark.WARMUP) > 0
    assert warm.any()
    assert not warm[trace.requests["frame"] == trace.requests["frame"].max()].any()
    startup = trace.meta.startup
    assert {"models", "workers", *(f"load {name}" for name in "abc")} <= startup.keys()
    assert min(startup.values()) >= 0
    assert ("start a" in startup) == (strategy == "processes")


def test_a_process_that_dies_is_a_sentence_and_leaves_nothing(shared: list[str]) -> None:
    """The process of one of three models ends in the middle: BackendError with its exit code, all else cleared up."""
    with pytest.raises(BackendError, match="'b' died") as error:
        run(case(strategy="processes", finish="tests.contract.hooks:die"))
    assert "exit code 7" in str(error.value)
    assert shared
    assert nothing_left(shared)


def test_worker_processes_leave_the_parent_without_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend fails in this process alone: nobody asks it, and the trace still says what was loaded."""

    def fail(*_: Any) -> Any:
        raise BackendError("loaded in the parent")

    monkeypatch.setattr(NullBackend, "_load", fail)
    trace = run(case(strategy="worker-processes", workers=2))
    assert [spec.name for spec in trace.meta.models] == [model.model for model in NULLS]
    assert set(trace.requests["worker"].tolist()) == {0, 1}
    with pytest.raises(BackendError, match="in the parent"):
        run(case(strategy="serial"))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("strategy", ["processes", "worker-processes"])
def test_what_a_model_says_in_its_process_is_in_the_trace_once(strategy: str, workers: int) -> None:
    """Such as a preparation that went to the host: when a worker was made, and in the run, by each of its workers."""
    trace = run(case(NULLS[:1], strategy=strategy, workers=workers, finish="tests.contract.notinghook:ignore"))
    said = [note for note in trace.meta.notes if note.endswith((SET_UP, IN_RUN))]
    assert len(said) == len(set(said)) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("strategy", ["processes", "worker-processes"])
def test_a_killed_measurement_leaves_no_process(strategy: str) -> None:
    """SIGKILL of a program that measures in a fresh process, which has processes of its own: all of them end."""
    with subprocess.Popen([sys.executable, "-c", ENDLESS.format(strategy=strategy)]) as program:
        process = psutil.Process(program.pid)
        processes = 1 + 3 * (strategy == "processes") + (strategy == "worker-processes")
        descendants = waited_for(lambda: measuring(process, processes))
        program.kill()
    assert waited_for(lambda: not any(map(runs, descendants)))


def measuring(parent: psutil.Process, count: int) -> list[psutil.Process]:
    """The descendants of `parent` once `count` of them measure (beside the tracker of shared memory); else none."""
    children = [child for child in parent.children(recursive=True) if "spawn_main" in " ".join(child.cmdline())]
    return children if len(children) >= count else []


def test_every_strategy_has_a_row_in_the_table() -> None:
    """What a plan may name is what the table describes."""
    assert set(STRATEGIES) == set(ALL)


def test_a_model_that_a_process_cannot_load_is_the_same_error() -> None:
    """What loading raises comes through: a wrong option is the sentence it is without processes."""
    with pytest.raises(UsageError, match="latency_uss"):
        run(case(strategy="processes", **WRONG))
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("strategy", ["serial", "asyncio", "workers"])
def test_models_in_turn_are_exact_in_virtual_time(strategy: str) -> None:
    """200 us for each of three models: every frame takes 600 us."""
    trace = run(case(strategy=strategy), clock=FakeClock())
    assert set((of(trace, 2)["delivered"] - of(trace, 0)["due"]).tolist()) == {600_000}


@pytest.mark.parametrize("strategy", SIDE_BY_SIDE)
def test_models_side_by_side_are_exact_in_virtual_time(strategy: str) -> None:
    """200 us for each of three models at the same time: every frame takes 200 us, and no process is started."""
    trace = run(case(strategy=strategy), clock=FakeClock())
    assert set((of(trace, 2)["delivered"] - of(trace, 0)["due"]).tolist()) == {200_000}
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("strategy", SIDE_BY_SIDE)
def test_what_cannot_be_is_said(strategy: str) -> None:
    """No keeper for models that run elsewhere than in the worker."""
    with pytest.raises(UsageError, match="keeper"):
        run(case(strategy=strategy, keeper=True))


def test_an_event_loop_of_the_caller_is_left_alone() -> None:
    """Measuring from code that a loop runs, as in a notebook."""
    import asyncio

    async def cell() -> Trace:
        return run(case(strategy="asyncio"))

    assert len(asyncio.run(cell())) >= 90


@pytest.mark.timing
def test_a_held_interpreter_lock_is_the_reason_in_threads_and_none_in_processes() -> None:
    """10 ms of the lock a model: three threads take them in turn, three processes together; the traces say why."""
    held: dict[str, Any] = {"finish": "tests.contract.hooks:hold", "count": 20}
    found = {name: summarize(run(case(strategy=name, **held))) for name in ("serial", "threads", "processes")}
    why = reasons(found)
    assert "waiting for the interpreter lock" in why["threads"]
    assert "lock" not in why["processes"]
    assert found["processes"].throughput > 1.5 * found["threads"].throughput
