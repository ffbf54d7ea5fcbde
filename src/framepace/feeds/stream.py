"""The feed whose sources have their own threads: they decode into buffers, from which workers take batches."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from itertools import count
from typing import Protocol

from framepace.errors import FramepaceError, SourceError
from framepace.facts.plan import SourcePolicy
from framepace.feeds.arrivals import Arrivals
from framepace.feeds.cameraclock import CameraClock
from framepace.feeds.droprules import drop_rule
from framepace.feeds.feed import Feed, OnDrop, PictureSource
from framepace.feeds.pacer import NAP_NS, Idle, Pacer
from framepace.units import NS_PER_S
from framepace.video.frame import Frame

_PATIENCE_S = 6.0  # for all sources to return from their last reads; the thread of one that does not is left behind


class Batcher(Protocol):
    """Decides which of the frames that wait go together, and when; called with the feed's lock held."""

    def take(
        self, now: int, buffers: Sequence[deque[Frame]], over: bool, full: bool = False
    ) -> tuple[list[Frame], int | None]:
        """The frames that go now, removed from their buffers; or none, and until when (ns) they wait for others.

        Args:
            buffers: the waiting frames of each source, the oldest first.
            over: nothing more can come, so nothing is waited for.
            full: a buffer is full: as long as frames stay in it, its source stands still or frames are dropped.
        """


class StreamFeed(Feed):
    """One thread per source decodes into a bounded buffer; workers take what `batcher` chooses from the buffers.

    A source that fails ends alone: its error is kept in `errors`, the others continue, and the run ends when none is
    left. The threads run from entering the feed to leaving it; on a virtual clock they take part beside the workers.

    Args:
        arrivals: when each source's frames are due; not asked for live sources, and None where all are live.
        on_drop: receives every frame that is discarded.
    """

    def __init__(
        self,
        sources: Sequence[PictureSource],
        arrivals: Sequence[Arrivals] | None,
        batcher: Batcher,
        policy: SourcePolicy,
        pacer: Pacer,
        on_drop: OnDrop,
    ) -> None:
        self._sources = sources
        self._arrivals = arrivals
        self._batcher = batcher
        self._rule = drop_rule(policy)
        self._pacer = pacer
        self._on_drop = on_drop
        self._clock = pacer.clock
        self._state = pacer.state
        self._numbers = count()
        self._buffers = [deque[Frame]() for _ in sources]
        self._changed = pacer.clock.condition()
        self._cameras = [CameraClock() for _ in sources]
        self._alive = len(sources)
        self._held_up = 0  # sources that wait for room in their buffers
        self._errors = dict[int, FramepaceError]()
        self._threads = list[threading.Thread]()

    @property
    def errors(self) -> dict[int, FramepaceError]:
        """See Feed."""
        return self._errors

    def __enter__(self) -> StreamFeed:
        try:
            for source, place in enumerate(self._clock.reserve(len(self._sources))):
                name = f"source-{source}"
                thread = threading.Thread(target=self._serve, args=(source, place), name=name, daemon=True)
                thread.start()
                self._threads.append(thread)
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
                frames, until = self._choose()
                if frames:
                    return frames
                if self._over():
                    return None
                if not wait:
                    return []
                woken = self._changed.wait(self._nap_s(until, idle))
            if not woken:
                self._state.look(self._clock.now())
            if idle is not None and self._pacer.beat and not woken:
                idle()

    def _choose(self) -> tuple[list[Frame], int | None]:
        """The batch that goes now, or the time until which it waits."""
        self._drop_stale()
        full = any(self._rule.is_full(buffer) for buffer in self._buffers)
        frames, until = self._batcher.take(self._clock.now(), self._buffers, self._over(), full)
        if frames or self._held_up:  # other workers look at what is left, and sources at the room
            self._changed.notify_all()
        return frames, until

    def _over(self) -> bool:
        return self._state.stopped is not None or self._alive == 0

    def _drop_stale(self) -> None:
        now = self._clock.now()
        for buffer in self._buffers:
            for frame, cause in self._rule.discard_stale(buffer, now):
                self._on_drop(frame, cause)

    def _nap_s(self, until: int | None, idle: Idle | None) -> float:
        """Seconds until the worker must look again: a batch closes, the heart beats, or the run may have stopped."""
        nap = NAP_NS
        if idle is not None and self._pacer.beat:
            nap = self._pacer.beat
        if until is not None:
            nap = min(nap, until - self._clock.now())
        return max(0, nap) / NS_PER_S

    def _serve(self, source: int, place: AbstractContextManager[None]) -> None:
        """The thread of a source."""
        with suppress(threading.BrokenBarrierError), place:  # where the run does not begin
            try:
                self._read_all(source)
            except FramepaceError as error:
                self._errors[source] = error
            except Exception as error:
                self._errors[source] = _unexpected(source, error)
            finally:
                with self._changed:
                    self._alive -= 1
                    self._changed.notify_all()

    def _read_all(self, source: int) -> None:
        """Read to the end of the source or of the run."""
        if self._arrivals is None or self._sources[source].live:
            while self._put(self._live_frame(source)):
                pass
            return
        arrivals = self._arrivals[source]
        for number in count():
            if not self._put(self._due_frame(source, number, arrivals)):
                return

    def _due_frame(self, source: int, number: int, arrivals: Arrivals) -> Frame | None:
        """Frame `number` of a source, read when it is due."""
        now = self._clock.now
        available = now()
        due = arrivals.due(number, self._state)
        if due is None or not self._pacer.until(due, None):
            return None
        captured = now()
        picture = self._sources[source].read()
        if picture is None:
            return None
        return Frame(next(self._numbers), source, due, available, captured, now(), 0, picture)

    def _live_frame(self, source: int) -> Frame | None:
        """A live picture is due when its camera took it, as far as its timestamps say, or when it is there.

        What it waited in sockets after that is time to take it, not the pacer's error.
        """
        available = self._clock.now()
        picture = self._sources[source].read()
        now = self._clock.now()
        if picture is None or self._state.stopped is not None:
            return None
        due = self._cameras[source].due(picture, now)
        began = min(now, max(available, due))
        return Frame(next(self._numbers), source, due, min(available, now), began, now, 0, picture)

    def _put(self, frame: Frame | None) -> bool:
        """Append a frame to the buffer of its source; false at the end of the source or of the run."""
        if frame is None:
            return False
        buffer = self._buffers[frame.source]
        with self._changed:
            if self._rule.waits and not self._has_room(buffer):
                return False
            for dropped, cause in self._rule.make_room(buffer):
                self._on_drop(dropped, cause)
            frame.queued = self._clock.now()
            buffer.append(frame)
            self._changed.notify_all()
        return True

    def _has_room(self, buffer: deque[Frame]) -> bool:
        """Wait for room; false when the run was stopped before there was any."""
        while self._rule.is_full(buffer):
            if self._state.stopped is not None:
                return False
            self._held_up += 1
            self._changed.wait(NAP_NS / NS_PER_S)
            self._held_up -= 1
        return True


def _unexpected(source: int, error: Exception) -> SourceError:
    """What no source is expected to raise, as the error of that source."""
    return SourceError(f"source {source} failed", got=f"{type(error).__name__}: {error}")
