"""Bodies of requests while they arrive: kept in one buffer that grows with what came, or dropped."""

from __future__ import annotations

from typing import Protocol

_FIRST = 256 << 10  # bytes that are allocated on a client's word; then as many as came so far
_SINK = bytearray(256 << 10)  # where bytes go that nobody reads


class Body(Protocol):
    """A body that arrives.

    Attributes:
        missing: bytes that are still to come; where that is not known below 0, and lower with each that came.
    """

    missing: int

    def room(self) -> memoryview:
        """Where the next bytes are to be received, at most those that are missing."""
        ...

    def received(self, count: int) -> None:
        """So many bytes were received into `room`."""
        ...

    def add(self, part: bytes) -> None:
        """Take bytes that were received elsewhere."""
        ...


class KeptBody:
    """A body that is wanted; `data` once nothing is missing.

    Args:
        length: its bytes; None where the sender does not say (chunks), and they are only added.
    """

    __slots__ = ("_filled", "_length", "data", "missing")

    def __init__(self, length: int | None) -> None:
        self._length = length or 0
        self._filled = 0
        self.missing = -1 if length is None else length
        self.data = bytearray(min(self._length, _FIRST))

    def room(self) -> memoryview:
        """See Body."""
        if self._filled == len(self.data):
            self.data.extend(bytes(min(self.missing, self._filled)))
        return memoryview(self.data)[self._filled :]

    def received(self, count: int) -> None:
        """See Body."""
        self._filled += count
        self.missing -= count

    def add(self, part: bytes) -> None:
        """See Body."""
        if self.missing < 0:
            self.missing -= len(part)
            self.data += part
            return
        end = self._filled + len(part)
        self.data[self._filled : end] = part  # makes it longer where that is needed
        self.received(len(part))


class DroppedBody:
    """A body that nobody reads, since its request was refused."""

    __slots__ = ("missing",)

    def __init__(self, length: int | None) -> None:
        self.missing = -1 if length is None else length

    def room(self) -> memoryview:
        """See Body."""
        return memoryview(_SINK)[: self.missing]

    def received(self, count: int) -> None:
        """See Body."""
        self.missing -= count

    def add(self, part: bytes) -> None:
        """See Body."""
        self.missing -= len(part)
