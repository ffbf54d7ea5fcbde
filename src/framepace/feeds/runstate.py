"""The state of one run that its threads share: what was delivered, whether it is warm, whether it must stop.

A worker hardly ever waits for a lock to deliver: one that is held by a thread without the interpreter lock makes each
of the others give that up in turn, in every request from then on (a lock convoy).
"""

from __future__ import annotations

import threading
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from framepace.clock.system import Clock
from framepace.facts.trace import Stopped
from framepace.units import NS_PER_S
from framepace.video.frame import Frame

_DELIVERIES_KEPT = 65536  # a closed loop can look back on these; more than any concurrency
_UNCOUNTED = 8  # deliveries that another thread is left to count
_GRACE_NS = 3 * NS_PER_S  # on the time of a run, for a delivery to end it
_PATIENCE = 4  # the first measured request may take so many times as long as the slowest of the warm-up
_FIRST_FAILURES = 10  # that end a run in which nothing has succeeded
_LOOK_S = 0.25  # the longest a closed loop waits without looking whether the run was stopped


class StopRule(Protocol):
    """Decides from numbers alone when enough was measured."""

    def add(self, latency: int, now: int) -> bool:
        """Note a delivered frame (latency and time in ns); true when the run may end."""

    def ends_by(self, began: int) -> int | None:
        """When a run that began at `began` ends by time alone (ns); None if time does not end it."""


class BatchObserver(Protocol):
    """Learns what batches cost."""

    def end(self, frames: Sequence[Frame], now: int, failed: bool) -> None:
        """Note that a batch from the feed was delivered at `now` (ns), or failed."""


class SourceObserver(Protocol):
    """Learns which frames were delivered."""

    def end(self, frames: Sequence[Frame]) -> None:
        """Note that frames were delivered, or failed."""


class FrameObserver(Protocol):
    """Learns what became of frames."""

    def end(self, frames: Sequence[Frame], now: int, why: str) -> None:
        """Note that all models ran on frames, the last one by `now` (ns); `why` one failed, '' where none did."""


class RunState:
    """Counts deliveries, ends warm-up when `warm` says so, and the run when `rule` does or somebody calls `stop`.

    Without `warm` there is no warm-up; without `rule` the run goes on until it is stopped. Deliveries are numbered from
    0 in order of completion; closed loops wait for them on `clock`. `batches` is set by a feed whose batches depend on
    what earlier ones cost, `sources` by one whose frames wait for those before them, `frames` by who follows frames.
    """

    def __init__(self, clock: Clock, warm: StopRule | None = None, rule: StopRule | None = None) -> None:
        self.clock = clock
        self._warm = warm
        self._rule = rule
        self._done = clock.condition()
        self._uncounted: deque[tuple[int, int]] = deque()  # latency and time of deliveries that are not counted yet
        self._counting = threading.Lock()
        # Deliveries forgotten, and the times of those after them, read as one; a list would be five times as large.
        self._completions = (0, array("q"))
        self.warming = warm is not None
        self.stopped: Stopped | None = None
        self.measured = 0
        self.succeeded = False
        """Whether any inference has succeeded."""
        self._failures = 0
        self.batches: BatchObserver | None = None
        self.sources: SourceObserver | None = None
        self.frames: FrameObserver | None = None
        self._began: int | None = None
        self._warm_at: int | None = None
        self._slowest = 0
        self._serving = 0
        self._waiting = 0

    @property
    def begun(self) -> bool:
        """Whether the time of the run has begun (see `look`)."""
        return self._began is not None

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Inside, a worker may be in an inference."""
        with self._done:
            self._serving += 1
        try:
            yield
        finally:
            with self._done:
                self._serving -= 1

    @property
    def busy(self) -> bool:
        """Whether any worker is still serving."""
        return self._serving > 0

    @property
    def ends_by_time(self) -> bool:
        """Whether time alone ends the run at last (see `look`)."""
        return self._ends(0) is not None

    @property
    def deliveries(self) -> int:
        """How many frames were delivered, in warm-up too."""
        forgotten, times = self._completions
        return forgotten + len(times)

    def delivered(self, latency: int, now: int) -> None:
        """Note that a frame was delivered at `now` (ns) with `latency` ns.

        It is counted here, or by another thread that counts at the moment; one that is held up there is waited for when
        many wait to be counted, so that what they end is seen to end.
        """
        self._uncounted.append((latency, now))
        while self._uncounted and self._counting.acquire(blocking=len(self._uncounted) > _UNCOUNTED):
            try:
                self._count_all()
            finally:
                self._counting.release()
        if self._waiting:
            with self._done:
                self._done.notify_all()

    def _count_all(self) -> None:
        while self._uncounted:
            latency, now = self._uncounted.popleft()
            if self.warming:
                self._warm_up(latency, now)
            else:
                self.measured += 1
                if self._rule is not None and self._rule.add(latency, now):
                    self.stopped = self.stopped or "finished"
            self._remember(now)

    def _warm_up(self, latency: int, now: int) -> None:
        """Note a delivery of the warm-up."""
        self._slowest = max(self._slowest, latency)
        self.warming = self._warm is not None and not self._warm.add(latency, now)
        if not self.warming:
            self._warm_at = now

    def look(self, now: int) -> None:
        """End a run whose time is over though nothing is delivered; called by those who wait, at `now` (ns).

        The first call begins the time. A request in flight has a few seconds to end the run itself, and the first one
        after the warm-up as long as those of a slow model take.
        """
        if self._began is None:
            self._began = now
        ends = self._ends(self._began if self._warm_at is None else self._warm_at)
        if ends is not None and now >= ends + self._grace_ns:
            self.stop("finished")

    @property
    def _grace_ns(self) -> int:
        if self.measured:
            return _GRACE_NS
        return max(_GRACE_NS, _PATIENCE * self._slowest)

    def _ends(self, began: int) -> int | None:
        """When a run that began at `began` ends by time alone (ns)."""
        ends: int | None = began
        rules = [self._rule]
        if self.warming:
            rules = [self._warm, self._rule]
        for rule in rules:
            if rule is None or ends is None:
                return None
            ends = rule.ends_by(ends)
        return ends

    def failed(self) -> None:
        """Note a failed inference; a run whose first ones all fail ends."""
        self._failures += 1
        if not self.succeeded and self._failures >= _FIRST_FAILURES:
            self.stop("failed")

    def stop(self, reason: Stopped) -> None:
        """End the run after the requests in flight; the first reason stays.

        But Ctrl-C counts after the run's own end too: the steps after it are not wanted either.
        """
        ended_by_itself = self.stopped == "finished" and reason == "interrupted"
        if self.stopped is None or ended_by_itself:
            self.stopped = reason
        with self._done:
            self._done.notify_all()

    def completion(self, number: int) -> int | None:
        """When delivery `number` completed (ns), waiting for it; None when the run stops first."""
        completed = self.peek(number)
        if completed is not None:
            return completed
        with self._done:
            self._waiting += 1  # before looking again: whoever delivers after that look sees that somebody waits
            try:
                while (completed := self.peek(number)) is None and self.stopped is None:
                    self._done.wait(_LOOK_S)
            finally:
                self._waiting -= 1
        return completed

    def peek(self, number: int) -> int | None:
        """When delivery `number` completed (ns), without waiting; None when it has not."""
        forgotten, times = self._completions
        place = number - forgotten
        if place < len(times):
            return times[place]
        return None

    def _remember(self, now: int) -> None:
        forgotten, times = self._completions
        times.append(now)
        if len(times) > _DELIVERIES_KEPT:
            half = _DELIVERIES_KEPT // 2
            self._completions = (forgotten + half, times[half:])
