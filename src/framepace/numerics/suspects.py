"""Which nodes are worth keeping in FP32: groups of neighbours in the lower precision, the costliest divided further.

A ranking tries all groups and then all nodes of those that cost something. Here the group that costs most is divided
into parts, then the one that costs most of what there is now, until what is not divided adds up to little. Where few
nodes are to blame that takes a few runs for each of them; where all are, about a third more than there are nodes.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from framepace.numerics.ranking import DEFAULT_LIMIT, about
from framepace.numerics.trials import Trials
from framepace.progress import Tell

_PARTS = 4  # into which a group is divided
_LITTLE = 0.5  # of what the gate allows: errors of groups add up as squares do, about

Group = tuple[str, ...]


@dataclass
class Suspects:
    """What nodes cost, as far as it is known: the most that each does on one of the frames that were sifted."""

    trials: Trials
    tell: Tell
    frames: list[int] = field(default_factory=list)
    costs: dict[str, float] = field(default_factory=dict)
    alone: dict[str, float] = field(default_factory=dict)  # of nodes that were tried by themselves

    def sift(self, frame: int) -> None:
        """Divide groups on one frame, the costliest first; what was tried by then counts if it is interrupted."""
        self.frames.append(frame)
        names = self.trials.network.names
        undivided = [(-math.inf, 0, names)]
        while undivided and not self._is_little(undivided):
            _, first, group = heapq.heappop(undivided)
            for start, part in _parts(first, group):
                error = self._tried(part, frame)
                if len(part) > 1:
                    heapq.heappush(undivided, (-error, start, part))

    def by_cost(self) -> list[str]:
        """All names, the node that costs most first, of nodes that cost about as much the one that comes first."""
        return sorted(self.trials.network.names, key=lambda name: -about(self.costs.get(name, 0.0)))

    def likely(self, order: Sequence[str]) -> int:
        """How many of the first nodes have to be kept, if errors of the others add up as squares do."""
        return _worth_a_look([self.costs.get(name, 0.0) for name in order], self._limit)

    @property
    def _limit(self) -> float:
        return self.trials.gate.relative_l2 or DEFAULT_LIMIT

    def _tried(self, group: Group, frame: int) -> float:
        """The error with a group in lower precision, on a frame; its nodes cost a part of it, until they are tried."""
        others = f" and {len(group) - 1} more" if len(group) > 1 else ""
        self.tell(f"{group[0]}{others} in lower precision", None)
        error = self.trials.error(group, [frame])
        for name in group:
            self.costs[name] = max(error / len(group), self._of_others(name))
        if len(group) == 1:
            self.alone[group[0]] = max(error, self.alone.get(group[0], 0.0))
        return error

    def _of_others(self, name: str) -> float:
        """What a node costs by itself on frames before this one."""
        return self.alone.get(name, 0.0)

    def _is_little(self, undivided: Sequence[tuple[float, int, Group]]) -> bool:
        """Whether the groups that are left add up to little of what the gate allows."""
        errors = sorted((-error for error, _, _ in undivided), reverse=True)
        return not _worth_a_look(errors, _LITTLE * self._limit)


def _parts(first: int, group: Group) -> Iterator[tuple[int, Group]]:
    """A group in parts, each with the place of its first node in the graph."""
    size = -(-len(group) // _PARTS)
    for start in range(0, len(group), size):
        yield first + start, group[start : start + size]


def _worth_a_look(errors: Sequence[float], little: float) -> int:
    """How many of some errors, the largest first, come before those whose squares add up to that of `little`."""
    squares = 0.0
    for count in range(len(errors), 0, -1):
        squares += errors[count - 1] ** 2
        if squares > little**2:
            return count
    return 0
