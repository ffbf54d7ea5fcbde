"""The bounded queue between cameras and a sink: every item is written, dropped, failed or waiting. Pure."""

from __future__ import annotations

from collections import deque
from typing import Generic, Literal, TypeVar

DropPolicy = Literal["oldest", "newest"]
"""What goes when a queue is full: the item that waited longest, or the one that comes."""

_T = TypeVar("_T")


class BoundedQueue(Generic[_T]):
    """Items in their order, at most `capacity` of them beside the batch that is being written.

    A batch that was taken is answered for by `wrote`, `failed` or `give_back` before the next is taken. Not
    thread-safe.
    """

    def __init__(self, capacity: int, drop: DropPolicy = "oldest") -> None:
        self.written = 0
        self.dropped = 0
        self.lost = 0
        self._capacity = capacity
        self._drop = drop
        self._queued: deque[_T] = deque()
        self._taken: list[_T] = []
        self._ended = False

    def __len__(self) -> int:
        return len(self._queued)

    @property
    def waiting(self) -> int:
        """How many are queued or being written."""
        return len(self._queued) + len(self._taken)

    def put(self, item: _T) -> None:
        """Queue an item; where that is one too many, one is dropped. After `end` it is the item itself."""
        if self._ended or (self._drop == "newest" and len(self._queued) >= self._capacity):
            self.dropped += 1
            return
        self._queued.append(item)
        self._trim()

    def take(self, limit: int) -> list[_T]:
        """The next items, at most `limit`, oldest first."""
        count = min(limit, len(self._queued))
        self._taken = [self._queued.popleft() for _ in range(count)]
        return self._taken

    def wrote(self) -> None:
        """The batch that was taken is written."""
        self.written += len(self._taken)
        self._taken = []

    def failed(self) -> None:
        """The batch that was taken never will be written."""
        self.lost += len(self._taken)
        self._taken = []

    def give_back(self) -> None:
        """The batch that was taken waits again, before all others."""
        self._queued.extendleft(reversed(self._taken))
        self._taken = []
        self._trim()

    def end(self) -> None:
        """Drop what is queued and count what is being written as failed, whatever becomes of it."""
        self._ended = True
        self.failed()
        self.dropped += len(self._queued)
        self._queued.clear()

    def _trim(self) -> None:
        while len(self._queued) > self._capacity:
            if self._drop == "oldest":
                self._queued.popleft()
            else:
                self._queued.pop()
            self.dropped += 1
