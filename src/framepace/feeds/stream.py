"""The feed whose sources have their own threads: they decode into buffers, from which workers take batches."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, Protocol

from framepace.errors import FramepaceError, SourceError
from framepace.facts.plan import SourcePolicy
from framepace.facts.trace import DropCause
from framepace.feeds.arrivals import Arrivals
from framepace.feeds.cameraclock import CameraClock
from framepace.feeds.droprules import DropRule, drop_rule
from framepace.feeds.feed import Feed, OnDrop, OnQueue, PictureSource
from framepace.feeds.pacer import NAP_NS, Idle, Pacer
from framepace.units import NS_PER_S
from framepace.video.frame import Frame

_PATIENCE_S = 6.0  # for all sources to return from their last reads; the thread of one that does not is left behind


class Batcher(Protocol):
    """Decides which of the frames that wait go together, and when; called with the feed's lock held."""

    def take(
        self, now: int, buffers: Mapping[int, deque[Frame]], over: bool, full: bool = False
    ) -> tuple[list[Frame], int | None]:
        """The frames that go now, removed from their buffers; or none, and until when (ns) they wait for others.

        Args:
            buffers: the waiting frames of each source by its number, the oldest first; of sources without any, perhaps.
            over: nothing more can come, so nothing is waited for.
            full: a buffer is full: as long as frames stay in it, its source stands still or frames are dropped.
        """


class Timing(Protocol):
    """When pictures of a live source were due."""

    def due(self, picture: Any, now: int) -> int:
        """When `picture`, which arrived at `now`, was due (ns)."""


@dataclass(eq=False)
class _Stream:
    """A source of the feed; `arrivals` is None where the source sets the pace, whose pictures `timing` dates then."""

    number: int
    source: PictureSource
    arrivals: Arrivals | None
    rule: DropRule
    timing: Timing
    buffer: deque[Frame] = field(default_factory=deque)
    removed: bool = False


def _nobody(frame: Frame) -> None:
    """Receives the frames of a feed that nobody follows."""


class StreamFeed(Feed):
    """One thread per source decodes into a bounded buffer; workers take what `batcher` chooses from the buffers.

    A source that fails ends alone: its error is kept in `errors`, the others continue, and the run ends when none is
    left. The threads run from entering the feed to leaving it; on a virtual clock they take part beside the workers.
    Sources may be added and removed meanwhile, by any thread, on the system's clock.

    Args:
        arrivals: when each source's frames are due; not asked for live sources, and None where all are live.
        on_drop: receives every frame that is discarded.
        on_queue: receives every frame when it joins its source's buffer.
        stays: the run goes on without sources, since others may be added.
    """

    def __init__(
        self,
        sources: Sequence[PictureSource],
        arrivals: Sequence[Arrivals] | None,
        batcher: Batcher,
        policy: SourcePolicy,
        pacer: Pacer,
        on_drop: OnDrop,
        *,
        on_queue: OnQueue = _nobody,
        stays: bool = False,
    ) -> None:
        self._batcher = batcher
        self._rule = drop_rule(policy)
        self._pacer = pacer
        self._on_drop = on_drop
        self._on_queue = on_queue
        self._stays = stays
        self._clock = pacer.clock
        self._state = pacer.state
        self._numbers = count()
        self._source_numbers = count()
        self._streams: dict[int, _Stream] = {}
        self._waiting: dict[int, deque[Frame]] = {}  # the buffers that hold frames
        self._changed = pacer.clock.condition()
        self._alive = 0
        self._held_up = 0  # sources that wait for room in their buffers
        self._idle = 0  # workers that wait for frames
        self._errors = dict[int, FramepaceError]()
        self._threads = list[threading.Thread]()
        self._entered = False
        for place, source in enumerate(sources):
            self.add(source, arrivals=arrivals[place] if arrivals is not None else None)

    @property
    def errors(self) -> dict[int, FramepaceError]:
        """See Feed."""
        return self._errors

    def add(
        self,
        source: PictureSource,
        *,
        number: int | None = None,
        arrivals: Arrivals | None = None,
        rule: DropRule | None = None,
        timing: Timing | None = None,
    ) -> int:
        """Add a source; its number.

        Args:
            number: of a source that was removed and comes back; by default the next one.
            arrivals: when its frames are due, unless it is live.
            rule: of its buffer; by default the policy's.
            timing: dates the pictures of a live source; by default their timestamps do.
        """
        if number is None:
            number = next(self._source_numbers)
        if source.live:
            arrivals = None
        timing = timing or CameraClock(partial(getattr, source, "reconnections", 0))
        stream = _Stream(number, source, arrivals, rule or self._rule, timing)
        with self._changed:
            self._errors.pop(number, None)
            self._streams[number] = stream
            self._alive += 1
            entered = self._entered
        if entered:
            self._start([stream])
        return number

    def remove(self, number: int) -> None:
        """Take a source out; frames of it that wait are dropped. Whoever added it ends its `read`."""
        with self._changed:
            stream = self._streams.pop(number)
            stream.removed = True
            self._waiting.pop(number, None)
            for frame in stream.buffer:
                self._on_drop(frame, DropCause.REMOVED)
            stream.buffer.clear()
            self._changed.notify_all()

    def change(self, number: int, rule: DropRule) -> None:
        """Give a source's buffer another rule."""
        with self._changed:
            self._streams[number].rule = rule
            self._changed.notify_all()

    def __enter__(self) -> StreamFeed:
        try:
            with self._changed:
                self._entered = True
                streams = list(self._streams.values())
            self._start(streams)
        except BaseException:  # the system has no more threads: those that run end before their sources are closed
            self._clock.abandon()
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the source threads and wait, for a while, for the read each is in."""
        self._state.stop("finished")
        with self._changed:
            self._changed.notify_all()
        deadline = time.monotonic() + _PATIENCE_S
        for thread in self._threads:
            thread.join(timeout=max(0.0, deadline - time.monotonic()))

    def take(self, idle: Idle | None, wait: bool = True) -> list[Frame] | None:
        """See Feed."""
        while True:
            with self._changed:
                woken = True
                while woken:
                    over = self._over()
                    frames, until = self._choose(over)
                    if frames:
                        return frames
                    if over:
                        return None
                    if not wait:
                        return []
                    self._idle += 1
                    woken = self._changed.wait(self._nap_s(until, idle))
                    self._idle -= 1
            self._state.look(self._clock.now())
            if idle is not None and self._pacer.beat:
                idle()

    def _start(self, streams: Sequence[_Stream]) -> None:
        """Start the threads of sources; those that have ended meanwhile are forgotten."""
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        for stream, place in zip(streams, self._clock.reserve(len(streams)), strict=True):
            name = f"source-{stream.number}"
            thread = threading.Thread(target=self._serve, args=(stream, place), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def _choose(self, over: bool) -> tuple[list[Frame], int | None]:
        """The batch that goes now, or the time until which it waits."""
        now = self._clock.now()
        full = bool(self._waiting) and self._drop_stale(now)
        frames, until = self._batcher.take(now, self._waiting, over, full)
        for number, buffer in list(self._waiting.items()):
            if not buffer:
                del self._waiting[number]
        if self._held_up or (frames and self._idle):  # sources look at the room, other workers at what is left
            self._changed.notify_all()
        return frames, until

    def _over(self) -> bool:
        return self._state.stopped is not None or (self._alive == 0 and not self._stays)

    def _drop_stale(self, now: int) -> bool:
        """Discard the frames that are too old; whether a buffer is full."""
        full = False
        for number, buffer in self._waiting.items():
            rule = self._streams[number].rule
            if rule.age is not None:
                for frame, cause in rule.discard_stale(buffer, now):
                    self._on_drop(frame, cause)
            full = full or len(buffer) >= rule.room
        return full

    def _nap_s(self, until: int | None, idle: Idle | None) -> float:
        """Seconds until the worker must look again: a batch closes, the heart beats, or the run may have stopped."""
        nap = NAP_NS
        if idle is not None and self._pacer.beat:
            nap = self._pacer.beat
        if until is not None:
            nap = min(nap, until - self._clock.now())
        return max(0, nap) / NS_PER_S

    def _serve(self, stream: _Stream, place: AbstractContextManager[None]) -> None:
        """The thread of a source."""
        with suppress(threading.BrokenBarrierError), place:  # where the run does not begin
            try:
                self._read_all(stream)
            except FramepaceError as error:
                self._errors[stream.number] = error
            except Exception as error:
                self._errors[stream.number] = _unexpected(stream.number, error)
            finally:
                with self._changed:
                    self._alive -= 1
                    self._changed.notify_all()

    def _read_all(self, stream: _Stream) -> None:
        """Read to the end of the source or of the run."""
        if stream.arrivals is None:
            while self._put(stream, self._live_frame(stream)):
                pass
            return
        for number in count():
            if not self._put(stream, self._due_frame(stream, number, stream.arrivals)):
                return

    def _due_frame(self, stream: _Stream, number: int, arrivals: Arrivals) -> Frame | None:
        """Frame `number` of a source, read when it is due."""
        now = self._clock.now
        available = now()
        due = arrivals.due(number, self._state)
        if due is None or not self._pacer.until(due, None):
            return None
        captured = now()
        picture = stream.source.read()
        if picture is None:
            return None
        return Frame(next(self._numbers), stream.number, due, available, captured, now(), 0, picture)

    def _live_frame(self, stream: _Stream) -> Frame | None:
        """A live picture is due when its camera took it, as far as its timestamps say, or when it is there.

        What it waited in sockets after that is time to take it, not the pacer's error.
        """
        available = self._clock.now()
        picture = stream.source.read()
        now = self._clock.now()
        if picture is None or self._state.stopped is not None:
            return None
        due = stream.timing.due(picture, now)
        began = min(now, max(available, due))
        return Frame(next(self._numbers), stream.number, due, min(available, now), began, now, 0, picture)

    def _put(self, stream: _Stream, frame: Frame | None) -> bool:
        """Append a frame to the buffer of its source; false at the end of the source or of the run."""
        if frame is None:
            return False
        with self._changed:
            if stream.rule.waits and not self._has_room(stream):
                return False
            if stream.removed:
                return False
            if len(stream.buffer) >= stream.rule.room:
                for dropped, cause in stream.rule.make_room(stream.buffer):
                    self._on_drop(dropped, cause)
            frame.queued = self._clock.now()
            self._on_queue(frame)
            stream.buffer.append(frame)
            self._waiting[stream.number] = stream.buffer
            if self._idle:
                self._changed.notify_all()
        return True

    def _has_room(self, stream: _Stream) -> bool:
        """Wait for room; false when the run was stopped, or the source removed, before there was any."""
        while stream.rule.is_full(stream.buffer):
            if self._state.stopped is not None or stream.removed:
                return False
            self._held_up += 1
            self._changed.wait(NAP_NS / NS_PER_S)
            self._held_up -= 1
        return True


def _unexpected(source: int, error: Exception) -> SourceError:
    """What no source is expected to raise, as the error of that source."""
    return SourceError(f"source {source} failed", got=f"{type(error).__name__}: {error}")
