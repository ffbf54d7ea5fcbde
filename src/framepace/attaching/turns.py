"""Arms that take turns within one run of a program: which settings hold in which block of time. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from framepace.facts.trace import Column, Trace

TURNS_VARIABLE = "FRAMEPACE_TURNS"
_SETTLING = 0.15  # of a block, at its begin, whose frames count for nothing
_LEAVING = 0.05  # the same at its end: such a frame may end in the next block
_FEWEST_FRAMES = 8  # of a block that counts
_FEWEST_SAMPLES = 6  # of the CPU time, over a tenth of a second: in less it is told too coarsely to compare
Settings = Mapping[str, str]


@dataclass(frozen=True)
class Turns:
    """The arms, of which the first is the program as it is, the length of a block, and when block 0 began (ns).

    A round is a block of each arm; every second one goes backwards, so that a drift of the machine falls on all alike.
    """

    arms: tuple[Settings, ...]
    block_ns: int
    begin_ns: int = 0

    @property
    def order(self) -> tuple[int, ...]:
        """The arms of two rounds; then the same again."""
        places = tuple(range(len(self.arms)))
        return places + places[::-1]

    def variables(self) -> dict[str, str]:
        """The environment that brings the turns into a program."""
        arms = [dict(arm) for arm in self.arms]
        facts = {"arms": arms, "order": self.order, "block_ns": self.block_ns, "begin_ns": self.begin_ns}
        return {TURNS_VARIABLE: json.dumps(facts)}

    def with_setting(self, name: str) -> tuple[bool, ...]:
        """In which blocks of two rounds a setting is on."""
        return tuple(name in self.arms[place] for place in self.order)

    def rounds(self, trace: Trace) -> Iterator[list[Trace | None]]:
        """The blocks of each round that was begun, by arm; None for one with too few frames."""
        due = trace.requests["due"]
        if not len(due):
            return
        first, last = (int(time - self.begin_ns) // self.block_ns for time in (due.min(), due.max()))
        count = len(self.arms)
        for number in range(first // count, last // count + 1):
            blocks = [self._block(trace, number * count + place) for place in range(count)]
            yield blocks[::-1] if number % 2 else blocks

    def _block(self, trace: Trace, number: int) -> Trace | None:
        """What was measured in a block, once the settings had settled."""
        begin = self.begin_ns + int((number + _SETTLING) * self.block_ns)
        end = self.begin_ns + int((number + 1 - _LEAVING) * self.block_ns)
        due = trace.requests["due"]
        frames = trace.where((due >= begin) & (due < end))
        if len(frames.measured()) < _FEWEST_FRAMES:
            return None
        return Trace(frames.meta, frames.requests, _between(trace.telemetry, begin, end))


def of_frames(trace: Trace) -> Trace:
    """A whole run with the telemetry of its measured frames alone: what a program takes to start is none of theirs."""
    rows = trace.measured().requests
    if not len(rows["due"]):
        return trace
    telemetry = _between(trace.telemetry, int(rows["due"].min()), int(rows["delivered"].max()))
    return Trace(trace.meta, trace.requests, telemetry)


def _between(telemetry: Mapping[str, Column], begin: int, end: int) -> dict[str, Column]:
    """The samples of a span; none where they are too few to say anything."""
    chosen = (telemetry["time"] >= begin) & (telemetry["time"] < end)
    if (chosen & (telemetry["device"] < 0)).sum() < _FEWEST_SAMPLES:
        chosen[:] = False
    return {name: column[chosen] for name, column in telemetry.items()}
