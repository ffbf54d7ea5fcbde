"""Engines that replace others, whatever happens to them: canaries that hang or cannot be loaded, plans beside plans."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from framepace.engine.engine import Engine
from framepace.errors import UsageError
from framepace.facts.plan import EnginePlan, Plan
from framepace.facts.running import SourceSpec
from framepace.feeds.runstate import RunState
from framepace.running.generation import Taken
from framepace.running.options import Options
from framepace.running.run import Run
from framepace.running.supervisor import Supervisor
from framepace.units import NS_PER_MS, NS_PER_S
from framepace.video.frame import Frame
from tests.doubles.faulty import Faults
from tests.running.rtsp import of, until
from tests.running.runs import CLOCK, assert_accounted, plan


def test_a_canary_whose_library_raises_anything_ends_no_run(path: str) -> None:
    """Not only errors of framepace: it is told, and the plan goes on."""

    def loading() -> None:
        raise RuntimeError("no such symbol")

    Faults.reset(loading=loading)
    options = Options(stays=True, canary=plan("faulty"))
    run = Run(plan(), [SourceSpec(name="a", address=path, loop=True)], options=options).start()
    before = until(run, lambda status: any("no such symbol" in note for note in status.notes))
    until(run, lambda status: of(status, "a").delivered > of(before, "a").delivered + 10)
    run.stop()
    assert_accounted(run.wait(30))


def test_a_canary_that_hangs_is_rolled_back(path: str) -> None:
    """It is said; the plan that ran before gets all frames again, and all are accounted for."""
    ends = threading.Event()
    Faults.reset(lambda number: ends.wait())
    options = Options(stays=True, canary=plan("faulty"), canary_share=0.3, patience_s=0.5)
    run = Run(plan(), [SourceSpec(name="a", address=path, loop=True)], options=options).start()
    try:
        before = until(run, lambda status: any("canary was rolled back" in note for note in status.notes))
        assert any("it did not return" in note for note in before.notes)
        until(run, lambda status: of(status, "a").delivered > of(before, "a").delivered + 10)
    finally:
        ends.set()
        run.stop()
    assert_accounted(run.wait(30))


SPAWNING = Plan(models=plan().models, engine=EnginePlan(strategy="worker-processes"))


@pytest.mark.parametrize("options", [Options(canary=SPAWNING), Options(smaller=SPAWNING)])
def test_a_plan_beside_the_plan_that_can_never_run_is_refused_at_once(options: Options) -> None:
    """One whose strategy starts engines in processes of their own."""
    with pytest.raises(UsageError, match="one engine"):
        Run(plan(), [SourceSpec(name="a", address="synthetic")], options=options)


class Waiting:
    """An engine that works until it is told to end, or ends at once with an error."""

    def __init__(self, error: Exception | None = None) -> None:
        self.plan = plan()
        self.clock = CLOCK
        self._error = error

    def run(self, kind: str, feed: object, state: RunState, take: object) -> list[Exception]:
        """Work."""
        state.succeeded = True
        if self._error is not None:
            raise self._error
        while state.stopped is None:
            CLOCK.sleep_until(CLOCK.now() + NS_PER_MS)
        return []

    def close(self) -> None:
        """Nothing to free."""

    def end_processes(self) -> None:
        """There is none."""


@pytest.mark.parametrize("comes", ["smaller", "canary"])
def test_an_engine_that_takes_the_place_of_one_that_ended_is_not_joined_by_another(comes: str) -> None:
    """It comes while the plan waits to be started again, which is not done then: one engine is at work."""
    loaded: list[object] = []
    notes: list[str] = []
    state = RunState(CLOCK)
    work: Any = SimpleNamespace(taken=Taken(state), feed=None, sink=None, state=lambda clock, frames: RunState(clock))

    def load(one: Plan) -> Engine:
        loaded.append(one)
        return engine(RuntimeError("gone"))

    supervisor = Supervisor(load, work, lambda *_: None, notes.append)
    canary = supervisor.try_out(engine(), 0.1)
    supervisor.begin(engine(RuntimeError("gone")))
    looked(supervisor, lambda: any("started again (2)" in note for note in notes))  # the first time without a pause
    if comes == "canary":
        supervisor.promote(canary)
    else:
        supervisor.replace(engine())
    at_work = supervisor.current
    began = CLOCK.now()
    looked(supervisor, lambda: CLOCK.now() > began + 1_500 * NS_PER_MS)
    assert supervisor.current is at_work
    assert len(loaded) == 1
    state.stop("finished")
    supervisor.join()


class Ended:
    """Learns of frames and batches that ended."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def end(self, frames: Sequence[Frame], *_: object, **__: object) -> None:
        """Note them."""
        self.numbers += [frame.number for frame in frames]


def test_frames_that_are_lost_with_a_worker_hold_up_no_others() -> None:
    """Of a model with states the next frame of the source may go, and a batch that was in flight is none any more."""
    notes: list[str] = []
    state = RunState(CLOCK)
    sources, batches = Ended(), Ended()
    state.sources = sources
    state.batches = batches
    work: Any = SimpleNamespace(taken=Taken(state), feed=None, sink=None, state=lambda clock, frames: RunState(clock))
    supervisor = Supervisor(lambda one: engine(), work, lambda *_: None, notes.append, patience_s=0.01)
    supervisor.begin(engine())
    assert supervisor.flying is not None
    supervisor.flying.waited([frame(1), frame(2)], CLOCK.now() - NS_PER_S)
    looked(supervisor, lambda: bool(notes))
    assert "did not return" in notes[0]
    assert sources.numbers == [1, 2]
    assert batches.numbers == [1, 2]
    state.stop("finished")
    supervisor.join()


def frame(number: int) -> Frame:
    """A frame of the first source."""
    return Frame(number, 0, 0, 0, 0, 0, 0)


def engine(error: Exception | None = None) -> Engine:
    """See Waiting."""
    return cast("Engine", Waiting(error))


def looked(supervisor: Supervisor, until_so: Callable[[], bool]) -> None:
    """Let it look until it is so."""
    end = CLOCK.now() + 30_000 * NS_PER_MS
    while not until_so():
        assert CLOCK.now() < end
        assert supervisor.look()
        CLOCK.sleep_until(CLOCK.now() + NS_PER_MS)
