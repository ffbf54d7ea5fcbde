"""The feed of requests in virtual time: who is refused, what goes together, and how much is answered in time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import log, sqrt
from random import Random

import pytest

from framepace.clock.virtual import VirtualClock
from framepace.feeds.batchrules import BatchRule, DeadlineRule
from framepace.feeds.runstate import RunState
from framepace.openinference.errors import RequestError
from framepace.serving.feed import RequestFeed, Rules, Unfit
from framepace.serving.request import Ticket
from framepace.serving.statistics import Statistics
from framepace.units import NS_PER_MS
from framepace.video.frame import Frame

MS = NS_PER_MS


@dataclass
class Desk:
    """A feed with one worker that the test plays, and what became of its requests."""

    size: int = 1
    room: int = 1000
    workers: int = 1
    deadline_rule: bool = False
    unfit: Unfit | None = None
    clock: VirtualClock = field(default_factory=VirtualClock)
    done: list[Ticket] = field(default_factory=list)

    def __post_init__(self) -> None:
        rule = DeadlineRule(self.size, 50 * MS) if self.deadline_rule else None
        rules = Rules(self.size, self.workers, BatchRule(self.size), rule, self.room)
        self.state = RunState(self.clock)
        self.feed = RequestFeed(rules, self.clock, self.state, unfit=self.unfit)

    def put(self, client: str = "", within_ms: float | None = None, items: int = 1, id: str = "") -> Ticket:
        """A request that comes now."""
        now = self.clock.now()
        ticket = Ticket({}, items, (), self.done.append, client=client, id=id, arrived=now)
        if within_ms is not None:
            ticket.deadline = ticket.latest = now + round(within_ms * MS)
        self.feed.put(ticket)
        return ticket

    def take(self) -> list[Frame]:
        """The batch that goes now; [] if none does."""
        return self.feed.take(None, wait=False) or []

    def run(self, ms: float, why: str = "") -> list[str]:
        """Take the next batch and deliver it after so long; the ids of its requests."""
        frames = self.take()
        self.clock.sleep_until(self.clock.now() + round(ms * MS))
        if frames:
            self.deliver(frames, why)
        return [frame.picture.ticket.id for frame in frames]

    def deliver(self, frames: list[Frame], why: str = "") -> None:
        """The batch is done, and the worker comes back for the next one."""
        self.feed.end(frames, self.clock.now(), why)
        self.feed.__exit__()

    def learn(self, ms: float, batches: int = 20) -> None:
        """Let it learn what a request takes."""
        for _ in range(batches):
            self.put()
            self.run(ms)
        self.done.clear()


def refusal(desk: Desk, **request: float) -> RequestError:
    """The error of a request that is refused."""
    with pytest.raises(RequestError) as caught:
        desk.put(**request)  # type: ignore[arg-type]
    return caught.value


def test_a_request_is_answered_once_with_its_stages() -> None:
    """The times of its stages add up to its time in the server."""
    desk = Desk()
    ticket = desk.put()
    desk.clock.sleep_until(3 * MS)
    desk.run(2)
    assert desk.done == [ticket]
    assert (ticket.taken, ticket.answered) == (3 * MS, 5 * MS)
    assert desk.feed.unanswered == 0


def test_requests_that_wait_share_a_batch() -> None:
    """As many as it holds, in the order of clients' turns."""
    desk = Desk(size=3)
    for id in "abcd":
        desk.put(id=id)
    assert desk.run(1) == ["a", "b", "c"]
    assert desk.run(1) == ["d"]


def test_a_request_that_cannot_be_met_is_refused_with_the_predicted_wait() -> None:
    """On arrival, with the queue's state in numbers."""
    desk = Desk()
    desk.learn(10)
    for _ in range(3):
        desk.put(within_ms=35)
    error = refusal(desk, within_ms=35)
    assert error.status == 503
    assert error.details["predicted_ms"] == pytest.approx(40, rel=0.1)
    assert error.details["waiting"] == 3
    assert error.details["deadline_ms"] == 35
    desk.put(within_ms=50)


def test_an_urgent_request_goes_before_patient_ones_of_its_client() -> None:
    """So it is not refused for them."""
    desk = Desk()
    desk.learn(10)
    for _ in range(3):
        desk.put(within_ms=1000)
    desk.put(within_ms=12, id="urgent")
    assert desk.run(10) == ["urgent"]


def test_there_is_room_for_so_many() -> None:
    """One more is refused, whatever its deadline."""
    desk = Desk(room=2)
    desk.put()
    desk.put()
    assert refusal(desk).message == "Exceeds maximum queue size"


def test_a_request_whose_time_has_passed_does_not_run() -> None:
    """It was accepted in good faith, and the one before took longer than any before."""
    desk = Desk()
    desk.learn(10)
    desk.put(id="first", within_ms=20)
    second = desk.put(id="second", within_ms=25)
    desk.put(id="third", within_ms=500)
    assert desk.run(100) == ["first"]
    assert desk.run(10) == ["third"]
    assert second.error is not None
    assert second.error.kind == "expired"


def test_a_cancelled_request_does_not_run() -> None:
    """Unless it runs already."""
    desk = Desk()
    first = desk.put(id="first")
    second = desk.put(id="second")
    frames = desk.take()
    assert desk.feed.cancel(second)
    assert not desk.feed.cancel(first)
    desk.deliver(frames)
    assert desk.take() == []
    assert second.error is not None
    assert (second.error.kind, first.error) == ("cancelled", None)


def test_a_request_that_is_cancelled_while_a_part_of_it_runs_ends_with_that_part() -> None:
    """What waited of it does not run, and nothing is kept."""
    desk = Desk(size=2)
    ticket = desk.put(items=5)
    frames = desk.take()
    assert desk.feed.cancel(ticket)
    assert len(desk.feed) == 0
    desk.deliver(frames)
    assert desk.done == [ticket]
    assert desk.feed.unanswered == 0


def test_a_failed_batch_is_an_error_of_each_of_its_requests() -> None:
    """With the reason."""
    desk = Desk(size=2)
    desk.put()
    desk.put()
    desk.run(1, why="out of range")
    assert [ticket.error.message for ticket in desk.done if ticket.error] == ["out of range"] * 2


def test_a_request_of_many_items_is_done_with_its_last() -> None:
    """Its items may go in several batches."""
    desk = Desk(size=2)
    ticket = desk.put(items=3)
    desk.run(1)
    assert desk.done == []
    desk.run(1)
    assert desk.done == [ticket]


def test_one_client_that_floods_does_not_keep_another_out() -> None:
    """Its own later requests wait, and are refused when it has filled its time."""
    desk = Desk()
    desk.learn(10)
    with suppress(RequestError):
        for _ in range(100):
            desk.put(client="flood", within_ms=200)
    assert 10 < len(desk.feed) < 30
    desk.put(client="polite", within_ms=50, id="polite")
    assert "polite" in desk.run(10) + desk.run(10)


def test_closing_answers_what_was_accepted_and_refuses_the_rest() -> None:
    """And a feed that is abandoned answers all with an error."""
    desk = Desk()
    ticket = desk.put()
    desk.feed.close(RequestError("ending", "unavailable"))
    assert refusal(desk).message == "ending"
    desk.run(1)
    assert desk.done == [ticket]
    other = Desk()
    lost = other.put()
    other.feed.abandon(RequestError("gone", "unavailable"))
    assert lost.error is not None
    assert other.done == [lost]


def served(desk: Desk, arrivals: Iterable[float], within_ms: float, cost_ms: float, per_item_ms: float) -> int:
    """Play a worker that is always there; how many requests were answered in time. Times in ms."""
    upcoming = [round(at * MS) for at in arrivals]
    now = desk.clock.now
    start = now()
    while upcoming or len(desk.feed):
        while upcoming and start + upcoming[0] <= now():
            upcoming.pop(0)
            try:
                desk.put(within_ms=within_ms)
            except RequestError:
                continue
        frames = desk.take()
        if frames:
            desk.clock.sleep_until(now() + round((cost_ms + per_item_ms * len(frames)) * MS))
            desk.deliver(frames)
        elif upcoming:
            desk.clock.sleep_until(max(start + upcoming[0], now() + 1))
    return sum(ticket.error is None and ticket.answered <= (ticket.deadline or 0) for ticket in desk.done)


@pytest.mark.parametrize("load", [0.5, 0.9, 1.2, 1.5, 3.0])
@pytest.mark.parametrize("size", [1, 4])
def test_overload_costs_only_what_is_refused(load: float, size: int) -> None:
    """At any load at least nine tenths of what can be answered in time is: goodput does not collapse."""
    desk = Desk(size=size, deadline_rule=size > 1)
    cost, per_item = 0.5, 0.5
    desk.learn(cost + per_item)
    per_request = cost / size + per_item
    count = 2000
    arrivals = [i * per_request / load for i in range(count)]
    answered = served(desk, arrivals, within_ms=20, cost_ms=cost, per_item_ms=per_item)
    possible = min(count, round(arrivals[-1] / per_request))
    assert answered >= 0.9 * possible


def lasting(kind: str, seed: int) -> Iterator[float]:
    """How long batches take, in parts of their mean."""
    random = Random(seed)
    while True:
        if kind == "lognormal":  # as long again as the mean, on either side
            yield random.lognormvariate(-log(2) / 2, sqrt(log(2)))
        elif kind == "two kinds":
            yield random.choices((5 / 9, 5), (9, 1))[0]
        else:
            yield 1.0


def goodput(desk: Desk, load: float, kind: str) -> float:
    """Requests at random moments to several workers: what is answered in time, in parts of what is asked and possible.

    Each has the time of twenty batches.
    """
    random = Random(1)
    batch_ms = 2.0 if desk.size == 1 else 1.0 + desk.size
    per_ms = desk.workers * desk.size / batch_ms
    factors = lasting(kind, 2)
    events: list[tuple[int, int, list[Frame]]] = []  # when, number, the batch that ends then; [] where a request comes
    at = 0.0
    for number in range(1500):
        at += random.expovariate(per_ms * load)
        heappush(events, (round(at * MS), number, []))
    idle = desk.workers
    while events:
        now, number, frames = heappop(events)
        desk.clock.sleep_until(now)
        if frames:
            desk.deliver(frames)
            idle += 1
        else:
            with suppress(RequestError):
                desk.put(within_ms=20 * batch_ms)
        while idle and (taken := desk.take()):
            idle -= 1
            took = batch_ms if desk.size == 1 else 1.0 + len(taken)
            heappush(events, (now + round(took * next(factors) * MS), 10_000 + taken[0].number, taken))
    in_time = sum(ticket.error is None and ticket.answered <= (ticket.deadline or 0) for ticket in desk.done)
    return in_time / min(1500, per_ms * at)


@pytest.mark.parametrize("kind", ["constant", "lognormal", "two kinds"])
@pytest.mark.parametrize(("workers", "size"), [(1, 1), (2, 1), (1, 4), (2, 4)])
@pytest.mark.parametrize("load", [1.5, 3.0])
def test_overload_costs_only_what_is_refused_whatever_batches_take(
    load: float, workers: int, size: int, kind: str
) -> None:
    """Requests at random moments, batches that mostly take little and sometimes much: goodput does not collapse."""
    desk = Desk(size=size, workers=workers, deadline_rule=size > 1)
    assert goodput(desk, load, kind) >= 0.9


@pytest.mark.parametrize("kind", ["constant", "lognormal"])
@pytest.mark.parametrize(("workers", "size"), [(1, 1), (2, 4)])
def test_at_half_load_next_to_nothing_is_refused(workers: int, size: int, kind: str) -> None:
    """What is kept in hand costs nothing then."""
    desk = Desk(size=size, workers=workers, deadline_rule=size > 1)
    assert goodput(desk, 0.5, kind) >= 0.98


def test_the_wait_is_predicted_where_no_batch_ever_runs_alone() -> None:
    """Two workers that are never idle, each batch beside another, for thousands of batches."""
    desk = Desk(workers=2)
    for _ in range(2):
        desk.put()
    flying = [desk.take(), desk.take()]
    for _ in range(4000):
        desk.put()
        desk.clock.sleep_until(desk.clock.now() + 5 * MS)  # each takes 10 ms, half of it beside the one before
        desk.deliver(flying.pop(0))
        flying.append(desk.take())
    for _ in range(4):
        desk.put(within_ms=34)
    error = refusal(desk, within_ms=34)
    assert error.details["predicted_ms"] == pytest.approx(5 + 2 * 10 + 10, rel=0.3)


def test_a_server_that_was_slow_once_takes_requests_again() -> None:
    """After a second without any batch one is tried, whatever is predicted; what it takes is learnt."""
    desk = Desk()
    desk.learn(500)
    assert refusal(desk, within_ms=50).kind == "exhausted"
    desk.clock.sleep_until(desk.clock.now() + 1_100 * MS)
    for _ in range(3):
        desk.put(within_ms=50)
        desk.run(1)
    assert [ticket.error for ticket in desk.done] == [None] * 3


def test_late_answers_are_counted() -> None:
    """They were accepted, they ran, and they came too late."""
    desk = Desk()
    desk.learn(1)
    statistics = Statistics()
    desk.put(within_ms=5)
    desk.run(50)
    [ticket] = desk.done
    statistics.answered(ticket)
    statistics.settle()
    assert (statistics.late, statistics.success.count) == (1, 1)
