"""A run with a time limit ends by time alone where nothing is delivered that could end it."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from framepace.clock.system import SystemClock
from framepace.facts.plan import EnginePlan, SourcePolicy
from framepace.facts.workload import Stop, Warmup
from framepace.feeds.batchrules import BatchRule
from framepace.feeds.pacer import Pacer
from framepace.feeds.runstate import RunState
from framepace.feeds.stream import StreamFeed
from framepace.feeds.window import WindowBatcher
from framepace.measure.stoprules import Enough, Steady
from framepace.testing import FakeClock
from framepace.units import NS_PER_S

GRACE_S = 3


def _state(clock: Any, seconds: float | None, warmup_s: float = 3.0, count: int | None = None) -> RunState:
    return RunState(clock, Steady(Warmup(seconds_max=warmup_s)), Enough(Stop(seconds=seconds, count=count)))


def _stopped(state: RunState) -> str | None:
    return state.stopped


def test_warm_up_and_run_without_a_delivery_end_after_their_times_and_a_grace() -> None:
    """3 s of warm-up, 1 s of measuring, 3 s in which a request in flight could end it."""
    state = _state(FakeClock(), 1.0)
    state.look(0)
    state.look((4 + GRACE_S) * NS_PER_S - 1)
    assert state.stopped is None
    state.look((4 + GRACE_S) * NS_PER_S)
    assert state.stopped == "finished"


def test_the_first_request_after_the_warm_up_may_take_as_long_as_a_slow_model_does() -> None:
    """10 s of each inference, 1 s to measure: the run waits for the second one, 40 s at most."""
    state = _state(FakeClock(), 1.0)
    state.look(0)
    state.delivered(10 * NS_PER_S, 10 * NS_PER_S)
    state.look((10 + 1 + 4 * 10) * NS_PER_S - 1)
    assert state.stopped is None
    state.look((10 + 1 + 4 * 10) * NS_PER_S)
    assert _stopped(state) == "finished"


def test_a_source_that_falls_silent_after_its_first_frame_is_not_taken_for_a_slow_model() -> None:
    """Its frame came late and was soon done: the run ends after the usual grace."""
    state = _state(FakeClock(), 1.0)
    state.look(0)
    state.delivered(0, 10 * NS_PER_S)
    state.look((10 + 3 + 1 + GRACE_S) * NS_PER_S)
    assert state.stopped == "finished"


def test_the_time_counts_from_the_first_delivery() -> None:
    """A source that falls silent in the run: what was measured is kept."""
    state = _state(FakeClock(), 10.0, warmup_s=0.0)
    state.look(0)
    for second in (20, 21, 22):
        state.delivered(0, second * NS_PER_S)
    state.look((21 + 10 + GRACE_S) * NS_PER_S - 1)
    assert state.stopped is None
    state.look((21 + 10 + GRACE_S) * NS_PER_S)
    assert state.measured == 2
    assert _stopped(state) == "finished"


def test_a_run_of_a_number_of_frames_has_no_time_to_end() -> None:
    """It waits for its frames; streams have a patience of their own then."""
    state = _state(FakeClock(), None, count=5)
    state.look(0)
    state.look(10**6 * NS_PER_S)
    assert state.stopped is None


@pytest.mark.parametrize("heartbeat_ms", [None, 200.0])
def test_a_wait_for_a_frame_that_is_due_much_later_ends_with_the_run(heartbeat_ms: float | None) -> None:
    """A frame in 100 s, a run of one: the worker is back after 9 s, with or without a heart that beats."""
    clock = FakeClock()
    state = _state(clock, 1.0)
    pacer = Pacer(EnginePlan(heartbeat_ms=heartbeat_ms), clock, state)
    assert not pacer.until(100 * NS_PER_S, lambda: None)
    assert state.stopped == "finished"
    assert clock.now() < 10.5 * NS_PER_S


class _Silent:
    """A camera that gives one picture and no more until it is released."""

    live = True

    def __init__(self) -> None:
        self.release = threading.Event()
        self._reads = 0

    def read(self) -> Any:
        """One picture at once, then none."""
        self._reads += 1
        if self._reads > 1:
            self.release.wait(60)
            return None
        return object()


@pytest.mark.long
def test_a_feed_of_silent_cameras_ends_with_the_run_and_leaves_their_threads() -> None:
    """A tenth of a second to measure: over after it and the grace; leaving takes one patience for all cameras."""
    clock = SystemClock()
    state = _state(clock, 0.1, warmup_s=0.0)
    cameras = [_Silent() for _ in range(3)]
    pacer = Pacer(EnginePlan(), clock, state)
    began = time.monotonic()
    with StreamFeed(
        cameras, None, WindowBatcher(BatchRule(1, 0, None)), SourcePolicy(), pacer, lambda *_: None
    ) as feed:
        taken = 0
        while feed.take(None) is not None:
            taken += 1
        assert time.monotonic() - began < GRACE_S + 3
    assert taken == len(cameras)
    assert state.stopped == "finished"
    assert time.monotonic() - began < GRACE_S + 3 + 8
    for camera in cameras:
        camera.release.set()
