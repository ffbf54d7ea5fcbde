"""The smallest set of nodes to keep in FP32 so that a gate holds: a search that asks only whether a set fails.

What fails alone has to be kept, whatever else is. To that the nodes that cost most are added until the gate holds, and
then everything is taken away that is not needed (delta debugging, Zeller and Hildebrandt 2002), until leaving out any
one node breaks the gate.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

Fails = Callable[[frozenset[str]], bool]
"""Whether the gate breaks when these nodes stay in FP32 and all others are in the lower precision."""


@dataclass
class Search:
    """A search, and the best that it has so far: it may be interrupted at any time.

    `order` has all nodes, the one that costs most first. `best` is the smallest set for which the gate is known to
    hold, all nodes to begin with; `minimal` says that no node can be taken out of it.
    """

    order: Sequence[str]
    fails: Fails
    best: frozenset[str] = frozenset()
    minimal: bool = False
    tries: int = 0
    _answers: dict[frozenset[str], bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.best = frozenset(self.order)

    def run(self, needed: Collection[str] = ()) -> frozenset[str]:
        """The smallest set that was found; `needed` are nodes that fail alone."""
        if self._holds(frozenset()):
            self.minimal = True
            return self.best
        self._grow([name for name in self.order if name in needed])
        self._reduce()
        return self.best

    def _holds(self, kept: frozenset[str]) -> bool:
        """Whether the gate holds; if so, and the set is smaller, it is the best."""
        if kept not in self._answers:
            self.tries += 1
            self._answers[kept] = not self.fails(kept)
        holds = self._answers[kept]
        if holds and len(kept) < len(self.best):
            self.best = kept
        return holds

    def _grow(self, needed: Sequence[str]) -> None:
        """Add what costs most, twice as many nodes each time, and then as few of them as will do."""
        others = [name for name in self.order if name not in needed]
        too_few = -1
        count = 0
        while not self._holds(_with(needed, others[:count])):
            if count >= len(others):
                return  # not even all nodes: the best stays as it was
            too_few = count
            count = min(len(others), max(1, 2 * count))
        while count - too_few > 1:
            middle = (count + too_few) // 2
            if self._holds(_with(needed, others[:middle])):
                count = middle
            else:
                too_few = middle

    def _reduce(self) -> None:
        """Take out parts of the best set, ever smaller ones, the nodes that cost least first."""
        size = len(self.best) // 2
        while self.best:
            if not self._taken_out(max(1, size)) and size <= 1:
                break
            size = min(len(self.best), max(1, size)) // 2
        self.minimal = True

    def _taken_out(self, size: int) -> bool:
        """Whether a part of that many nodes could be taken out of the best set."""
        before = self.best
        cheapest_first = [name for name in reversed(self.order) if name in before]
        for first in range(0, len(cheapest_first), size):
            self._holds(self.best.difference(cheapest_first[first : first + size]))
        return self.best != before


def _with(needed: Sequence[str], others: Sequence[str]) -> frozenset[str]:
    return frozenset((*needed, *others))


def islands(kept: Collection[str], order: Sequence[str], links: Callable[[str], Collection[str]]) -> list[list[str]]:
    """The kept nodes in groups that hang together, each in the order of the graph.

    Args:
        kept: names of nodes.
        order: names in the order of the graph.
        links: the nodes that read what a node makes, directly or through what stays in FP32 with it.
    """
    groups: list[set[str]] = []
    for name in order:
        if name in kept:
            joined = {name, *(set(links(name)) & {*kept})}
            touching = [group for group in groups if group & joined]
            groups = [group for group in groups if not group & joined]
            groups.append(joined.union(*touching))
    return [[name for name in order if name in group] for group in groups]
