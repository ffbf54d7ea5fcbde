"""The search for the nodes to keep in FP32, on some of the frames, and its check on the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from framepace.facts.accuracy import Agreement
from framepace.facts.mending import Mended, NetworkNode
from framepace.numerics.mend import Search, islands
from framepace.numerics.neighbours import followers
from framepace.numerics.ranking import Rank
from framepace.numerics.trials import Trials, worst_error
from framepace.progress import Tell

_SEARCH_FRAMES = 8  # of the frames, every other one; the others are held out
_MORE_SEARCHES = 3  # each with frames more, that the one before broke
_RANKED_FRAMES = 2  # on which nodes are ranked: which comes first only decides how long the search takes
_JOINED = 4  # frames that join at once, at most


@dataclass
class Mender:
    """The search for the nodes to keep, round by round; interrupted at any time it has a set that holds."""

    trials: Trials
    tell: Tell
    complete: bool = False

    def __post_init__(self) -> None:
        count = len(self.trials.inputs)
        self.searched = list(range(0, count, 2))[:_SEARCH_FRAMES]
        self.held_out = [frame for frame in range(count) if frame not in self.searched]
        self.kept: frozenset[str] = frozenset(self.names)
        self.minimal = False
        self.tries = 0
        self.search = Search(self.names, self._fails)
        self.tell("all nodes in lower precision", None)
        self.before = self.trials.agreement(self.names, range(count))

    @property
    def names(self) -> tuple[str, ...]:
        """All nodes that could be lowered."""
        return self.trials.network.names

    @property
    def kept_nodes(self) -> tuple[NetworkNode, ...]:
        """The nodes that stay in FP32, in the order of the graph."""
        return tuple(node for node in self.trials.network.nodes if node.name in self.kept)

    def run(self) -> None:
        """Search until the gate holds on frames that the search has not seen."""
        if self.before.passed or self.before.says_nothing:
            self.kept = frozenset()
            self.minimal = self.complete = True
            return
        self._search()
        for _ in range(_MORE_SEARCHES):
            broken = self._broken_frames()
            if not broken:
                break
            self.searched += broken
            self.held_out = [frame for frame in self.held_out if frame not in broken]
            self._search()
        self.complete = True

    def mended(self, subject: Mapping[str, Any], judges: Trials) -> Mended:
        """The result so far by the gate of `judges`; `subject` is what every result says first."""
        low = self._low(self.kept)
        before = self.before if judges is self.trials else judges.agreement(self.names, range(len(judges.inputs)))
        held_out = judges.agreement(low, self.held_out) if self.held_out else None
        return Mended(
            **subject,
            kept=self.kept_nodes,
            islands=tuple(map(tuple, self._islands())),
            nodes=len(self.names),
            before=before,
            searched=judges.agreement(low, self.searched),
            held_out=held_out,
            minimal=self.minimal,
            complete=self.complete,
            tries=self.tries,
        )

    def _search(self) -> None:
        ranking = Rank(self.trials, self.tell, self.searched, _RANKED_FRAMES, short=True)
        ranking.run()
        needed = {name for name in self.names if self._fails_alone(ranking, name)}
        self.search = search = Search(ranking.by_cost(), self._fails)
        try:
            search.run(needed)
        finally:
            self.kept = search.best
            self.minimal = search.minimal
            self.tries += search.tries
            self.trials.tried.keep()

    def _fails(self, kept: frozenset[str]) -> bool:
        holds = f", enough with {len(self.search.best)}" if self.search.best else ""
        self.tell(f"{len(kept)} of {len(self.names)} nodes kept in FP32{holds}", None)
        return self.trials.fails(self._low(kept), self.searched)

    def _fails_alone(self, ranking: Rank, name: str) -> bool:
        """Whether a node breaks the gate by itself; what a metric makes of an error is not known."""
        error = ranking.alone(name)
        return self.trials.metric is None and error is not None and ranking.limit is not None and error > ranking.limit

    def _low(self, kept: frozenset[str]) -> list[str]:
        return [name for name in self.names if name not in kept]

    def _broken_frames(self) -> list[int]:
        """Held-out frames that join the search; none where the gate holds on all of them together."""
        low = self._low(self.kept)
        if len(self.held_out) < 2 or not self.trials.fails(low, self.held_out):
            return []
        self.tell("frames that were held out join the search", None)
        return joining({frame: self.trials.agreement(low, [frame]) for frame in self.held_out})

    def _islands(self) -> Iterator[list[str]]:
        graph = self.trials.network.proto.graph
        after = followers(graph)
        order = [node.name for node in graph.node]
        yield from islands(self.kept, order, lambda name: after[name])


def joining(numbers: Mapping[int, Agreement]) -> list[int]:
    """Of frames with how far each agrees those on which the gate breaks, the worst first, and at most half of all.

    The frame with the largest error need not be one of them: another has another class for a smaller error. By a metric
    a frame may say nothing, which breaks nothing. Where no frame breaks the gate by itself all may join.
    """
    broken = [frame for frame in numbers if not (numbers[frame].passed or numbers[frame].says_nothing)]
    worst_first = sorted(broken or numbers, key=lambda frame: -worst_error(numbers[frame]))
    return worst_first[: min(_JOINED, len(numbers) // 2)]
