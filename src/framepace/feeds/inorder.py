"""The feed for models with states: a frame waits until the one before it of the same source is delivered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from framepace.errors import FramepaceError
from framepace.feeds.feed import Feed
from framepace.feeds.pacer import Idle, Pacer
from framepace.video.frame import Frame

_LOOK_S = 0.25  # the longest a worker waits without looking whether the run was stopped


class InOrderFeed(Feed):
    """Hands out the frames of another feed so that one frame of a source is in work at a time, in order.

    Two frames of a source are never in one batch. One worker at a time asks the other feed, so the frames of a source
    come in its order whatever the number of workers.
    """

    def __init__(self, feed: Feed, pacer: Pacer) -> None:
        self._feed = feed
        self._state = pacer.state
        self._free = pacer.clock.condition()
        self._is_asked = False  # a worker is asking the other feed, or waits for the source of what it got
        self._in_work: set[int] = set()
        self._next: list[Frame] = []  # taken from the other feed, not handed out yet

    @property
    def errors(self) -> Mapping[int, FramepaceError]:
        """See Feed."""
        return self._feed.errors

    def __enter__(self) -> InOrderFeed:
        self._feed.__enter__()
        self._state.sources = self
        return self

    def __exit__(self, *error: object) -> None:
        self._feed.__exit__(*error)

    def end(self, frames: Sequence[Frame]) -> None:
        """Note that frames were delivered; those behind them may go."""
        with self._free:
            self._in_work.difference_update(frame.source for frame in frames)
            self._free.notify_all()

    def take(self, idle: Idle | None, wait: bool = True) -> list[Frame] | None:
        """See Feed."""
        with self._free:
            while self._is_asked:
                if self._state.stopped is not None:
                    return None
                if not wait:
                    return []
                self._free.wait(_LOOK_S)
            self._is_asked = True
        try:
            return self._take(idle, wait=wait)
        finally:
            with self._free:
                self._is_asked = False
                self._free.notify_all()

    def _take(self, idle: Idle | None, *, wait: bool) -> list[Frame] | None:
        if not self._next:
            frames = self._feed.take(idle, wait)
            if not frames:
                return frames
            self._next = frames
        batch = _first_of_each(self._next)
        if not self._wait_for({frame.source for frame in batch}, wait=wait):
            if self._state.stopped is not None:
                return None
            return []
        taken = {id(frame) for frame in batch}
        self._next = [frame for frame in self._next if id(frame) not in taken]
        return batch

    def _wait_for(self, sources: set[int], *, wait: bool) -> bool:
        """Whether none of the sources has a frame in work any more; they have one from now on."""
        with self._free:
            while not sources.isdisjoint(self._in_work):
                if not wait or self._state.stopped is not None:
                    return False
                self._free.wait(_LOOK_S)
            self._in_work |= sources
        return True


def _first_of_each(frames: Sequence[Frame]) -> list[Frame]:
    """The first frame of each source, until one comes a second time."""
    batch: list[Frame] = []
    for frame in frames:
        if any(frame.source == other.source for other in batch):
            break
        batch.append(frame)
    return batch
