"""Which waiting frames are discarded, and why. Pure: frames and times in, frames and causes out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from framepace.facts.plan import SourcePolicy
from framepace.facts.trace import DropCause
from framepace.units import NS_PER_MS
from framepace.video.frame import Frame

Discarded = tuple[Frame, int]
"""A frame that was removed from its buffer, and the code of the cause (`facts.trace.DropCause`)."""


@dataclass(frozen=True)
class DropRule:
    """What a source's buffer does when it is full, and how old a frame may get in it.

    `room` is the number of frames in a buffer. With `waits` a full one holds up its source, otherwise its oldest frames
    give way. Frames that were due more than `age` ns ago are discarded; None: at no age.
    """

    room: int
    waits: bool
    age: float | None = None

    def is_full(self, buffer: deque[Frame]) -> bool:
        """Whether there is no room for another frame."""
        return len(buffer) >= self.room

    def make_room(self, buffer: deque[Frame]) -> Iterator[Discarded]:
        """Remove the frames that give way to the next one."""
        while not self.waits and self.is_full(buffer):
            yield buffer.popleft(), DropCause.BUFFER_FULL

    def discard_stale(self, buffer: deque[Frame], now: int) -> Iterator[Discarded]:
        """Remove the frames that are too old at `now` (ns)."""
        if self.age is None:
            return
        while buffer and buffer[0].due < now - self.age:
            yield buffer.popleft(), DropCause.STALE


def drop_rule(policy: SourcePolicy) -> DropRule:
    """The rule that a plan's policy asks for."""
    age = None if policy.stale_ms is None else policy.stale_ms * NS_PER_MS
    return DropRule(policy.buffer, policy.drop == "never", age)
