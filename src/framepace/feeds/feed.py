"""Feeds: where a worker gets its next batch of frames, and who waits for the due time.

InlineFeed: the worker itself waits for the due time and takes (or decodes) the picture: no hand-over between threads.
StreamFeed: one thread a source waits, decodes and buffers; workers take from the buffers.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count, takewhile
from typing import Any, Protocol

from framepace.errors import FramepaceError
from framepace.facts.plan import SourcePolicy
from framepace.facts.trace import DropCause
from framepace.feeds.batchrules import BatchRule
from framepace.feeds.pacer import NAP_NS, Idle, Pacer
from framepace.feeds.runstate import RunState
from framepace.units import NS_PER_MS
from framepace.video.frame import Frame


class PictureSource(Protocol):
    """What a feed needs of a source."""

    def read(self) -> Any:
        """The next picture, or None at the end."""


class Arrivals(Protocol):
    """When frames are due. A `bulk` load brings whole batches: all frames of a batch are due together."""

    bulk: bool

    def due(self, number: int, state: RunState) -> int | None:
        """Due time (ns) of frame `number`; waits where that depends on a delivery; None when there is no more."""

    def peek(self, number: int, state: RunState) -> int | None:
        """Due time (ns) of frame `number` as far as it is known now; None when it is not, or there is no more."""


class Feed(Protocol):
    """Gives batches to workers."""

    def take(self, idle: Idle | None, wait: bool = True) -> list[Frame] | None:
        """The next batch, waiting for it; None when the run is over. `idle` is called every heartbeat meanwhile.

        Without `wait` (the worker has requests in flight to look after): an empty list when no batch is ready now. A
        batch that may still grow is not: it stays open as long as the worker has something else to do.
        """

    def close(self) -> None:
        """Stop the feed's threads."""


class Batcher(Protocol):
    """Decides which of the frames that wait go together, and when; called with the feed's lock held."""

    def take(self, now: int, buffers: Sequence[deque[Frame]], must: bool) -> tuple[list[Frame], int | None]:
        """The frames that go now, removed from their buffers; or none, and until when (ns) they wait for company.

        With `must` they do not wait: nothing more can come.
        """


class _Numbers:
    """0, 1, 2, ...: each drawn once, by any thread; one that was not used is put back and drawn first."""

    def __init__(self) -> None:
        self._next, self._returned = count(), list[int]()

    def draw(self) -> int:
        """The lowest number left; list and counter are atomic in CPython, and no number is ever in both."""
        try:
            return self._returned.pop()
        except IndexError:
            return next(self._next)

    def put_back(self, number: int) -> None:
        """Let `number` be drawn again."""
        self._returned.append(number)

    def start(self, number: int) -> None:
        """Go on from `number`; for the caller that holds the lock of batches."""
        self._next = count(number)


class InlineFeed:
    """The worker waits for the due time and reads the source itself; frames arrive at the sources in turn."""

    def __init__(self, sources: Sequence[PictureSource], arrivals: Arrivals, rule: BatchRule, pacer: Pacer) -> None:
        self._sources, self._arrivals, self._rule, self._pacer = sources, arrivals, rule, pacer
        self._now, self._state = pacer.clock.now, pacer.state
        self._numbers = _Numbers()
        lock = pacer.clock.lock
        self._gather, self._reads = lock(), [lock() for _ in sources]

    def take(self, idle: Idle | None, wait: bool = True) -> list[Frame] | None:
        """See Feed. A single-frame batch needs no lock: each worker draws its own number."""
        if self._rule.size == 1:
            number = self._numbers.draw()
            if not wait and not self._ready(number, 1):
                self._numbers.put_back(number)
                return None if self._state.stopped is not None else []
            frame = self._frame(number, idle)
            return None if frame is None else [frame]
        with self._gather:
            number = self._numbers.draw()
            if not wait and not self._ready(number * (self._rule.size if self._arrivals.bulk else 1), self._rule.size):
                self._numbers.put_back(number)
                return None if self._state.stopped is not None else []
            return self._bulk(number, idle) if self._arrivals.bulk else self._window(number, idle)

    def close(self) -> None:
        """Nothing to stop."""

    def _ready(self, number: int, size: int) -> bool:
        """Whether a batch of up to `size` frames from `number` on could be taken now without waiting."""
        now, first = self._now(), self._arrivals.peek(number, self._state)
        if first is None or first > now or self._state.stopped is not None:
            return False
        if size == 1 or self._arrivals.bulk:
            return True
        due = (self._arrivals.peek(number + k, self._state) for k in range(1, size))
        there = 1 + sum(1 for _ in takewhile(lambda t: t is not None and t <= now, due))
        return self._rule.waits_until(now, first, there) is None

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
        with self._reads[source]:
            captured = self._now()
            picture = self._sources[source].read()
        decoded = self._now()
        if picture is None:
            self._state.stop("source ended")
            return None
        return Frame(number, source, due, available, captured, decoded, decoded, picture)

    def _bulk(self, number: int, idle: Idle | None) -> list[Frame] | None:
        frame = self._frame(number * self._rule.size, idle)
        if frame is None:
            return None
        rest = (self._read(frame.number + k, frame.due, frame.available) for k in range(1, self._rule.size))
        return [frame, *(f for f in rest if f is not None)]

    def _window(self, number: int, idle: Idle | None) -> list[Frame] | None:
        frame = self._frame(number, idle)
        if frame is None:
            return None
        frames = [frame]
        while self._joins(number + len(frames), frames, idle):
            extra = self._frame(number + len(frames), idle)
            if extra is None:
                break
            frames.append(extra)
        self._numbers.start(number + len(frames))
        return frames

    def _joins(self, number: int, frames: list[Frame], idle: Idle | None) -> bool:
        """Whether arrival `number` joins the batch; otherwise the batch's waiting time has passed on return."""
        if len(frames) >= self._rule.size:
            return False
        due, now = self._arrivals.due(number, self._state), self._now()
        if due is not None and due <= now:
            return True
        closes = self._rule.waits_until(now, frames[0].due, len(frames))
        if closes is None:
            return False
        if due is not None and due <= closes:
            return True
        # No frame comes in time, but a batcher does not know the future: it waits its window out.
        self._pacer.until(closes, idle)
        return False


class StreamFeed:
    """One thread a source decodes into a bounded buffer; workers take the frame that was due first.

    With a `batcher` frames stay in their buffers until it takes them; a full buffer ends the wait. `on_drop(frame,
    cause)` is told of every frame that is discarded. A source that fails ends alone: its error is kept in `errors`, the
    others go on, and the run ends when none is left.
    """

    def __init__(
        self,
        sources: Sequence[PictureSource],
        arrivals: Sequence[Arrivals],
        rule: BatchRule,
        policy: SourcePolicy,
        pacer: Pacer,
        on_drop: Callable[[Frame, int], None],
        batcher: Batcher | None = None,
    ) -> None:
        self._rule, self._policy, self._pacer, self._on_drop = rule, policy, pacer, on_drop
        self._batcher = batcher
        self._clock, self._state = pacer.clock, pacer.state
        self._numbers = count()
        self._buffers: list[deque[Frame]] = [deque() for _ in sources]
        self._changed: Any = pacer.clock.condition()
        self._alive = len(sources)
        self.errors: dict[int, FramepaceError] = {}
        self._threads = [
            threading.Thread(target=self._serve, args=(i, *pair), name=f"source-{i}", daemon=True)
            for i, pair in enumerate(zip(sources, arrivals, strict=True))
        ]
        for thread in self._threads:
            thread.start()

    def take(self, idle: Idle | None, wait: bool = True) -> list[Frame] | None:
        """See Feed."""
        if self._batcher is not None:
            return self._take_batch(self._batcher, idle, wait)
        with self._changed:
            frames: list[Frame] = []
            while True:
                self._fill(frames)
                until = self._until(frames)
                if frames and until is None:
                    self._changed.notify_all()
                    return frames
                if not frames and self._over():
                    return None
                if not wait:
                    return self._put_back(frames)
                self._nap(until, idle)

    def close(self) -> None:
        """Stop the source threads and wait for the read each is in."""
        self._state.stop("finished")
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout=5)

    def _take_batch(self, batcher: Batcher, idle: Idle | None, wait: bool) -> list[Frame] | None:
        with self._changed:
            while True:
                for buffer in self._buffers:
                    while buffer and self._stale(buffer[0]):
                        self._on_drop(buffer.popleft(), DropCause.STALE)
                must = self._over() or any(len(buffer) >= self._policy.buffer for buffer in self._buffers)
                frames, until = batcher.take(self._clock.now(), self._buffers, must)
                if frames:
                    self._changed.notify_all()
                    return frames
                if self._over():
                    return None
                if not wait:
                    return []
                self._nap(until, idle)

    def _over(self) -> bool:
        return self._state.stopped is not None or self._alive == 0

    def _until(self, frames: list[Frame]) -> int | None:
        if not frames or self._over():
            return None
        return self._rule.waits_until(self._clock.now(), frames[0].due, len(frames))

    def _fill(self, frames: list[Frame]) -> None:
        while len(frames) < self._rule.size:
            waiting = [b for b in self._buffers if b]
            if not waiting:
                return
            frame = min(waiting, key=lambda b: b[0].due).popleft()
            if self._stale(frame):
                self._on_drop(frame, DropCause.STALE)
            else:
                frames.append(frame)

    def _put_back(self, frames: list[Frame]) -> list[Frame]:
        """Leave an open batch in the buffers, in order; no frames were taken."""
        for frame in reversed(frames):
            self._buffers[frame.source].appendleft(frame)
        return []

    def _stale(self, frame: Frame) -> bool:
        limit = self._policy.stale_ms
        return limit is not None and self._clock.now() - frame.due > limit * NS_PER_MS

    def _nap(self, until: int | None, idle: Idle | None) -> None:
        beat = self._pacer.beat if idle is not None else 0
        left = (until - self._clock.now()) if until is not None else NAP_NS
        woken = self._changed.wait(max(0, min(left, beat or NAP_NS)) / 1e9)
        if beat and idle is not None and not woken:
            self._changed.release()
            try:
                idle()
            finally:
                self._changed.acquire()

    def _serve(self, source: int, reader: PictureSource, arrivals: Arrivals) -> None:
        try:
            for number in count():
                if not self._one(source, number, reader, arrivals):
                    break
        except FramepaceError as error:
            self.errors[source] = error
        finally:
            with self._changed:
                self._alive -= 1
                self._changed.notify_all()

    def _one(self, source: int, number: int, reader: PictureSource, arrivals: Arrivals) -> bool:
        available = self._clock.now()
        if getattr(reader, "live", False):
            return self._arrived(source, reader, available)
        due = arrivals.due(number, self._state)
        if due is None or not self._pacer.until(due, None):
            return False
        captured = self._clock.now()
        picture = reader.read()
        if picture is None:
            return False
        frame = Frame(next(self._numbers), source, due, available, captured, self._clock.now(), 0, picture)
        return self._put(self._buffers[source], frame)

    def _arrived(self, source: int, reader: PictureSource, available: int) -> bool:
        """A live picture comes when it comes: it is due when it is there, or latency would build up in the socket."""
        picture = reader.read()
        now = self._clock.now()
        if picture is None or self._state.stopped is not None:
            return False
        frame = Frame(next(self._numbers), source, now, min(available, now), now, now, 0, picture)
        return self._put(self._buffers[source], frame)

    def _put(self, buffer: deque[Frame], frame: Frame) -> bool:
        with self._changed:
            while len(buffer) >= self._policy.buffer and self._policy.drop == "never":
                if self._state.stopped is not None:
                    return False
                self._changed.wait(NAP_NS / 1e9)
            if len(buffer) >= self._policy.buffer:
                self._on_drop(buffer.popleft(), DropCause.BUFFER_FULL)
            frame.queued = self._clock.now()
            buffer.append(frame)
            self._changed.notify_all()
        return True
