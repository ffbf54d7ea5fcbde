"""The feed whose workers read for themselves, with several workers."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from typing import Any

import pytest

from framepace.clock.system import SystemClock
from framepace.facts.plan import EnginePlan
from framepace.feeds.batchrules import BatchRule
from framepace.feeds.inline import InlineFeed, Numbers
from framepace.feeds.pacer import Pacer
from framepace.feeds.runstate import RunState
from framepace.units import NS_PER_S


class Source:
    """Every picture is a number."""

    live = False

    def read(self) -> Any:
        """A picture."""
        return 1


class Later:
    """Frames that are due when `open` is set; whoever asks for a due time waits for it, and says so."""

    bulk = False

    def __init__(self) -> None:
        self.open = threading.Event()
        self.asked = threading.Event()

    def due(self, number: int, state: RunState) -> int | None:
        """See Arrivals."""
        self.asked.set()
        self.open.wait(60)
        return 0

    def peek(self, number: int, state: RunState) -> int | None:
        """See Arrivals."""
        return SystemClock().now() + 60 * NS_PER_S


def test_a_worker_with_requests_in_flight_does_not_wait_for_one_that_waits_for_a_batch() -> None:
    """It is told that nothing is ready, and looks after its requests."""
    state = RunState(SystemClock())
    arrivals = Later()
    feed = InlineFeed([Source()], arrivals, BatchRule(2, 0), Pacer(EnginePlan(), SystemClock(), state))
    taken: list[Any] = []
    waiting = threading.Thread(target=lambda: taken.append(feed.take(None)), daemon=True)
    waiting.start()
    assert arrivals.asked.wait(60)
    assert feed.take(None, wait=False) == []
    state.stop("finished")
    assert feed.take(None, wait=False) is None
    arrivals.open.set()
    waiting.join(60)
    assert not waiting.is_alive()


def test_numbers_that_workers_put_back_are_drawn_in_order() -> None:
    """Whoever put which back: the lowest first, then the next ones."""
    numbers = Numbers()
    drawn = [numbers.draw() for _ in range(3)]
    for number in (drawn[1], drawn[2], drawn[0]):
        numbers.put_back(number)
    assert [numbers.draw() for _ in range(4)] == [0, 1, 2, 3]


class Gate:
    """A source whose first picture is held back until `open` is set."""

    live = False

    def __init__(self, *, shared: bool) -> None:
        self.is_shared = shared
        self.entered = threading.Event()
        self.open = threading.Event()

    def read(self) -> Any:
        """A picture."""
        if not self.entered.is_set():
            self.entered.set()
            assert self.open.wait(60)
        return 1


class AtOnce:
    """Every frame is due."""

    bulk = False

    def due(self, number: int, state: RunState) -> int | None:
        """See Arrivals."""
        return 0

    peek = due


@pytest.mark.parametrize("shared", [False, True])
def test_one_worker_at_a_time_reads_a_source_unless_threads_may_share_it(shared: bool) -> None:
    """While the first is held up in it, the second reads on, or waits for it."""
    source = Gate(shared=shared)
    pacer = Pacer(EnginePlan(), SystemClock(), RunState(SystemClock()))
    feed = InlineFeed([source], AtOnce(), BatchRule(1, 0), pacer)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(feed.take, None)
        assert source.entered.wait(60)
        second = pool.submit(feed.take, None)
        try:
            if shared:
                assert second.result(60)
            else:
                with pytest.raises(TimeoutError):
                    second.result(0.05)
        finally:
            source.open.set()
        assert first.result(60)
        assert second.result(60)
