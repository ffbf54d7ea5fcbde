"""A sink behind its queue: what becomes of every result, whatever the sink does."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framepace.clock.system import SystemClock
from framepace.clock.virtual import VirtualClock
from framepace.errors import SinkError, SinkUnavailable
from framepace.facts.running import Result, SinkStatus
from framepace.sinks.bounded import BoundedQueue, DropPolicy
from framepace.sinks.queued import QueuedSink, pause_s
from tests.doubles.sinks import Gate, KeptResults, result

NS_PER_S = 1_000_000_000
STEPS = st.lists(
    st.one_of(
        st.just(("put", 0)),
        st.tuples(st.just("take"), st.integers(1, 5)),
        st.sampled_from([("wrote", 0), ("failed", 0), ("give_back", 0)]),
    ),
    max_size=120,
)


@settings(deadline=None)
@given(steps=STEPS, capacity=st.integers(1, 6), drop=st.sampled_from(["oldest", "newest"]))
def test_every_item_is_written_dropped_failed_or_waiting(
    steps: Sequence[tuple[str, int]], capacity: int, drop: DropPolicy
) -> None:
    """After every step the four add up, no more than the capacity is queued, and what is taken is in order."""
    queue: BoundedQueue[int] = BoundedQueue(capacity, drop)
    accepted = 0
    last = -1
    for step, count in steps:
        if step == "put":
            queue.put(accepted)
            accepted += 1
        elif step == "take":
            queue.give_back()
            batch = queue.take(count)
            assert batch == sorted(batch)
            assert not batch or batch[0] > last
        else:
            taken = queue.waiting - len(queue)
            if step != "give_back" and taken:
                last = max(last, batch[-1])
            getattr(queue, step)()
        assert len(queue) <= capacity
        assert accepted == queue.written + queue.dropped + queue.lost + queue.waiting
    queue.end()
    queue.put(accepted)
    assert queue.waiting == 0
    assert accepted + 1 == queue.written + queue.dropped + queue.lost


@pytest.mark.parametrize(("drop", "kept"), [("oldest", [2, 3, 4]), ("newest", [0, 1, 2])])
def test_a_full_queue_drops_by_its_policy(drop: DropPolicy, kept: list[int]) -> None:
    """'oldest' keeps what came last, 'newest' what came first; a batch that is given back counts as the oldest."""
    queue: BoundedQueue[int] = BoundedQueue(3, drop)
    for item in range(5):
        queue.put(item)
    assert queue.take(9) == kept
    queue.put(5)
    queue.give_back()
    expected = {"oldest": [3, 4, 5], "newest": [0, 1, 2]}
    assert queue.take(9) == expected[drop]


def failing(times: int, error: Exception) -> Callable[..., None]:
    """A call that raises so many times, and then does nothing."""
    remaining = [error] * times

    def call(*_: object) -> None:
        if remaining:
            raise remaining.pop()

    return call


def test_an_unavailable_sink_is_tried_later_and_later_and_loses_nothing() -> None:
    """Four failures are paused for 1, 2, 4 and 8 s; then everything is written in order, and the note is gone."""
    clock = VirtualClock()
    sink = KeptResults(on_write=failing(4, SinkUnavailable("the broker is gone")))
    queued = QueuedSink(sink, clock)
    for number in range(3):
        queued.put(result(number))
    attempts = []
    while queued.status().waiting:
        queued.step()
        attempts.append((clock.now() / NS_PER_S, queued.status().note))
    assert [pause_s(failures) for failures in (1, 2, 7, 1000)] == [1, 2, 60, 60]
    assert clock.now() / NS_PER_S == pytest.approx(1 + 2 + 4 + 8, abs=0.2)
    assert "the broker is gone; not written, attempt 4 failed" in [note for _, note in attempts]
    assert sink.kept == [0, 1, 2]
    assert (sink.opened, sink.closed) == (5, 4)
    assert queued.close() == SinkStatus(name="kept", written=3, dropped=0, failed=0, waiting=0)


@settings(deadline=None)
@given(
    outcomes=st.lists(st.sampled_from(["taken", "refused", "unavailable", "odd"]), max_size=25),
    arrivals=st.lists(st.integers(0, 4), max_size=30),
    capacity=st.integers(1, 5),
    batch=st.integers(1, 3),
    drop=st.sampled_from(["oldest", "newest"]),
)
def test_whatever_a_sink_does_every_result_is_counted_once_and_written_in_order(
    outcomes: list[str], arrivals: list[int], capacity: int, batch: int, drop: DropPolicy
) -> None:
    """Results come between its calls, which take them, refuse them, or fail in one way or another."""
    clock = VirtualClock()
    remaining = list(outcomes)

    def on_write(_: Sequence[Result]) -> None:
        outcome = remaining.pop(0) if remaining else "taken"
        errors = {"refused": SinkError("no"), "unavailable": SinkUnavailable("later"), "odd": ValueError("odd")}
        if outcome in errors:
            raise errors[outcome]

    sink = KeptResults(on_write=on_write)
    sink.batch = batch
    queued = QueuedSink(sink, clock, capacity=capacity, drop=drop)
    accepted = 0
    for count in arrivals:
        for _ in range(count):
            queued.put(result(accepted))
            accepted += 1
        if queued.status().waiting:
            queued.step()
        status = queued.status()
        assert accepted == status.written + status.dropped + status.failed + status.waiting
    while queued.status().waiting:
        queued.step()
    status = queued.close()
    assert accepted == status.written + status.dropped + status.failed
    assert sink.kept == sorted(set(sink.kept))
    assert len(sink.kept) == status.written


def test_the_pause_begins_anew_after_a_success() -> None:
    """Two outages of one attempt each cost 1 s each."""
    clock = VirtualClock()
    refuse = iter([True, False, True, False])

    def on_write(_: object) -> None:
        if next(refuse):
            raise SinkUnavailable("gone")

    queued = QueuedSink(KeptResults(on_write=on_write), clock)
    for number in range(2):
        queued.put(result(number))
        while queued.status().waiting:
            queued.step()
    assert clock.now() / NS_PER_S == pytest.approx(2, abs=0.2)


def test_a_refused_batch_is_counted_and_told_and_the_next_is_written_at_once() -> None:
    """An error that no attempt would cure costs that batch alone; its sentence stays."""
    clock = VirtualClock()
    sink = KeptResults(on_write=failing(1, ValueError("no such column")))
    sink.batch = 2
    queued = QueuedSink(sink, clock)
    for number in range(4):
        queued.put(result(number))
    while queued.status().waiting:
        queued.step()
    assert sink.kept == [2, 3]
    assert clock.now() < NS_PER_S
    status = queued.close()
    assert (status.written, status.failed, status.dropped) == (2, 2, 0)
    assert status.note == "ValueError: no such column; 2 not written"


def test_results_wait_for_others_to_be_written_with_them() -> None:
    """A batch that is not full is written when its first result has lingered; a full one at once."""
    clock = VirtualClock()
    sizes: list[tuple[int, float]] = []
    sink = KeptResults(on_write=lambda results: sizes.append((len(results), clock.now() / NS_PER_S)))
    sink.batch = 3
    sink.linger_s = 0.5
    queued = QueuedSink(sink, clock)
    for number in range(4):
        queued.put(result(number))
    while queued.status().waiting:
        queued.step()
    assert sizes == [(3, 0.0), (1, 0.5)]


def test_a_sink_that_hangs_stops_nobody_and_is_told() -> None:
    """While a write does not return, results are taken, dropped by policy and counted; closing gives it up."""
    gate = Gate()
    clock = SteppedClock()
    sink = KeptResults(on_write=gate)
    queued = QueuedSink(sink, clock, capacity=10)
    queued.start()
    queued.put(result(0))
    assert gate.reached.wait(20)
    for number in range(1, 101):
        queued.put(result(number))
    clock.ahead_ns = 7 * NS_PER_S
    status = queued.status()
    assert (status.written, status.dropped, status.waiting) == (0, 90, 11)
    assert status.note == "hangs: writing for 7 s"
    status = queued.close(limit_s=0.01)
    assert (status.written, status.dropped, status.failed, status.waiting) == (0, 100, 1, 0)
    assert status.note in ("hangs: writing for 7 s", "hung in writing at the end; 1 given up")
    gate.open()
    queued.close()
    assert queued.status().failed == 1  # what was given up stays counted as it was


class SteppedClock(SystemClock):
    """The system's clock, put ahead by a test."""

    ahead_ns = 0

    def now(self) -> int:
        """Time in ns, ahead of the system's."""
        return time.perf_counter_ns() + self.ahead_ns


def test_a_sink_that_can_never_be_opened_is_refused_at_the_start() -> None:
    """Its own error is raised; what is no error of a sink comes as one."""
    with pytest.raises(SinkError, match="no such folder"):
        QueuedSink(KeptResults(on_open=failing(9, SinkError("no such folder"))), SystemClock()).start()
    with pytest.raises(SinkError, match="cannot be opened") as error:
        QueuedSink(KeptResults(on_open=failing(9, OSError("odd"))), SystemClock()).start()
    assert error.value.got == "OSError: odd"


def test_a_sink_that_is_unavailable_at_the_start_is_tried_on() -> None:
    """The run begins, the results wait, and closing tries once more before it drops them."""
    sink = KeptResults(on_open=failing(1, SinkUnavailable("nobody listens")))
    queued = QueuedSink(sink, SystemClock())
    queued.start()
    queued.put(result(0))
    status = queued.close(limit_s=20)
    assert (sink.kept, status.written, status.note) == ([0], 1, "")

    queued = QueuedSink(KeptResults(on_open=failing(9, SinkUnavailable("nobody listens"))), SystemClock())
    queued.start()
    queued.put(result(0))
    status = queued.close(limit_s=20)
    assert (status.written, status.dropped) == (0, 1)
    assert "nobody listens" in status.note


def test_a_sink_that_was_opened_half_is_closed_before_the_next_attempt() -> None:
    """What it holds by then, a client's thread, would stay."""
    sink = KeptResults(on_open=failing(1, SinkUnavailable("odd")))
    queued = QueuedSink(sink, VirtualClock())
    assert queued.step()
    assert (sink.opened, sink.closed) == (1, 1)


def test_closing_writes_what_waits() -> None:
    """All of 1000 results come out in order, and the sink is closed."""
    sink = KeptResults()
    queued = QueuedSink(sink, SystemClock())
    queued.start()
    for number in range(1000):
        queued.put(result(number))
    status = queued.close(limit_s=20)
    assert status.written == 1000
    assert sink.kept == list(range(1000))
    assert sink.closed == 1
    queued.put(result(1000))
    assert queued.status().dropped == 1


@pytest.mark.parametrize("wants", [True, False])
def test_a_picture_is_kept_only_for_a_sink_that_wants_it(wants: bool) -> None:
    """A queue of pictures takes megabytes each."""
    sink = KeptResults()
    sink.wants_pictures = wants
    queued = QueuedSink(sink, SystemClock())
    queued.start()
    queued.put(result(picture="a picture"))
    queued.close(limit_s=20)
    assert sink.pictures == (["a picture"] if wants else [None])


def test_a_result_of_the_callers_is_not_changed() -> None:
    """It goes to other sinks, too."""
    queued = QueuedSink(KeptResults(), VirtualClock())
    kept: Result = result(picture="a picture")
    queued.put(kept)
    assert kept.picture == "a picture"
