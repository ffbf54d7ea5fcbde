"""Measurements in processes of their own, and a sweep over strategies, which are made of them."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from framepace.errors import BackendError, DeviceLost, SourceError, UsageError
from framepace.facts.plan import EnginePlan, ModelPlan, Plan
from framepace.facts.settings import Case
from framepace.facts.trace import Trace
from framepace.facts.workload import Closed, Input, Stop, Warmup, Workload
from framepace.lab.lab import Lab
from framepace.lab.measuringprocess import MeasuringProcess, measure_apart
from framepace.progress import Tell
from framepace.reporting.views.sweep import COSTS, sweep_view
from framepace.store import load_trace
from framepace.sweeping import sweep
from framepace.testing import make_trace

PLAN = Plan(models=tuple(ModelPlan(name=n, model="null", backend="null", options={"latency_us": 300}) for n in "ab"))
WORK = Workload(load=Closed(), scope="model", stop=Stop(count=50), warmup=Warmup(seconds_max=0.05))


def test_a_trace_comes_back_with_and_without_a_folder(tmp_path: Path) -> None:
    """Measured elsewhere, the same rows here and on disk, and no process left."""
    inline, stored = measure_apart(PLAN, WORK), measure_apart(PLAN, WORK, tmp_path / "t")
    assert len(inline) >= 100
    assert inline.meta.stopped == stored.meta.stopped == "finished"
    assert load_trace(tmp_path / "t").requests["due"].tolist() == stored.requests["due"].tolist()
    assert not multiprocessing.active_children()


def test_what_goes_wrong_there_is_raised_here() -> None:
    """A wrong option is the same UsageError; a process that ends without a word is a BackendError with its code."""
    wrong = Plan(models=(ModelPlan(name="a", model="null", backend="null", options={"latency": 1}),))
    with pytest.raises(UsageError, match="latency"):
        measure_apart(wrong, WORK)
    hook = Plan(models=PLAN.models, engine=EnginePlan(finish="tests.contract.hooks:die"))
    with pytest.raises(BackendError, match="died") as error:
        measure_apart(hook, Workload(load=Closed(), scope="pipeline", stop=Stop(count=50), warmup=WORK.warmup))
    assert "exit code 7" in str(error.value)
    assert not multiprocessing.active_children()


def test_a_run_that_aborts_takes_nothing_else_along() -> None:
    """Its error names the signal; runs before and after it are measured, each in a process that works."""
    long_enough = Workload(load=Closed(), scope="pipeline", stop=Stop(count=50), warmup=WORK.warmup)
    aborting = replace(PLAN, engine=EnginePlan(finish="tests.contract.hooks:abort"))
    with closing(MeasuringProcess(engines=2)) as process:
        assert process.measure(PLAN, long_enough).meta.stopped == "finished"
        with pytest.raises(BackendError, match="died") as error:
            process.measure(aborting, long_enough)
        assert "SIGABRT" in str(error.value)
        assert process.measure(PLAN, long_enough).meta.stopped == "finished"
    assert not multiprocessing.active_children()


def test_models_are_kept_until_a_run_fails() -> None:
    """The second run of a plan loads nothing, and the first one after a failure loads again."""
    wrong = Workload(load=Closed(), scope="pipeline", stop=Stop(count=50), input=Input(videos=("none.mp4",)))
    with closing(MeasuringProcess(engines=2)) as process:
        process.measure(PLAN, WORK)
        loaded = process.loading
        process.measure(PLAN, WORK)
        assert process.loading - loaded < loaded / 2
        with pytest.raises(SourceError):
            process.measure(PLAN, wrong)
        process.measure(PLAN, WORK)
        assert process.loading - loaded > loaded / 2


def test_a_sweep_measures_every_cell_but_the_one_that_aborts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a device's cells: the poisonous one in the middle is a row with its error, and the others have their times."""
    monkeypatch.setattr("framepace.lab.lab.on_device", lambda model: True)
    workload = Workload(load=Closed(), scope="pipeline", stop=Stop(count=50), warmup=WORK.warmup)
    hooks = [f"tests.contract.hooks:{name}" for name in ("abort", "ignore", "die")]
    found = sweep(Case(plan=PLAN, workload=workload), {"finish": hooks, "workers": [1]})
    assert [cell.summary is not None for cell in found.cells] == [False, True, False]
    assert "SIGABRT" in (found.cells[0].error or "")
    assert "exit code 7" in (found.cells[2].error or "")


class Losing:
    """A measuring process whose device is lost in the runs that are named."""

    loading = 0.0

    def __init__(self, lost: set[int]) -> None:
        self._lost = lost
        self._runs = itertools.count()

    def measure(self, plan: Plan, workload: Workload, folder: Path | None, tell: Tell) -> Trace:
        """The next run."""
        if next(self._runs) in self._lost:
            raise DeviceLost("the device was lost")
        return make_trace([1.0] * 10)

    def clear(self) -> None:
        """There is nothing to end."""

    close = clear


def test_a_device_that_is_lost_costs_its_run_and_the_second_time_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a lost run the next one counts; a device that is lost in two runs one after the other is told as lost."""
    monkeypatch.setattr("framepace.lab.lab.on_device", lambda model: True)
    monkeypatch.setattr("framepace.lab.lab.MeasuringProcess", lambda *_: Losing({0, 2, 4, 5}))
    case = Case(plan=PLAN, workload=WORK)
    with Lab() as lab:
        for _ in range(2):
            with pytest.raises(BackendError, match="the next run has a process of its own"):
                lab.run(case)
            assert lab.run(case).meta.stopped == "finished"
        with pytest.raises(BackendError, match="the next run has a process of its own"):
            lab.run(case)
        with pytest.raises(DeviceLost):
            lab.run(case)


def test_a_function_is_called_where_its_models_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the host in this process, on a device in the measuring one; an error there is raised here."""
    with Lab() as lab:
        assert lab.call(PLAN.models, os.getpid) == os.getpid()
        monkeypatch.setattr("framepace.lab.lab.on_device", lambda model: True)
        assert lab.call(PLAN.models, os.getpid) != os.getpid()
        with pytest.raises(ValueError, match="invalid literal"):
            lab.call(PLAN.models, int, "x")


def test_ctrl_c_is_passed_on_and_the_run_kept(tmp_path: Path) -> None:
    """SIGINT here, once rows are on disk there: the trace says that it was interrupted."""
    folder, over = tmp_path / "t", threading.Event()

    def watch() -> None:
        journal = folder / "requests.journal"
        while not over.wait(0.05):
            if journal.exists() and journal.stat().st_size:
                os.kill(os.getpid(), signal.SIGINT)
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        endless = Workload(load=Closed(), scope="model", stop=Stop(seconds=3600.0))
        assert measure_apart(PLAN, endless, folder).meta.stopped == "interrupted"
    finally:
        over.set()
        watcher.join()
    assert len(load_trace(folder)) > 0


@pytest.mark.long
def test_a_sweep_over_strategies_is_one_table_with_reasons(tmp_path: Path) -> None:
    """Each model's time, wall time, memory, cores and start-up a row, why each is where it is, and resumed for free."""
    case, grid = Case(plan=PLAN, workload=WORK), {"strategy": ["serial", "threads", "processes"]}
    found = sweep(case, grid, folder=tmp_path)
    view = sweep_view(found)
    assert {"a", "b", "wall", "at once", "cores", "memory", "start-up"} <= set(view.numbers)
    assert "device memory" not in view.numbers  # there is none
    assert [name for name, _ in view.reasons] == grid["strategy"]
    costs = [cell.summary.cost for cell in found.cells if cell.summary is not None]
    assert all(c is not None and c.memory and c.startup for c in costs)
    assert costs[2] is not None
    assert costs[0] is not None
    assert (costs[2].memory or 0) > 1.5 * (costs[0].memory or 0)  # two more interpreters
    assert sweep(case, grid, folder=tmp_path) == found


def test_costs_are_columns_of_a_sweep_over_strategies_only() -> None:
    """Another sweep has its memory alone."""
    found = sweep(Case(plan=PLAN, workload=WORK), {"workers": [1, 2]})
    assert set(COSTS) & set(sweep_view(found).numbers) <= {"memory", "device memory"}
    assert sweep_view(found).reasons == ()
    assert all(cell.summary is not None and cell.summary.cost is not None for cell in found.cells)
