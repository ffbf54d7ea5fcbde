"""The smallest set of nodes to keep in FP32 so that a gate holds: a search that asks only whether a set fails.

What fails alone has to be kept, whatever else is. To that the nodes that cost most are added until the gate holds, and
then everything is taken away that is not needed, ever larger parts as long as that goes well (as in delta debugging,
Zeller and Hildebrandt 2002). A node whose absence breaks the gate is not tried again: without others it breaks it, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

_SMALL = 24  # nodes that may all be kept: what is left of a small network may still be worth it

Fails = Callable[[frozenset[str]], bool]
"""Whether the gate breaks when these nodes stay in FP32 and all others are in the lower precision."""


@dataclass
class Search:
    """A search, and the best that it has so far: it may be interrupted at any time.

    `order` has all nodes, the one that costs most first. `best` is the smallest set for which the gate is known to
    hold, all nodes to begin with; `minimal` says that no node can be taken out of it. `reached` is the largest set of
    those nodes that was tried and failed. Half of the nodes are kept at most (all of a small network).
    """

    order: Sequence[str]
    fails: Fails
    best: frozenset[str] = frozenset()
    reached: frozenset[str] = frozenset()
    minimal: bool = False
    tries: int = 0
    _answers: dict[frozenset[str], bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.best = frozenset(self.order)

    def run(self, needed: Collection[str] = (), likely: int = 0) -> bool:
        """Whether a set was found, the `best`.

        Args:
            needed: nodes that fail alone, or that are known to be kept.
            likely: how many nodes of the order are expected to do: the first that are tried.
        """
        if self._holds(frozenset()):
            self.minimal = True
            return True
        first = [name for name in self.order if name in needed][: self.most]
        others = [name for name in self.order if name not in first]
        if not self._grow(first, others, max(0, likely - len(first))):
            return False
        self._reduce()
        return True

    @property
    def most(self) -> int:
        """How many nodes are kept at most: with more the lower precision is not worth it."""
        return max(len(self.order) // 2, min(len(self.order), _SMALL))

    def _holds(self, kept: frozenset[str]) -> bool:
        """Whether the gate holds; if so, and the set is smaller, it is the best."""
        if kept not in self._answers:
            self.tries += 1
            self._answers[kept] = not self.fails(kept)
        holds = self._answers[kept]
        if holds and len(kept) < len(self.best):
            self.best = kept
        if not holds and len(kept) > len(self.reached):
            self.reached = kept
        return holds

    def _grow(self, first: Sequence[str], others: Sequence[str], likely: int) -> bool:
        """Add what costs most, ever more nodes, until the gate holds; then as few of them as will do."""
        room = max(0, self.most - len(first))
        count = min(likely, room)
        too_few = -1
        step = 1
        while not self._holds(_with(first, others[:count])):
            if count >= room:
                return False
            too_few = count
            count = min(room, count + step)
            step *= 2
        self._narrow(first, others, too_few, count)
        return True

    def _narrow(self, first: Sequence[str], others: Sequence[str], too_few: int, enough: int) -> None:
        """The smallest number of the costliest nodes that is enough, by halving."""
        while enough - too_few > 1:
            middle = (enough + too_few) // 2
            if self._holds(_with(first, others[:middle])):
                enough = middle
            else:
                too_few = middle

    def _reduce(self) -> None:
        """Take nodes out of the best set, those that cost least first."""
        waiting = [name for name in reversed(self.order) if name in self.best]
        size = 1
        while waiting:
            part = waiting[:size]
            if self._holds(self.best.difference(part)):
                waiting = waiting[len(part) :]
                size = 2 * len(part)
            elif len(part) > 1:
                size = len(part) // 2
            else:
                waiting = waiting[1:]
        self.minimal = True


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
