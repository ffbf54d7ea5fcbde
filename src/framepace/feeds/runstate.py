"""The state of one run that its threads share: what was delivered, whether it is warm, whether it must stop."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Protocol

from framepace.clock.system import Clock
from framepace.facts.trace import Stopped
from framepace.video.frame import Frame

_KEPT = 65536  # deliveries a closed loop can look back on; more than any concurrency


class StopRule(Protocol):
    """Decides from numbers alone when enough was measured."""

    def add(self, latency: int, now: int) -> bool:
        """Note a delivered frame (latency and time in ns); true when the run may end."""


class Batches(Protocol):
    """Wants to know what batches cost."""

    def end(self, frames: Sequence[Frame], now: int, failed: bool) -> None:
        """Note that a batch that a feed gave was delivered at `now` (ns), or failed."""


class RunState:
    """Counts deliveries, ends warm-up when `warm` says so, and the run when `rule` does or somebody calls `stop`.

    Deliveries are numbered from 0 in order of completion; closed loops wait on them, on the clock if it is virtual.
    `batches` is set by a feed that gathers by what batches cost.
    """

    def __init__(self, warm: StopRule, rule: StopRule, clock: Clock | None = None) -> None:
        self._warm, self._rule = warm, rule
        self._done: Any = getattr(clock, "condition", threading.Condition)()
        self._completions: list[int] = []
        self._forgotten = 0
        self.warming = True
        self.stopped: Stopped | None = None
        self.measured = 0
        self.batches: Batches | None = None

    def delivered(self, latency: int, now: int) -> None:
        """Note that a frame was delivered at `now` (ns) with `latency` ns."""
        with self._done:
            self._remember(now)
            if self.warming:
                self.warming = not self._warm.add(latency, now)
            else:
                self.measured += 1
                if self._rule.add(latency, now):
                    self.stopped = self.stopped or "finished"
            self._done.notify_all()

    def stop(self, reason: Stopped) -> None:
        """End the run after the requests in flight; the first reason stays.

        But Ctrl-C counts after the run's own end too: what follows it is not wanted either.
        """
        own_end = self.stopped == "finished" and reason == "interrupted"
        self.stopped = reason if self.stopped is None or own_end else self.stopped
        with self._done:
            self._done.notify_all()

    def completion(self, number: int) -> int | None:
        """When delivery `number` completed (ns), waiting for it; None when the run stops first."""
        with self._done:
            while self._forgotten + len(self._completions) <= number:
                if self.stopped is not None:
                    return None
                self._done.wait(0.25)
            return self._completions[number - self._forgotten]

    def peek(self, number: int) -> int | None:
        """When delivery `number` completed (ns), without waiting; None when it has not."""
        with self._done:
            place = number - self._forgotten
            return self._completions[place] if place < len(self._completions) else None

    def _remember(self, now: int) -> None:
        self._completions.append(now)
        if len(self._completions) > _KEPT:
            del self._completions[: _KEPT // 2]
            self._forgotten += _KEPT // 2
