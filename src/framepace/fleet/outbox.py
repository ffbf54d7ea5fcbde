"""Results of an engine until the run has said that they arrived: numbered, kept, brought again when asked again."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace

from framepace.facts.running import Result, SinkStatus

_CAPACITY = 100_000  # results, for a run that does not ask for a while
_LINGER_S = 0.01  # for others that may travel in the same message


class Outbox:
    """A sink whose results are fetched. Any thread may call it."""

    wants_pictures = False

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._capacity = capacity
        self._changed = threading.Condition()
        self._kept: deque[Result] = deque()
        self._first = 0  # the number of the first that is kept
        self._lost = 0

    def start(self) -> None:
        """See Sink; nothing is opened."""

    def put(self, result: Result) -> None:
        """Keep a result, without its picture; the oldest goes where there are too many."""
        if result.picture is not None:
            result = replace(result, picture=None)
        with self._changed:
            self._kept.append(result)
            if len(self._kept) > self._capacity:
                self._kept.popleft()
                self._first += 1
                self._lost += 1
            self._changed.notify_all()

    def take(self, acknowledged: int, wait_s: float = 0.0) -> tuple[int, tuple[Result, ...]]:
        """The results from number `acknowledged` on, and the number of the first; those before are forgotten.

        Waits for so long where there is none, and a little for others that come with the first.
        """
        with self._changed:
            self._forget(acknowledged)
            if self._changed.wait_for(lambda: bool(self._kept), wait_s) and wait_s:
                self._changed.wait_for(lambda: False, min(_LINGER_S, wait_s))
            return self._first, tuple(self._kept)

    def status(self) -> SinkStatus:
        """See Sink."""
        with self._changed:
            return SinkStatus(name="run", written=self._first, dropped=self._lost, failed=0, waiting=len(self._kept))

    def close(self) -> SinkStatus:
        """See Sink; what is kept can still be fetched."""
        return self.status()

    def _forget(self, acknowledged: int) -> None:
        while self._kept and self._first < acknowledged:
            self._kept.popleft()
            self._first += 1
