"""Arrivals: when frames are due, one source at a time or all of them in turn.

Loads (measure/load.py) are arrivals made for measuring; this module has the others that feeds need.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from framepace.feeds.runstate import RunState


class Arrivals(Protocol):
    """When frames are due. A `bulk` load brings whole batches: all frames of a batch are due together."""

    bulk: bool

    def due(self, number: int, state: RunState) -> int | None:
        """Due time (ns) of frame `number`; waits where that depends on a delivery; None when there is no more."""

    def peek(self, number: int, state: RunState) -> int | None:
        """Due time (ns) of frame `number` without waiting; None when it is not known yet, or there is no more."""


class Lane:
    """A share of arrivals that are counted over several: its frame k is arrival k * of + index."""

    def __init__(self, arrivals: Arrivals, index: int, of: int) -> None:
        self._arrivals = arrivals
        self._index = index
        self._of = of
        self.bulk = arrivals.bulk

    def due(self, number: int, state: RunState) -> int | None:
        """See Arrivals."""
        return self._arrivals.due(number * self._of + self._index, state)

    def peek(self, number: int, state: RunState) -> int | None:
        """See Arrivals."""
        return self._arrivals.peek(number * self._of + self._index, state)


class Interleaved:
    """Several sources taken in turn by one feed: arrival n is frame n // sources of source n % sources."""

    def __init__(self, parts: Sequence[Arrivals]) -> None:
        self._parts = parts
        self.bulk = parts[0].bulk

    def due(self, number: int, state: RunState) -> int | None:
        """See Arrivals."""
        frame, source = divmod(number, len(self._parts))
        return self._parts[source].due(frame, state)

    def peek(self, number: int, state: RunState) -> int | None:
        """See Arrivals."""
        frame, source = divmod(number, len(self._parts))
        return self._parts[source].peek(frame, state)
