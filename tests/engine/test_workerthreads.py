"""What stays with an engine's workers from run to run, and when it does not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from framepace.backends.base import Worker
from framepace.clock.system import Clock, SystemClock
from framepace.clock.virtual import VirtualClock
from framepace.engine.engine import Engine
from framepace.engine.workerthreads import WorkerThreads
from framepace.facts.plan import EnginePlan, ModelPlan, Plan
from framepace.feeds.feed import Feed
from framepace.feeds.pacer import Idle
from framepace.lab.enginepool import EnginePool
from framepace.video.frame import Frame
from tests.doubles.engine import Rows, run_state, watched

from .test_begin import Ended


class Few(Ended):
    """A feed of a few frames."""

    def __init__(self, count: int) -> None:
        self._frames = [Frame(number, 0, 0, 0, 0, 0, 0) for number in range(count)]
        self._lock = threading.Lock()

    def take(self, idle: Idle | None, wait: bool = True) -> list[Frame] | None:
        """The next frame."""
        with self._lock:
            return [self._frames.pop()] if self._frames else None


def plan(workers: int = 1, strategy: Any = "workers", **options: Any) -> Plan:
    """The null model."""
    model = ModelPlan(name="null", model="null", backend="null", options=options)
    return Plan(models=(model,), engine=EnginePlan(workers=workers, strategy=strategy))


class Watched:
    """An engine whose workers record in which thread they were made and closed."""

    def __init__(self, chosen: Plan, keep: bool, clock: Clock | None = None) -> None:
        clock = clock or SystemClock()
        self.made: list[tuple[Worker, threading.Thread]] = []
        self.closed: list[tuple[Worker, threading.Thread]] = []
        self.engine = Engine(chosen, clock, load=watched(self._watch, clock), keep=keep)

    def _watch(self, worker: Worker) -> None:
        def close() -> None:
            self.closed.append((worker, threading.current_thread()))

        self.made.append((worker, threading.current_thread()))
        worker.close = close  # type: ignore[method-assign]

    def run(self, frames: int = 3) -> list[Exception]:
        """One run."""

        def begin() -> Feed:
            return Few(frames)

        return self.engine.run("model", begin, run_state(100), Rows())


@pytest.mark.parametrize("workers", [1, 3])
def test_a_kept_engine_sets_its_workers_up_once(workers: int) -> None:
    """Three runs use the same workers, which are closed with the engine, each in the thread that made it."""
    runs = Watched(plan(workers), keep=True)
    for _ in range(3):
        assert runs.run() == []
    assert len(runs.made) == workers
    assert runs.closed == []
    runs.engine.close()
    assert sorted(runs.closed, key=str) == sorted(runs.made, key=str)


@pytest.mark.parametrize("workers", [1, 3])
def test_otherwise_every_run_sets_up_its_own(workers: int) -> None:
    """Two runs make workers of their own and free them at the end, each in the thread that made it."""
    runs = Watched(plan(workers), keep=False)
    for run in (1, 2):
        runs.run()
        assert len(runs.made) == len(runs.closed) == run * workers
    assert sorted(runs.closed, key=str) == sorted(runs.made, key=str)


def test_workers_that_failed_are_not_kept() -> None:
    """After a run with a failed request the next one begins with workers of its own."""
    runs = Watched(plan(fail_at=1), keep=True)
    assert len(runs.run()) == 1
    assert len(runs.closed) == 1
    runs.run()
    assert len(runs.made) == 2


def test_an_interrupt_while_workers_run_stops_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever hits the thread that waits for the workers is raised, and the run is over for them."""
    engine, state = Engine(plan(2), SystemClock()), run_state(100)

    def interrupted(self: WorkerThreads, count: int, work: Callable[[int], None]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(WorkerThreads, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        engine.run("model", lambda: Few(3), state, Rows())
    assert state.stopped == "interrupted"


def test_strategies_with_threads_of_their_own_keep_nothing() -> None:
    """What belongs to threads that end with the run is freed with it."""
    runs = Watched(plan(strategy="threads"), keep=True)
    runs.run()
    assert len(runs.made) == len(runs.closed) == 1


def test_nothing_is_kept_in_virtual_time() -> None:
    """There a run must be the same again, so that each begins anew."""
    runs = Watched(plan(), keep=True, clock=VirtualClock())
    for _ in range(2):
        runs.run()
    assert len(runs.made) == len(runs.closed) == 2


def test_of_several_engines_only_the_one_in_use_keeps_its_workers() -> None:
    """Another plan's memory must not count in a run: its workers are freed when the next plan is asked for."""
    with EnginePool(SystemClock(), size=2, workers=True) as engines:
        first = engines.get(plan())
        first.run("model", lambda: Few(1), run_state(100), Rows())
        assert first.threads.parked
        assert engines.get(plan()) is first
        assert first.threads.parked
        engines.get(plan(workers=2))
        assert not first.threads.parked
