"""Which settings are tried in blocks of one run, how long those are, and which whole runs come when. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from framepace.units import NS_PER_S

ROUNDS = 8  # whole runs of each setting
FIRST_BLOCKS = 12  # of each setting, in the first run; how many more it takes is told by those
_FEWEST_ROUNDS = 4
_FRAMES = 15  # of a block: the shorter the blocks, the more pairs a time holds, and the surer their spread is known
_SHORTEST_S = 0.5
_LONGEST_S = 8.0
_SHORTEST_RUN = 4.0  # blocks: how long a whole run is at least
BLOCK_SHARE = 0.5  # of the time that is left, for blocks where whole runs come after them
FIRST_SHARE = 0.25  # of the time limit, after which a first run without an end is ended
FIRST_LONGEST_S = 30.0  # after which it is, however long the limit
_Turn = TypeVar("_Turn")


@dataclass(frozen=True)
class FirstRun:
    """How long a program ran (s), how long of it to its first inference, the time from frame to frame, how it ended."""

    seconds: float
    starting: float
    period: float
    by_itself: bool

    @property
    def running(self) -> float:
        """From the first inference on; without an end where it was ended."""
        return self.seconds - self.starting if self.by_itself else math.inf

    @property
    def block_s(self) -> float:
        """The length of a block."""
        return min(_LONGEST_S, max(_SHORTEST_S, _FRAMES * self.period))


@dataclass(frozen=True)
class BlockRun:
    """A run in which settings take turns: the length of a block, and of the run from its first inference on; s."""

    block_s: float
    seconds: float

    @property
    def block_ns(self) -> int:
        """The same in ns."""
        return int(self.block_s * NS_PER_S)


def holds_blocks(first: FirstRun, settings: int) -> bool:
    """Whether a run is long enough for two rounds of blocks, one of which goes backwards."""
    return first.running >= 2 * (1 + settings) * first.block_s


def block_run(first: FirstRun, settings: int, rounds_left: int, left_s: float, runs_after: bool) -> BlockRun | None:
    """The run for so many settings, in the time that is left; None where that is too short for a verdict.

    Args:
        rounds_left: that are still wanted of each.
        runs_after: whether whole runs of other settings come after it.
    """
    time_s = left_s * BLOCK_SHARE if runs_after else left_s
    round_s = (1 + settings) * first.block_s
    rounds = int(time_s / round_s) - 1  # one is not whole
    if rounds < min(_FEWEST_ROUNDS, rounds_left):
        return None
    return BlockRun(first.block_s, (1 + min(rounds, rounds_left)) * round_s)


def run_seconds(first: FirstRun, settings: int, left_s: float) -> float | None:
    """How long a program without an end is run whole, from its first inference on: the fewest rounds must have time."""
    if first.by_itself:
        return None
    fair = left_s / (_FEWEST_ROUNDS + 1) / (1 + settings)
    return min(first.seconds - first.starting, max(fair - first.starting, _SHORTEST_RUN * first.block_s))


def run_cost_s(first: FirstRun) -> float:
    """The shortest that a whole run takes, its start included."""
    return first.seconds if first.by_itself else first.starting + _SHORTEST_RUN * first.block_s


def in_turn(turns: Sequence[_Turn], round_number: int) -> list[_Turn]:
    """The order of a round: every second one goes backwards, so that a drift of the machine falls on all alike."""
    return list(reversed(turns)) if round_number % 2 else list(turns)
