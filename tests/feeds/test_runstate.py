"""The state of a run that threads share: deliveries are counted once each, and nobody waits for a lock to deliver."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, TimeoutError

import pytest

from framepace.clock.system import SystemClock
from framepace.facts.workload import Stop, Warmup
from framepace.feeds.runstate import RunState
from framepace.measure.stoprules import Enough, Steady

PATIENCE_S = 30.0


class Held:
    """A rule that is held up in the first delivery, as a thread that the system took from its core is."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self.counted: list[int] = []

    def add(self, latency: int, now: int) -> bool:
        """See StopRule."""
        if not self.counted:
            self.entered.set()
            assert self.go_on.wait(PATIENCE_S)
        self.counted.append(now)
        return False

    def ends_by(self, began: int) -> int | None:
        """See StopRule."""
        return None


def test_a_worker_delivers_though_another_is_held_up_in_counting() -> None:
    """It waits for nobody; the one that is held up counts for both when it goes on."""
    rule = Held()
    state = RunState(SystemClock(), rule=rule)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(state.delivered, 5, 100)
        assert rule.entered.wait(PATIENCE_S)
        second = pool.submit(state.delivered, 5, 101)
        try:
            second.result(PATIENCE_S)
        finally:
            rule.go_on.set()
        first.result(PATIENCE_S)
    assert rule.counted == [100, 101]
    assert state.measured == 2
    assert [state.peek(0), state.peek(1), state.peek(2)] == [100, 101, None]


def test_few_deliveries_wait_to_be_counted_by_a_thread_that_is_held_up() -> None:
    """Then the worker waits too: a run that is to end is seen to end, and the warm-up with it."""
    rule = Held()
    state = RunState(SystemClock(), rule=rule)
    delivered: list[int] = []

    def go_on_delivering() -> None:
        for now in range(1, 1000):
            state.delivered(5, now)
            delivered.append(now)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(state.delivered, 5, 0)
        assert rule.entered.wait(PATIENCE_S)
        others = pool.submit(go_on_delivering)
        try:
            with pytest.raises(TimeoutError):
                others.result(0.2)
            assert len(delivered) < 10
        finally:
            rule.go_on.set()
        first.result(PATIENCE_S)
        others.result(PATIENCE_S)
    assert state.measured == 1000


def test_each_delivery_of_many_threads_is_counted_once() -> None:
    """Also those of the warm-up, and those that are forgotten, as a closed loop looks back on the latest only."""
    threads, frames = 8, 20_000
    state = RunState(SystemClock(), Steady(Warmup(seconds_max=0)), Enough(Stop(seconds=3600)))
    together = threading.Barrier(threads)

    def deliver() -> None:
        together.wait(PATIENCE_S)
        for now in range(frames):
            state.delivered(1, now)

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(deliver) for _ in range(threads)]:
            done.result(PATIENCE_S)
    assert state.deliveries == threads * frames
    assert state.measured == threads * frames - 1  # the first one ends the warm-up
    assert state.peek(threads * frames - 1) is not None
    assert state.peek(threads * frames) is None


def test_who_waits_for_a_delivery_is_told_of_it_or_of_the_end() -> None:
    """Each of many waits returns: none is missed between a look and the wait."""
    state = RunState(SystemClock())
    with ThreadPoolExecutor(1) as pool:
        for number in range(200):
            waiting = pool.submit(state.completion, number)
            state.delivered(1, number)
            assert waiting.result(PATIENCE_S) == number
        waiting = pool.submit(state.completion, 200)
        with pytest.raises(TimeoutError):
            waiting.result(0)
        state.stop("interrupted")
        assert waiting.result(PATIENCE_S) is None
        assert state.completion(199) == 199


def test_what_is_forgotten_leaves_the_numbers_of_the_others() -> None:
    """Deliveries keep their numbers when half of those that are kept are let go."""
    state = RunState(SystemClock())
    for now in range(70_000):
        state.delivered(1, now)
    assert state.peek(69_999) == 69_999
    assert state.peek(65_000) == 65_000
    assert state.completion(66_000) == 66_000
