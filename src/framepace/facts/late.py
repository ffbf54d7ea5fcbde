"""The account of the late frames: which they are, what grew in them, and what they coincide with."""

from __future__ import annotations

from typing import Literal

from framepace.facts.base import Fact

Chosen = Literal["over the budget", "far over the median", "slowest 5 %"]
WAITING = ("backlog", "hand-over", "queue")
"""Stages in which a frame waits for others."""
NOT_LOGGED = "not logged"
"""The stage of a log that holds what its own stages leave of the latency."""
Pattern = Literal["every nth frame", "bursts", "single frames"]


class Growth(Fact, frozen=True, kw_only=True):
    """A stage of the late frames: its mean there and in the other frames, ns; `share` of what late frames take more."""

    stage: str
    late: float
    other: float
    share: float

    @property
    def more(self) -> float:
        """What late frames take more in this stage, ns."""
        return self.late - self.other


class Receipt(Fact, frozen=True, kw_only=True):
    """What one late or dropped frame was late for: the stage that took most more than usual, and what coincided.

    `frame` is its number, `late` the latency (0 where it was never delivered) and `more` what the stage took beyond its
    median in frames that were not late, ns. `waited_for` is the frame that its worker was busy with, None for none.
    """

    frame: int
    source: int
    late: float
    stage: str
    more: float
    cause: str
    waited_for: int | None = None


class LateFrames(Fact, frozen=True, kw_only=True):
    """The late frames of a run against the others.

    `chosen` says which count as late, `share` is their part of all frames, `more` what they take more, ns. `stages` are
    those that grew, the largest growth first. `every` is n of 'every nth frame', or how many frames apart bursts begin
    (0: at no fixed distance), `burst` the mean length of runs of late frames. `slow_every` is n where every nth frame
    is slow in the first stage of `working`, though others are late as well. `sources` and `coincides` count late frames
    by camera and by what happened at the same time.
    """

    chosen: Chosen
    count: int
    share: float
    more: float
    stages: tuple[Growth, ...]
    pattern: Pattern
    every: int = 0
    slow_every: int = 0
    burst: float = 1.0
    sources: dict[str, int] = {}
    coincides: dict[str, int] = {}

    @property
    def working(self) -> tuple[Growth, ...]:
        """The stages that grew and are no waiting for earlier frames: what a queue of late frames stands behind."""
        return tuple(growth for growth in self.stages if growth.stage not in WAITING)
