"""Deadline-aware batching at work: what waits, what is in flight, what it cost; and the feed that reads in the worker.

The decisions are those of `exec.batcher`; here is what they need to be told.
"""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Sequence
from itertools import count, islice
from typing import Literal, NamedTuple

from framepace.feeds.batchcosts import BatchCosts
from framepace.feeds.batchrules import NEVER, DeadlineRule, in_order
from framepace.feeds.feed import Arrivals, PictureSource
from framepace.feeds.pacer import Idle, Pacer
from framepace.units import NS_PER_MS
from framepace.video.frame import Frame

_NAP_NS = 500 * NS_PER_MS  # the longest a worker waits without looking again
_ENDED: Literal["source ended"] = "source ended"


class _Flight(NamedTuple):
    """A batch that was taken and is not delivered yet; `overlap` is that of the run when it was taken."""

    size: int
    began: int
    ends: int
    overlap: float


class DeadlineBatcher:
    """Gathers the batches of one run: `costs` and the batches in flight are shared by all its workers.

    A frame stays in its source's buffer until a worker takes it, so a batch grows up to that moment. Callers hold one
    lock around `take`; `end` is called by the worker that delivered.
    """

    def __init__(self, rule: DeadlineRule, sources: int, costs: BatchCosts | None = None) -> None:
        self.rule, self.costs = rule, costs or BatchCosts()
        self._turns, self._given = [0] * sources, 0
        self._flights: dict[int, _Flight] = {}
        self._overlap, self._at = 0.0, 0
        self._lock = threading.Lock()

    def take(self, now: int, buffers: Sequence[deque[Frame]], must: bool) -> tuple[list[Frame], int | None]:
        """The frames that go now, removed from their buffers; none, and until when (ns) they wait, if they may grow.

        With `must` they do not wait: nothing more can come.
        """
        # More of one source than a batch holds changes nothing.
        waiting = [[frame.due for frame in islice(buffer, self.rule.size)] for buffer in buffers]
        dues = [due for queue in waiting for due in queue]
        if not dues:
            return [], None
        with self._lock:
            flying, free = len(self._flights), min((f.ends for f in self._flights.values()), default=now)
            until = None if must else self.rule.waits_until(now, dues, self.costs, flying, free)
            if until is not None:
                return [], until
            frames = [buffers[source].popleft() for source in self._chosen(now, waiting, flying)]
            self._pass(now)
            ends = now + self.costs.cost(len(frames), flying)
            self._flights[frames[0].number] = _Flight(len(frames), now, ends, self._overlap)
        return frames, None

    def end(self, frames: Sequence[Frame], now: int, failed: bool) -> None:
        """The batch that begins with the first of `frames` was delivered at `now`, or failed."""
        with self._lock:
            self._pass(now)
            flight = self._flights.pop(frames[0].number, None)
            if flight is not None and now > flight.began and not failed:
                self.costs.add(flight.size, now - flight.began, self._overlap - flight.overlap)

    def _pass(self, now: int) -> None:
        """Count the time in which several were in flight."""
        flying = len(self._flights)
        if flying > 1 and now > self._at:
            self._overlap += (now - self._at) * (flying - 1) / flying
        self._at = max(now, self._at)

    def _chosen(self, now: int, waiting: Sequence[Sequence[int]], flying: int) -> list[int]:
        """The sources whose next frames are taken, in order."""
        rule, late = self.rule, self.rule.late(now, self.costs, flying)
        order = in_order(waiting, rule.size, late, self._turns, self._given)
        sources = [source for _, source in order[: rule.takes(now, [due for due, _ in order], self.costs, flying)]]
        for source in sources:
            self._given += 1
            self._turns[source] = self._given
        return sources


class DeadlineFeed:
    """Workers read the sources themselves, and take frames of all of them by deadline.

    A worker that is free waits for the next due time, reads the picture and lets it wait for company; several workers
    do so one at a time. A frame that became due while none was free is read when it is taken.
    """

    def __init__(
        self, sources: Sequence[PictureSource], arrivals: Sequence[Arrivals], batcher: DeadlineBatcher, pacer: Pacer
    ) -> None:
        self._sources, self._arrivals, self._batcher, self._pacer = sources, arrivals, batcher, pacer
        self._now, self._state, self._numbers = pacer.clock.now, pacer.state, count()
        lock = pacer.clock.lock
        self._turn, self._guard = lock(), lock()
        self._buffers: list[deque[Frame]] = [deque() for _ in sources]
        self._upcoming: list[tuple[int, int, int]] = []
        for source in range(len(sources)):
            self._expect(source, 0)

    def take(self, idle: Idle | None, wait: bool = True) -> list[Frame] | None:
        """See Feed."""
        available = self._now()
        frames, until = self._look(available)
        if frames or until is None or not wait:
            return frames or (None if until is None else [])
        with self._turn:  # one waits, or all would wake for every frame
            while not frames and until is not None and self._pacer.until(until, idle):
                frames, until = self._look(available)
        return frames or None

    def close(self) -> None:
        """Nothing to stop."""

    def _look(self, available: int) -> tuple[list[Frame], int | None]:
        """The batch that is taken now; none, and when to look again (ns); neither when the run is over."""
        with self._guard:
            while self._state.stopped in (None, _ENDED):
                self._arrive(available)
                now, must = self._now(), not self._upcoming
                frames, until = self._batcher.take(now, self._buffers, must)
                if frames:
                    frames = [frame for frame in frames if self._read(frame)]
                elif must:
                    break
                elif self._read_all():
                    return [], min(until or NEVER, self._upcoming[0][0], now + _NAP_NS)
                if frames:
                    return frames, None
            return [], None

    def _arrive(self, available: int) -> None:
        """What is due by now waits in its source's buffer."""
        now = self._now()
        while self._upcoming and self._upcoming[0][0] <= now:
            due, source, number = heapq.heappop(self._upcoming)
            self._buffers[source].append(Frame(next(self._numbers), source, due, available, -1, -1, -1))
            self._expect(source, number + 1)

    def _expect(self, source: int, number: int) -> None:
        due = self._arrivals[source].peek(number, self._state)
        if due is not None:
            heapq.heappush(self._upcoming, (due, source, number))

    def _read_all(self) -> bool:
        """Whether all that wait have their pictures."""
        return all(self._read(frame) for buffer in self._buffers for frame in buffer)

    def _read(self, frame: Frame) -> bool:
        """Whether the frame has its picture, which is read now if it was not; a source that ends, ends the run."""
        if frame.captured < 0:
            frame.captured = self._now()
            frame.picture = self._sources[frame.source].read()
            frame.decoded = frame.queued = self._now()
        if frame.picture is None:
            self._end()
        return frame.picture is not None

    def _end(self) -> None:
        """What was read is still delivered."""
        self._state.stop(_ENDED)
        self._upcoming.clear()
        self._buffers = [deque(frame for frame in buffer if frame.picture is not None) for buffer in self._buffers]
