"""The feed whose frames are requests: who waits, who goes next and with whom, who is refused, and who is answered."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

from framepace.clock.system import Clock
from framepace.feeds.batchrules import BatchRule, DeadlineRule
from framepace.feeds.feed import Feed
from framepace.feeds.pacer import NAP_NS, Idle
from framepace.feeds.runstate import RunState
from framepace.openinference.errors import Kind, RequestError
from framepace.serving.admission import Queue, answered_at
from framepace.serving.lines import Lines, Place
from framepace.serving.request import Asking, Item, Ticket
from framepace.serving.running import Running
from framepace.units import NS_PER_MS, NS_PER_S
from framepace.video.frame import Frame

PROBE_NS = NS_PER_S  # without a batch, after which one is tried whatever is predicted
Unfit = Callable[[Ticket], RequestError | None]
PATIENT_NS = 60 * NS_PER_S  # where a request without a deadline stands among those with one


@dataclass(frozen=True)
class Rules:
    """How requests are batched and how many may wait.

    Attributes:
        size: items in one batch at most.
        workers: batches that run side by side.
        window: how long the oldest waits for others, by the policy 'window'.
        deadline: the rule of the policy 'deadline', where the plan has it.
        room: items that may wait.
    """

    size: int
    workers: int
    window: BatchRule
    deadline: DeadlineRule | None
    room: int


class RequestFeed(Feed):
    """Requests wait in lines until a worker takes their items.

    The feed learns from the run's state what was delivered.

    Args:
        beat: the period of the heart in ns, 0 for none.
        executed: receives the size of each batch that was delivered, and how long it took (ns).
        unfit: what is wrong with a request of which nothing has run, or None; called by the worker that took it.
    """

    def __init__(
        self,
        rules: Rules,
        clock: Clock,
        state: RunState,
        beat: int = 0,
        executed: Callable[[int, int], None] = lambda size, ns: None,
        unfit: Unfit | None = None,
    ) -> None:
        self.rules = rules
        self._running = Running(weighs=rules.deadline is not None)
        self._now = clock.now
        self._state = state
        self._beat = beat
        self._executed = executed
        self._unfit = unfit
        self._lines: Lines[Frame] = Lines()
        self._numbers = count()
        self._changed = clock.condition()
        self._closed: RequestError | None = None
        self._open: set[Ticket] = set()
        self._is_draining = False  # somebody waits until no request is open
        self._delivered: deque[Ticket] = deque()
        state.frames = self

    def __len__(self) -> int:
        """How many items wait."""
        return len(self._lines)

    @property
    def unanswered(self) -> int:
        """How many requests were accepted and are not answered yet."""
        return len(self._open)

    def put(self, ticket: Ticket) -> None:
        """Accept a request. Raises RequestError for one that is refused."""
        with self._changed:
            now = self._now()
            self._check_admission(ticket, now)
            self._open.add(ticket)
            urgency = _urgency(ticket.latest, now)
            for index in range(ticket.items):
                number = next(self._numbers)
                frame = Frame(number, 0, ticket.arrived, ticket.arrived, now, now, now, Item(ticket, index))
                self._lines.add(frame, ticket.client, ticket.priority, urgency, number)
                ticket.places.append((urgency, number))

    def check(self, asking: Asking) -> None:
        """Raise RequestError for a request that would be refused now."""
        with self._changed:
            self._check_admission(asking, self._now())

    def wake(self) -> None:
        """Wake the workers that wait, after requests were put.

        It is best called by a thread that is about to wait itself: a worker that wakes before cannot run yet, since the
        interpreter's lock is held, and is woken twice.
        """
        with self._changed:
            self._changed.notify_all()

    def cancel(self, ticket: Ticket) -> bool:
        """Take a request back that nobody waits for any more: what of it waits does not run.

        False where all of it runs already, or it has been answered.
        """
        with self._changed:
            if ticket not in self._open:
                return False
            waited = sum(self._lines.remove(ticket.client, ticket.priority, *place) for place in ticket.places)
            if not waited:
                return False
            ticket.error = RequestError("the request was cancelled", "cancelled")
            is_last = any(ticket.item_done() for _ in range(waited))
            if is_last:
                self._finish(ticket)
        if is_last:
            self._fail(ticket, ticket.error)
        return True

    def close(self, why: RequestError) -> None:
        """Accept no request any more."""
        with self._changed:
            self._closed = self._closed or why
            self._changed.notify_all()

    def abandon(self, why: RequestError) -> None:
        """Answer all that wait or run with an error: nothing runs any more."""
        self.close(why)
        with self._changed:
            self._lines.clear()
            tickets = list(self._open)
            self._open.clear()
        for ticket in tickets:
            self._fail(ticket, why.again())

    def take(self, idle: Idle | None, wait: bool = True) -> list[Frame] | None:
        """See Feed. What was delivered is answered here, for the same reason as in `wake`."""
        self._answer()
        while frames := self._awaited(idle, wait):
            fit = self._fit(frames)
            if fit:
                return fit
        return frames

    def _awaited(self, idle: Idle | None, wait: bool) -> list[Frame] | None:
        """The next batch, whatever its requests hold."""
        while True:
            with self._changed:
                frames, until, expired = self._choose()
                if not frames and not expired:
                    if self._state.stopped is not None:
                        return None
                    if not wait:
                        return []
                    woken = self._changed.wait(self._nap_s(until, idle))
            for ticket in expired:
                self._fail(ticket, RequestError("Request timeout expired", "expired"))
            if frames:
                return frames
            if idle is not None and self._beat and not expired and not woken:
                idle()

    def _fit(self, frames: list[Frame]) -> list[Frame]:
        """The frames of a batch whose requests can run; the other requests are answered with what is wrong."""
        if self._unfit is None:
            return frames
        tickets = {frame.picture.ticket for frame in frames}
        errors = {ticket: error for ticket in tickets if (error := self._unfit(ticket)) is not None}
        if not errors:
            return frames
        fit = [frame for frame in frames if frame.picture.ticket not in errors]
        with self._changed:
            self._running.shrink(frames, fit)
            failed = [ticket for ticket in errors if ticket in self._open]
            for ticket in failed:
                self._remove(ticket)
        for ticket in failed:
            self._fail(ticket, errors[ticket])
        return fit

    def end(self, frames: Sequence[Frame], now: int, why: str) -> None:
        """See FrameObserver: answer the requests whose last items these were."""
        with self._changed:
            took = self._running.land(now, frames, bool(why))
            if why:
                self._note_failure(frames, why)
            last = [frame.picture.ticket for frame in frames if frame.picture.ticket.item_done()]
            done = [ticket for ticket in last if ticket in self._open]
            self._finish(*done)
        self._executed(len(frames), took)
        for ticket in done:
            ticket.answered = now
            self._delivered.append(ticket)

    def __exit__(self, *_: object) -> None:
        """The run is over: what was delivered last is answered."""
        self._answer()

    def _answer(self) -> None:
        """Answer the requests that were delivered, by any worker."""
        while self._delivered:
            try:
                ticket = self._delivered.popleft()
            except IndexError:  # another worker was first
                return
            ticket.finish()

    def drained(self, seconds: float) -> bool:
        """Wait until every accepted request was answered, at most so long; whether they were."""
        until = self._now() + round(seconds * NS_PER_S)
        with self._changed:
            self._is_draining = True
            while self._open and self._now() < until:
                self._changed.wait(max(0.0, (until - self._now()) / NS_PER_S))
            return not self._open

    def predicted(self, asking: Asking | Ticket, now: int) -> int:
        """When a request that came now would be answered (ns)."""
        ahead = self._lines.ahead(asking.client, asking.priority, _urgency(asking.latest, now))
        free = self._running.first_end(now)
        queue = Queue(ahead, len(self._running), free, self.rules.workers, self.rules.size)
        return answered_at(now, asking.items, queue, self._running.durations)

    def _check_admission(self, asking: Asking | Ticket, now: int) -> None:
        """Raise RequestError for a request that finds no room or would not be answered in time."""
        if self._closed is not None:
            raise self._closed.again()
        if len(self._lines) + asking.items > self.rules.room:
            raise RequestError("Exceeds maximum queue size", "exhausted", self._standing(now, now))
        if asking.latest is None:
            return
        end = self.predicted(asking, now)
        if end > asking.latest and not self._is_probe(now):
            details = self._standing(now, end)
            left = max(0, asking.latest - now) / NS_PER_MS
            details["deadline_ms"] = round(left, 3)
            raise RequestError(
                f"the request cannot be answered in time: {details['predicted_ms']} ms predicted, {left:.1f} ms left; "
                f"{details['waiting']} items wait, {details['running']} batches run",
                "exhausted",
                details,
            )

    def _is_probe(self, now: int) -> bool:
        """Whether a request runs though it is predicted to be late: else what was slow once would be refused for ever.

        What it takes is then all that is known.
        """
        if len(self._lines) or len(self._running) or now - self._running.landed <= PROBE_NS:
            return False
        self._running.forget()
        return True

    def _standing(self, now: int, end: int) -> dict[str, float | int | str]:
        """The state of the queue, for whoever is refused."""
        return {
            "predicted_ms": round((end - now) / NS_PER_MS, 3),
            "waiting": len(self._lines),
            "running": len(self._running),
        }

    def _choose(self) -> tuple[list[Frame], int | None, list[Ticket]]:
        """The batch that goes now, or until when it waits (ns); and requests whose deadline cannot be met any more."""
        if not len(self._lines):
            return [], None, []
        now = self._now()
        if self.rules.size == 1:  # nothing to wait for, nothing to choose
            frames, expired = self._single(now)
            return frames, None, expired
        places, expired = self._next(now)
        if not places:
            return [], None, expired
        dues = self._dues(places)
        until = self._waits_until(now, dues)
        if until is not None:
            return [], until, expired
        frames = self._lines.take(self._count(now, dues))
        return self._taken_off(now, frames), None, expired

    def _single(self, now: int) -> tuple[list[Frame], list[Ticket]]:
        """The request that is next, where none has several items; and those before it that cannot be met any more."""
        expired: list[Ticket] = []
        while frames := self._lines.take(1):
            ticket = frames[0].picture.ticket
            if not self._is_late(ticket, now):
                return self._taken_off(now, frames), expired
            self._finish(ticket)
            expired.append(ticket)
        return [], expired

    def _next(self, now: int) -> tuple[Sequence[Place[Frame]], list[Ticket]]:
        """The items that are next, and the requests before them that cannot be met any more."""
        expired: list[Ticket] = []
        while places := self._lines.next(self.rules.size):
            ticket = places[0].item.picture.ticket
            if not self._is_late(ticket, now):
                break
            self._remove(ticket)
            expired.append(ticket)
        return places, expired

    def _taken_off(self, now: int, frames: list[Frame]) -> list[Frame]:
        """The frames, in flight from now on."""
        self._running.take_off(now, frames)
        for frame in frames:
            ticket = frame.picture.ticket
            ticket.taken = now
            ticket.batch = max(ticket.batch, len(frames))
        return frames

    def _dues(self, places: Sequence[Place[Frame]]) -> list[int]:
        """When items were due, as the rule counts it (ns): all budgets being equal, deadlines stand for due times."""
        rule = self.rules.deadline
        if rule is None:
            return [place.item.due for place in places]
        return [place.deadline - rule.budget for place in places]

    def _is_late(self, ticket: Ticket, now: int) -> bool:
        """Whether a request would be answered too late if it ran now; never one of which a part runs already."""
        if ticket.latest is None or ticket.taken:
            return False
        return now + self._running.durations.mean(min(ticket.items, self.rules.size)) > ticket.latest

    def _remove(self, ticket: Ticket) -> None:
        for place in ticket.places:
            self._lines.remove(ticket.client, ticket.priority, *place)
        self._finish(ticket)

    def _finish(self, *tickets: Ticket) -> None:
        """Requests are open no longer; whoever waits for the last one is woken, and nobody else."""
        self._open.difference_update(tickets)
        if self._is_draining and not self._open:
            self._changed.notify_all()

    def _waits_until(self, now: int, dues: Sequence[int]) -> int | None:
        rule = self.rules.deadline
        if rule is None:
            return self.rules.window.waits_until(now, min(dues), len(dues))
        flights = self._running.flights
        return rule.waits_until(now, dues, flights.costs, len(flights), flights.first_end(now))

    def _count(self, now: int, dues: Sequence[int]) -> int:
        rule = self.rules.deadline
        if rule is None:
            return len(dues)
        flights = self._running.flights
        return rule.takes(now, dues, flights.costs, len(flights))

    def _nap_s(self, until: int | None, idle: Idle | None) -> float:
        """Seconds until the worker must look again: a batch closes, the heart beats, or the run may have stopped."""
        nap = NAP_NS
        if idle is not None and self._beat:
            nap = self._beat
        if until is not None:
            nap = min(nap, until - self._now())
        return max(0, nap) / NS_PER_S

    def _note_failure(self, frames: Sequence[Frame], why: str) -> None:
        kind: Kind = "unavailable" if self._state.stopped == "device lost" else "internal"
        for frame in frames:
            frame.picture.ticket.error = RequestError(why, kind)

    def _fail(self, ticket: Ticket, error: RequestError) -> None:
        ticket.error = error
        ticket.answered = self._now()
        ticket.finish()


def _urgency(latest: int | None, now: int) -> int:
    """Where a request stands among those of its client."""
    return now + PATIENT_NS if latest is None else latest
