"""The account of one source: what became of each picture that was taken, and results in its order.

Every picture is in exactly one of delivered, skipped, failed, dropped (by cause) and waiting, at every moment.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from framepace.facts.answers import Answer, Crops
from framepace.facts.running import BoxCounts, Result
from framepace.facts.trace import DropCause
from framepace.running.rates import Rate, ResultAges
from framepace.units import NS_PER_MS, NS_PER_S

Emit = Callable[[Result], None]
"""Receives results, in the order of their source."""


@dataclass(slots=True)
class _Waiting:
    """A picture on its way; `ended` (ns) is when all its models had run."""

    number: int
    due: int
    time: float
    picture: Any
    ended: int | None = None
    answers: Mapping[str, Answer] | None = None
    why: str = ""


@dataclass(frozen=True)
class Counts:
    """What became of the pictures of a source so far."""

    taken: int
    delivered: int
    skipped: int
    failed: int
    waiting: int
    dropped: dict[str, int]
    late: int
    boxes: dict[str, BoxCounts]

    @property
    def accounted(self) -> int:
        """All of them, counted by what became of them; equal to `taken`."""
        return self.delivered + self.skipped + self.failed + self.waiting + sum(self.dropped.values())


class Account:
    """Counts the pictures of one source, from any thread, and hands its results on in order.

    Args:
        emit: receives the results; called with the account's lock held, so it must not wait.
        max_age: a result that is older at the sinks is dropped (ns); None: none is.
        target: a result that is older is late (ns); None: none is.
        first: the number of the first picture; others were counted elsewhere.
    """

    def __init__(
        self, name: str, emit: Emit, *, max_age: int | None = None, target: int | None = None, first: int = 0
    ) -> None:
        self.name = name
        self.max_age = max_age
        self._target = target
        self._first = first
        self._emit = emit
        self._lock = threading.Lock()
        self._waiting: dict[int, _Waiting] = {}  # by the number of the frame, in the order of the source
        self._taken = 0
        self._delivered = 0
        self._skipped = 0
        self._failed = 0
        self._late = 0
        self._dropped: Counter[str] = Counter()
        self._boxes: dict[str, BoxCounts] = {}
        self.arrivals = Rate()
        self.deliveries = Rate()
        self.ages = ResultAges()

    def skip(self, now: int, count: int = 1) -> None:
        """Pictures were taken and left out."""
        with self._lock:
            self._taken += count
            self._skipped += count
            self.arrivals.add(now, count)

    def lose(self, now: int, cause: int) -> None:
        """A picture was taken and not decoded, because of facts.trace.DropCause `cause`."""
        with self._lock:
            self._taken += 1
            self._dropped[DropCause.NAMES[cause]] += 1
            self.arrivals.add(now)

    def take(self, frame: int, due: int, time: float, now: int, picture: Any = None) -> None:
        """A picture joins the queue as frame number `frame`; it was taken at `due` (ns), `time` in s since 1970."""
        with self._lock:
            self._waiting[frame] = _Waiting(self._first + self._taken, due, time, picture)
            self._taken += 1
            self.arrivals.add(now)

    def drop(self, frame: int, cause: int) -> None:
        """A frame was discarded because of facts.trace.DropCause `cause`."""
        with self._lock:
            if self._waiting.pop(frame, None) is not None:
                self._dropped[DropCause.NAMES[cause]] += 1
                self._hand_on()

    def end(self, frame: int, now: int, answers: Mapping[str, Answer], why: str = "") -> None:
        """All models ran on a frame, or one failed: `why`. One that was given up meanwhile is forgotten."""
        with self._lock:
            waiting = self._waiting.get(frame)
            if waiting is not None:
                waiting.ended = now
                waiting.answers = answers
                waiting.why = why
                self._hand_on()

    def counts(self) -> Counts:
        """What became of all pictures so far."""
        with self._lock:
            return Counts(
                taken=self._taken,
                delivered=self._delivered,
                skipped=self._skipped,
                failed=self._failed,
                waiting=len(self._waiting),
                dropped=dict(self._dropped),
                late=self._late,
                boxes=dict(self._boxes),
            )

    def waiting(self) -> list[int]:
        """The numbers of the frames that are on their way."""
        with self._lock:
            return list(self._waiting)

    def _hand_on(self) -> None:
        """Hand on what is ready, up to the first frame that is not."""
        while self._waiting:
            number, first = next(iter(self._waiting.items()))
            if first.ended is None:
                return
            del self._waiting[number]
            self._settle(first, first.ended)

    def _settle(self, frame: _Waiting, ended: int) -> None:
        age = ended - frame.due
        for model, answer in (frame.answers or {}).items():
            if isinstance(answer, Crops):
                self._count_boxes(model, answer)
        if not frame.why and self.max_age is not None and age > self.max_age:
            self._dropped[DropCause.NAMES[DropCause.TOO_OLD]] += 1
            return
        late = self._target is not None and age > self._target
        self._late += late
        if frame.why:
            self._failed += 1
        else:
            self._delivered += 1
            self.deliveries.add(ended)
            self.ages.add(ended, age)
        self._emit(self._result(frame, age, late=late))

    def _count_boxes(self, model: str, answer: Crops) -> None:
        before = self._boxes.get(model, BoxCounts())
        self._boxes[model] = BoxCounts(
            found=before.found + len(answer) + answer.failed + answer.left_out,
            answered=before.answered + len(answer),
            failed=before.failed + answer.failed,
            left_out=before.left_out + answer.left_out,
        )

    def _result(self, frame: _Waiting, age: int, *, late: bool) -> Result:
        return Result(
            source=self.name,
            number=frame.number,
            time=frame.time,
            age_ms=age / NS_PER_MS,
            late=late,
            answers=frame.answers or {},
            error=frame.why or None,
            picture=frame.picture,
        )


def wall_time(due: int, now: int, wall: float) -> float:
    """Seconds since 1970 of a moment `due` on a clock that shows `now` (ns) when it is `wall` (s since 1970)."""
    return wall - (now - due) / NS_PER_S
