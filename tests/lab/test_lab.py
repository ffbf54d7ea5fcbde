"""The lab: time, places, and one way to be interrupted."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from framepace import api
from framepace.clock.system import Clock
from framepace.clock.virtual import VirtualClock
from framepace.engine.engine import Engine
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.settings import Case, apply
from framepace.facts.trace import Trace
from framepace.facts.workload import Stop, Workload
from framepace.lab.lab import FRESH_PROCESS, Interrupted, Lab, uninterrupted, wall_limit
from framepace.measure.frames import Frames, open_frames
from framepace.store import load_trace
from framepace.testing import FakeClock, make_trace
from framepace.units import NS_PER_S


def case(**options: Any) -> Case:
    """Two milliseconds of work at 30 fps."""
    model = ModelPlan(name="m", model="null", backend="null", options={"latency_us": 2000, **options})
    return api.make_case(Plan(models=(model,)), fps=30, stop=Stop(count=5))


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Ten seconds of virtual time."""
    with Lab(10.0, clock=FakeClock()) as opened:
        yield opened


def test_time_is_spent_by_runs_and_the_rest_is_left(lab: Lab) -> None:
    """A run of two seconds leaves less than eight, and no more than that fits."""
    lab.run(case(), 2.0)
    assert lab.spent > 2.0
    assert lab.left == pytest.approx(10.0 - lab.spent)
    assert lab.fits(lab.left)
    assert not lab.fits(8.0)


def test_without_a_limit_everything_fits() -> None:
    """Nothing is used up, however long it takes."""
    shares: list[float | None] = []
    with Lab(clock=FakeClock(), tell=lambda text, share: shares.append(share)) as lab:
        lab.run(case(), 2.0)
        lab.say("still going")
        assert lab.fits(1e9)
    assert shares[-1] == 0.0


def test_no_time_at_all_is_all_used() -> None:
    """A limit of zero or less is spent from the start."""
    shares: list[float | None] = []
    with Lab(-1.0, clock=FakeClock(), tell=lambda text, share: shares.append(share)) as lab:
        lab.say("late")
        assert lab.left == 0.0
    assert shares == [1.0]


def test_the_workload_says_how_long_unless_the_call_does(lab: Lab) -> None:
    """Five requests by the stop rule of the case; two seconds when they are asked for."""
    assert len(lab.run(case()).measured()) == 5
    assert lab.run(case(), 2.0).meta.workload.stop == Stop(seconds=2.0)


def test_a_run_for_which_no_time_is_left_can_be_read_back(tmp_path: Path) -> None:
    """It lasts as long as the shortest run that a workload may ask for: a shorter one would be refused by readers."""
    with Lab(10.0, tmp_path, clock=FakeClock()) as lab:
        lab.run(case(), 1e-9, name="first")
    assert load_trace(tmp_path / "first").meta.workload.stop == Stop(seconds=0.001)


def test_named_runs_are_saved_where_there_is_a_folder(tmp_path: Path) -> None:
    """The trace is in the folder of its name; other runs stay in memory."""
    with Lab(10.0, tmp_path, clock=FakeClock()) as lab:
        trace = lab.run(case(), name="first")
        lab.run(case())
        path = lab.path("first")
    assert path == tmp_path / "first"
    assert load_trace(path).meta.id == trace.meta.id
    assert [p.name for p in tmp_path.iterdir()] == ["first"]


def test_virtual_time_has_no_other_process(lab: Lab) -> None:
    """A fresh process would have a clock of its own: the run is made here, and its time counts."""
    trace = lab.run(case(), 2.0, where=FRESH_PROCESS)
    assert trace.meta.clock == "virtual"
    assert lab.spent > 2.0


def test_a_fresh_process_measures_the_same_case() -> None:
    """The trace comes back from there with what was asked for, and no engine was loaded here."""
    with Lab(60.0) as lab:
        trace = lab.run(case(), where=FRESH_PROCESS)
        assert lab.loading == 0.0
    assert len(trace.measured()) == 5


def interrupt(model: str, outputs: Any, number: int) -> None:
    """A finish hook: somebody presses Ctrl-C at the third frame."""
    if number == 2:
        os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_in_a_run_carries_the_trace(lab: Lab) -> None:
    """It is a KeyboardInterrupt as between two runs, and holds what was measured until then."""
    with pytest.raises(KeyboardInterrupt) as caught:
        lab.run(apply(case(), {"finish": f"{__name__}:interrupt"}), 5.0)
    assert isinstance(caught.value, Interrupted)
    assert caught.value.trace.meta.stopped == "interrupted"


def test_a_trace_that_was_not_interrupted_passes() -> None:
    """Only Ctrl-C counts."""
    trace = make_trace()
    assert uninterrupted(trace) is trace


def test_opened_videos_are_kept_or_opened_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for all runs of a workload, or once per run where each is to see the same frames."""
    opened: list[Frames] = []

    def counted(workload: Workload, clock: Clock, gpu: int | None) -> Frames:
        opened.append(open_frames(workload, clock, gpu))
        return opened[-1]

    monkeypatch.setattr("framepace.lab.runs.open_frames", counted)
    monkeypatch.setattr("framepace.measure.session.open_frames", counted)
    for keep, expected in ((True, 1), (False, 2)):
        opened.clear()
        with Lab(10.0, clock=FakeClock(), keep_videos=keep) as lab:
            lab.run(case())
            lab.run(case())
        assert len(opened) == expected


def test_a_new_engine_is_given_the_patience_that_earlier_ones_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An inference of one took 10 s: that of the next, with other settings, is not given up after five."""
    known: list[int] = []

    def slow(*_: Any, engine: Engine, **__: Any) -> Trace:
        known.append(engine.slowest)
        engine.slowest = 10 * NS_PER_S
        return make_trace([1.0])

    monkeypatch.setattr("framepace.lab.runs.measure", slow)
    with Lab(10.0, clock=FakeClock()) as lab:
        lab.run(case())
        lab.run(case(latency_us=1000))
    assert known[1] == 10 * NS_PER_S


def test_of_a_limit_on_the_systems_clock_as_much_is_left_as_fits_at_the_pace_so_far(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A second of virtual time that took ten: of a hundred, ninety are left, in which nine more fit."""
    wall = VirtualClock()
    monkeypatch.setattr("framepace.lab.timelimit.SystemClock", lambda: wall)
    virtual = VirtualClock()
    with Lab(60.0, clock=virtual, wall_limit_s=100.0) as opened:
        virtual.sleep_until(1_000_000_000)
        wall.sleep_until(10_000_000_000)
        assert opened.left == pytest.approx(9.0)
        assert opened.missing(9.0) == pytest.approx(0.0)
        assert opened.missing(20.0) == pytest.approx(110.0)  # 200 s at that pace
        wall.sleep_until(101_000_000_000)
        assert opened.left == 0.0


def test_who_gives_a_clock_is_limited_on_that_clock_alone() -> None:
    """Benches and tests in virtual time give the same answer on a busy machine."""
    assert wall_limit(5.0, None) == 5.0
    assert wall_limit(5.0, VirtualClock()) == math.inf
