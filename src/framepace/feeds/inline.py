"""The feed whose workers wait for the due time and read the sources themselves: no hand-over between threads."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from heapq import heappop, heappush
from itertools import count, takewhile

from framepace.feeds.arrivals import Arrivals
from framepace.feeds.batchrules import BatchRule
from framepace.feeds.feed import Feed, PictureSource
from framepace.feeds.pacer import Idle, Pacer
from framepace.video.frame import Frame


class Numbers:
    """0, 1, 2, ...: each drawn once, by any thread; one that was not used is put back and drawn first."""

    def __init__(self) -> None:
        self._next = count()
        self._returned: list[int] = []

    def draw(self) -> int:
        """The lowest number left; a heap of ints and a counter are atomic in CPython, and no number is ever in both."""
        if self._returned:
            with suppress(IndexError):  # another thread drew it
                return heappop(self._returned)
        return next(self._next)

    def put_back(self, number: int) -> None:
        """Let `number` be drawn again."""
        heappush(self._returned, number)

    def start(self, number: int) -> None:
        """Continue from `number`; for the caller that holds the lock of batches."""
        self._next = count(number)


class InlineFeed(Feed):
    """The worker waits for the due time and reads the source itself; frames arrive at the sources in turn.

    Batches wait for more frames by `rule`, one worker at a time.
    """

    def __init__(self, sources: Sequence[PictureSource], arrivals: Arrivals, rule: BatchRule, pacer: Pacer) -> None:
        lock = pacer.clock.lock
        self._sources = sources
        self._arrivals = arrivals
        self._rule = rule
        self._pacer = pacer
        self._now = pacer.clock.now
        self._state = pacer.state
        self._numbers = Numbers()
        self._batching = lock()
        self._reading = [None if getattr(source, "is_shared", False) else lock() for source in sources]

    def take(self, idle: Idle | None, wait: bool = True) -> list[Frame] | None:
        """See Feed. A single-frame batch needs no lock: each worker draws its own number."""
        if self._rule.size > 1:
            return self._take_batch(idle, wait)
        number = self._numbers.draw()
        if not wait:
            due = self._due_by_now(number)
            if due is None:
                return self._not_ready(number)
            frame = self._read(number, due, self._now())
        else:
            frame = self._frame(number, idle)
        if frame is None:
            return None
        return [frame]

    def _take_batch(self, idle: Idle | None, wait: bool) -> list[Frame] | None:
        """A bulk load is drawn by batches, any other by frames."""
        if not self._batching.acquire(blocking=wait):  # another worker waits for the next batch
            return self._nothing()
        try:
            return self._next_batch(idle, wait)
        finally:
            self._batching.release()

    def _next_batch(self, idle: Idle | None, wait: bool) -> list[Frame] | None:
        bulk = self._arrivals.bulk
        number = self._numbers.draw()
        first = number
        if bulk:
            first *= self._rule.size
        if not wait and not self._batch_ready(first):
            return self._not_ready(number)
        if bulk:
            return self._bulk(first, idle)
        return self._window(first, idle)

    def _not_ready(self, number: int) -> list[Frame] | None:
        self._numbers.put_back(number)
        return self._nothing()

    def _nothing(self) -> list[Frame] | None:
        """No batch is ready; None where the run is over."""
        if self._state.stopped is not None:
            return None
        return []

    def _due_by_now(self, number: int) -> int | None:
        """When frame `number` was due; None where it could not be taken now without waiting."""
        due = self._arrivals.peek(number, self._state)
        if due is None or due > self._now() or self._state.stopped is not None:
            return None
        return due

    def _batch_ready(self, number: int) -> bool:
        """Whether a batch from frame `number` on could be taken now without waiting."""
        if self._due_by_now(number) is None:
            return False
        if self._arrivals.bulk:
            return True
        now = self._now()
        dues = (self._arrivals.peek(number + place, self._state) for place in range(self._rule.size))
        arrived = list(takewhile(lambda due: due is not None and due <= now, dues))
        oldest = arrived[0]
        return oldest is not None and self._rule.waits_until(now, oldest, len(arrived)) is None

    def _frame(self, number: int, idle: Idle | None) -> Frame | None:
        available = self._now()
        if self._state.stopped is not None:
            return None
        due = self._arrivals.due(number, self._state)
        if due is None or (due > available and not self._pacer.until(due, idle)):
            return None
        return self._read(number, due, available)

    def _read(self, number: int, due: int, available: int) -> Frame | None:
        source = number % len(self._sources)
        lock = self._reading[source]
        if lock is None:
            captured = self._now()
            picture = self._sources[source].read()
        else:
            with lock:
                captured = self._now()
                picture = self._sources[source].read()
        decoded = self._now()
        if picture is None:
            self._state.stop("source ended")
            return None
        return Frame(number, source, due, available, captured, decoded, decoded, picture)

    def _bulk(self, first: int, idle: Idle | None) -> list[Frame] | None:
        frame = self._frame(first, idle)
        if frame is None:
            return None
        others = (self._read(first + place, frame.due, frame.available) for place in range(1, self._rule.size))
        return [frame, *(other for other in others if other is not None)]

    def _window(self, first: int, idle: Idle | None) -> list[Frame] | None:
        frame = self._frame(first, idle)
        if frame is None:
            return None
        frames = [frame]
        while self._joins(first + len(frames), frames, idle):
            frame = self._frame(first + len(frames), idle)
            if frame is None:
                break
            frames.append(frame)
        self._numbers.start(first + len(frames))
        return frames

    def _joins(self, number: int, frames: list[Frame], idle: Idle | None) -> bool:
        """Whether arrival `number` joins the batch; otherwise the batch's waiting time has passed on return."""
        if len(frames) >= self._rule.size:
            return False
        due = self._arrivals.due(number, self._state)
        now = self._now()
        if due is not None and due <= now:
            return True
        closes = self._rule.waits_until(now, frames[0].due, len(frames))
        if closes is None:
            return False
        if due is not None and due <= closes:
            return True
        # No frame comes in time, but a batcher does not know the future: it waits until the window closes.
        self._pacer.until(closes, idle)
        return False
