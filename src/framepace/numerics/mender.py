"""The search for the nodes to keep in FP32, on some of the frames, and its check on the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from framepace.facts.accuracy import Agreement, Gate
from framepace.facts.mending import Mended, NetworkNode
from framepace.numerics.deadline import Deadline, TimeIsUp
from framepace.numerics.mend import Search, islands
from framepace.numerics.neighbours import followers
from framepace.numerics.suspects import Suspects
from framepace.numerics.trials import Trials, worst_error
from framepace.progress import Tell

_SEARCH_FRAMES = 8  # of the frames, every other one; the others are held out
_MORE_SEARCHES = 3  # each with frames more, that the one before broke
_JOINED = 4  # frames that join at once, at most


@dataclass
class Mender:
    """The search for the nodes to keep, round by round; interrupted at any time it has a set that holds.

    `refused`: not even half of the nodes in FP32, those that cost most, are enough, or none was found in the time.
    """

    trials: Trials
    tell: Tell
    limit: Deadline | None = None
    complete: bool = False
    out_of_time: bool = False
    refused: bool = False

    def __post_init__(self) -> None:
        count = len(self.trials.inputs)
        self.searched = list(range(0, count, 2))[:_SEARCH_FRAMES]
        self.held_out = [frame for frame in range(count) if frame not in self.searched]
        self.kept: frozenset[str] = frozenset(self.names)
        self.reached: frozenset[str] = frozenset()  # the largest set that was not enough
        self.found = False
        self.minimal = False
        self.tries = 0
        self.search = Search(self.names, self._fails)
        self.suspects = Suspects(self.trials, self.tell)
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

    def run(self, gate: Gate) -> None:
        """Search until a gate holds on frames that the search has not seen; from what is kept by now, if it was run."""
        self.trials.gate = gate
        self.trials.limit = self.limit
        self.complete = False
        try:
            self._run()
        except TimeIsUp:
            self.out_of_time = True
            self.refused = not self.found
        finally:
            self.trials.limit = None
            self.trials.tried.keep()
        if self.refused:
            self.kept = self.reached

    def mended(self, subject: Mapping[str, Any], gate: Gate) -> Mended:
        """The result so far by a gate; `subject` is what every result says first.

        Of a search that was stopped the frames that were held out are not compared: nobody waits for them.
        """
        self.trials.gate = gate
        low = self._low(self.kept)
        held_out = None
        if self.held_out and not self.refused and (self.complete or self.out_of_time):
            held_out = self.trials.agreement(low, self.held_out)
        return Mended(
            **subject,
            kept=self.kept_nodes,
            islands=tuple(map(tuple, self._islands())),
            nodes=len(self.names),
            before=self.before,
            searched=self.trials.agreement(low, self.searched),
            held_out=held_out,
            minimal=self.minimal,
            complete=self.complete,
            out_of_time=self.out_of_time,
            refused=self.refused,
            tries=self.tries,
            runs=self.trials.runs,
        )

    def _run(self) -> None:
        if self.before.says_nothing or self._passes_as_it_is():
            self.kept = frozenset()
            self.found = self.minimal = self.complete = True
            return
        self._search()
        for _ in range(_MORE_SEARCHES):
            broken = [] if self.refused else self._broken_frames()
            if not broken:
                break
            self.searched += broken
            self.held_out = [frame for frame in self.held_out if frame not in broken]
            self._search()
        self.complete = True

    def _passes_as_it_is(self) -> bool:
        """Whether the gate, which may have been narrowed, holds with all nodes in lower precision."""
        if self.trials.metric is not None:
            return self.before.passed
        return self.trials.agreement(self.names, range(len(self.trials.inputs))).passed

    def _search(self) -> None:
        """Search with what is known of the nodes; where that finds nothing, once more on the frame that broke it."""
        if not self.suspects.frames:
            self._sift(max(self.searched, key=lambda frame: self.trials.error(self.names, [frame])))
        while not self._is_found():
            broken = self.trials.broken
            if broken is None or broken in self.suspects.frames:
                self.refused = True
                return
            self._sift(broken)

    def _sift(self, frame: int) -> None:
        """Find out what nodes cost on a frame, in half of the time at most."""
        whole = self.trials.limit
        self.trials.limit = whole and whole.half
        with suppress(TimeIsUp):
            self.suspects.sift(frame)
        self.trials.limit = whole

    def _is_found(self) -> bool:
        """Whether a set was found: nodes are added to those that are kept by now, and what is not needed taken out."""
        order = self.suspects.by_cost()
        needed = {name for name in order if self._fails_alone(name) or (self.found and name in self.kept)}
        self.search = Search(order, self._fails)
        self.minimal = False
        try:
            return self.search.run(needed, self.suspects.likely(order))
        finally:
            self.tries += self.search.tries
            self._take()

    def _take(self) -> None:
        """Keep what the search has found by now."""
        if len(self.search.best) < len(self.names) or self.search.minimal:
            self.found = True
            self.kept = self.search.best
            self.minimal = self.search.minimal
        self.reached = self.search.reached

    def _fails(self, kept: frozenset[str]) -> bool:
        best = len(self.search.best)
        holds = f", enough with {best}" if best < len(self.names) else ""
        self.tell(f"{len(kept)} of {len(self.names)} nodes kept in FP32{holds}", None)
        return self.trials.fails(self._low(kept), self.searched)

    def _fails_alone(self, name: str) -> bool:
        """Whether a node breaks the gate by itself; what a metric makes of an error is not known."""
        limit = self.trials.gate.relative_l2
        error = self.suspects.alone.get(name, 0.0)
        return self.trials.metric is None and limit is not None and error > limit

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
