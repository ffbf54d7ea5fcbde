"""Deadline-aware batching at work: what waits, what is in flight, what it cost; and the feed that reads in the worker.

The decisions are those of batchrules.py; here is what they need to know.
"""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import count, islice
from typing import Literal

from framepace.feeds.arrivals import Arrivals
from framepace.feeds.batchcosts import BatchCosts
from framepace.feeds.batchrules import NEVER, DeadlineRule
from framepace.feeds.feed import Feed, PictureSource
from framepace.feeds.flights import Flights
from framepace.feeds.pacer import NAP_NS, Idle, Pacer
from framepace.feeds.sourceorder import next_frames
from framepace.video.frame import Frame

_ENDED: Literal["source ended"] = "source ended"


class DeadlineBatcher:
    """Makes the batches of one run by a DeadlineRule: `costs` and the batches in flight are shared by all its workers.

    A frame stays in its source's buffer until a worker takes it, so a batch grows up to that moment. Callers hold one
    lock around `take`; `end` is called by the worker that delivered.
    """

    def __init__(self, rule: DeadlineRule, costs: BatchCosts | None = None) -> None:
        self.rule = rule
        self._flights = Flights(costs)
        self.costs = self._flights.costs
        self._turns: dict[int, int] = {}  # by source, how many frames had been taken when it had its last one
        self._taken = 0
        self._lock = threading.Lock()

    def take(
        self, now: int, buffers: Mapping[int, deque[Frame]], over: bool, full: bool = False
    ) -> tuple[list[Frame], int | None]:
        """See Batcher. A full buffer ends the wait: waiting must not cause drops."""
        # More frames of one source than a batch holds change nothing.
        waiting = {
            source: [frame.due for frame in islice(buffer, self.rule.size)]
            for source, buffer in buffers.items()
            if buffer
        }
        if not waiting:
            return [], None
        with self._lock:
            if not over and not full:
                until = self._waits_until(now, waiting)
                if until is not None:
                    return [], until
            frames = [buffers[source].popleft() for source in self._chosen(now, waiting)]
            self._flights.take_off(now, frames)
        return frames, None

    def end(self, frames: Sequence[Frame], now: int, failed: bool) -> None:
        """The batch that begins with the first of `frames` was delivered at `now` (ns), or failed."""
        with self._lock:
            self._flights.land(frames, now, failed)

    def _waits_until(self, now: int, waiting: Mapping[int, Sequence[int]]) -> int | None:
        dues = [due for queue in waiting.values() for due in queue]
        return self.rule.waits_until(now, dues, self.costs, len(self._flights), self._flights.first_end(now))

    def _chosen(self, now: int, waiting: Mapping[int, Sequence[int]]) -> list[int]:
        """The sources whose next frames are taken, in order."""
        flying = len(self._flights)
        late = self.rule.late(now, self.costs, flying)
        order = next_frames(waiting, self.rule.size, late, self._turns, self._taken)
        size = self.rule.takes(now, [due for due, _ in order], self.costs, flying)
        sources = [source for _, source in order[:size]]
        for source in sources:
            self._taken += 1
            self._turns[source] = self._taken
        return sources


class DeadlineFeed(Feed):
    """Workers read the sources themselves, and take frames of all of them by deadline.

    A worker that is free waits for the next due time, reads the picture and lets it wait for others; several workers
    do so one at a time. A frame that became due while none was free is read when it is taken.
    """

    def __init__(
        self, sources: Sequence[PictureSource], arrivals: Sequence[Arrivals], batcher: DeadlineBatcher, pacer: Pacer
    ) -> None:
        self._sources = sources
        self._arrivals = arrivals
        self._batcher = batcher
        self._pacer = pacer
        self._now = pacer.clock.now
        self._state = pacer.state
        self._numbers = count()
        self._turn = pacer.clock.lock()  # of the worker that waits
        self._guard = pacer.clock.lock()  # of buffers and upcoming frames
        self._buffers = {source: deque[Frame]() for source, _ in enumerate(sources)}
        self._upcoming: list[tuple[int, int, int]] = []  # a heap of (due, source, number)
        for source, _ in enumerate(sources):
            self._expect(source, 0)

    def take(self, idle: Idle | None, wait: bool = True) -> list[Frame] | None:
        """See Feed."""
        available = self._now()
        frames, until = self._look(available)
        if frames:
            return frames
        if until is None:
            return None
        if not wait:
            return []
        with self._turn:  # one waits, or all would wake for every frame
            while not frames and until is not None and self._pacer.until(until, idle):
                frames, until = self._look(available)
        return frames or None

    def _look(self, available: int) -> tuple[list[Frame], int | None]:
        """The batch that is taken now; none, and when to look again (ns); neither when the run is over."""
        with self._guard:
            while self._state.stopped in (None, _ENDED):
                self._arrive(available)
                now = self._now()
                over = not self._upcoming
                frames, until = self._batcher.take(now, self._buffers, over)
                if frames:
                    frames = [frame for frame in frames if self._read(frame)]
                elif over:
                    break
                elif self._read_waiting():
                    return [], min(until or NEVER, self._upcoming[0][0], now + NAP_NS)
                if frames:
                    return frames, None
            return [], None

    def _arrive(self, available: int) -> None:
        """Move frames that are due by now into their source's buffer."""
        now = self._now()
        while self._upcoming and self._upcoming[0][0] <= now:
            due, source, number = heapq.heappop(self._upcoming)
            self._buffers[source].append(Frame(next(self._numbers), source, due, available, -1, -1, -1))
            self._expect(source, number + 1)

    def _expect(self, source: int, number: int) -> None:
        due = self._arrivals[source].peek(number, self._state)
        if due is not None:
            heapq.heappush(self._upcoming, (due, source, number))

    def _read_waiting(self) -> bool:
        """Read the frames that wait; false when a source ended."""
        return all(self._read(frame) for buffer in self._buffers.values() for frame in buffer)

    def _read(self, frame: Frame) -> bool:
        """Read the picture of the frame unless it has one; false when its source ended, which ends the run."""
        if frame.captured < 0:
            frame.captured = self._now()
            frame.picture = self._sources[frame.source].read()
            frame.decoded = frame.queued = self._now()
        if frame.picture is None:
            self._end()
        return frame.picture is not None

    def _end(self) -> None:
        """End the reading; frames that were read are still delivered."""
        self._state.stop(_ENDED)
        self._upcoming.clear()
        for source, buffer in self._buffers.items():
            self._buffers[source] = deque(frame for frame in buffer if frame.picture is not None)
