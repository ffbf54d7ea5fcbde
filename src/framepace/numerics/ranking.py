"""Which nodes cost accuracy in a lower precision: each tried alone, blocks of neighbours first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from framepace.facts.mending import Block, NetworkNode, NodeError
from framepace.numerics.ranges import TensorValues, inner_tensors, reaches, tensor_values
from framepace.numerics.trials import Trials
from framepace.progress import Tell
from framepace.store import cache

_FRAMES = 4
_GUILTY = 0.1  # of what the gate allows: a block with less than that is not looked into
_ALWAYS = 2  # blocks that are looked into however little they cost
_LOST = 0.5  # from this relative error on the answer is gone, and how large the error is says nothing more
DEFAULT_LIMIT = 0.03


@dataclass
class Rank:
    """A ranking while it is made: what was tried so far is in it, and in the cache, whenever it is interrupted.

    Nodes are tried on those of the `candidates` (numbers of frames) that lose most when all nodes are low.
    """

    trials: Trials
    tell: Tell
    candidates: Sequence[int]
    errors: dict[str, float] = field(default_factory=dict)  # by the nodes that were low, as a text
    complete: bool = False
    tries: int = 0
    _values: dict[str, TensorValues] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tell("all nodes in lower precision", None)
        self.frames = _worst(self.trials, self.candidates, _FRAMES)

    def run(self) -> None:
        """Try all blocks, and each node of those that cost something."""
        blocks = self.blocks
        total = 2 * len(blocks)
        try:
            self._error(self.trials.network.names)
            for number, block in enumerate(blocks):
                self.tell(f"block {number + 1} of {len(blocks)} in lower precision", number / total)
                self._error(block)
                self._error(self._up_to(number))
            for number, block in enumerate(self._guilty()):
                self._look_into(block, (len(blocks) + number) / total)
            self.complete = True
        finally:
            self.trials.tried.keep()

    @property
    def blocks(self) -> list[tuple[str, ...]]:
        """Neighbours in the order of the graph, about as many blocks as nodes in each."""
        names = self.trials.network.names
        size = math.isqrt(len(names) - 1) + 1
        return [names[first : first + size] for first in range(0, len(names), size)]

    @property
    def limit(self) -> float | None:
        """The relative L2 error that the gate allows."""
        return self.trials.gate.relative_l2

    @property
    def finite_error(self) -> float | None:
        """The error with all nodes in lower precision; None where it is not finite, or was not tried."""
        return _finite(self.errors.get(_text(self.trials.network.names)))

    def by_cost(self) -> list[str]:
        """All names, the node that costs most first, of nodes that cost about as much the one that comes first.

        What was not tried alone counts with its part of the block's error. A square that overflows and the root behind
        it each lose the answer, one by a little more than the other: of such nodes the first comes first.
        """
        costs: dict[str, float] = {}
        for block in self.blocks:
            share = self.errors.get(_text(block), 0.0) / len(block)
            for name in block:
                costs[name] = self.errors.get(_text((name,)), share)
        return sorted(costs, key=lambda name: -about(costs[name]))

    def alone(self, name: str) -> float | None:
        """The error with one node in lower precision, where it was tried."""
        return self.errors.get(_text((name,)))

    def read_ranges(self) -> None:
        """Find out how large the values are that each node reads and makes."""
        network = self.trials.network
        self.tell("reading the ranges of all tensors", None)
        self._values = tensor_values(network, self.trials.inputs[self.frames[0]], (), inner_tensors(network))

    def node_errors(self) -> tuple[NodeError, ...]:
        """A row per node, the worst first."""
        places = {name: number for number, block in enumerate(self.blocks) for name in block}
        nodes = {node.name: node for node in self.trials.network.nodes}
        tensors = {node.name: (*node.input, *node.output) for node in self.trials.network.proto.graph.node}
        return tuple(self._row(nodes[name], places[name], tensors[name]) for name in self.by_cost())

    def block_facts(self) -> tuple[Block, ...]:
        """A row per block that was tried, in the order of the graph."""
        return tuple(self._block(number) for number, block in enumerate(self.blocks) if _text(block) in self.errors)

    def _row(self, node: NetworkNode, block: int, tensors: Sequence[str]) -> NodeError:
        error = self.alone(node.name)
        return NodeError(
            node=node,
            block=block,
            error=_finite(error),
            finite=error is None or math.isfinite(error),
            reach=reaches(self._values, tensors),
        )

    def _block(self, number: int) -> Block:
        block = self.blocks[number]
        return Block(
            first=block[0],
            last=block[-1],
            nodes=len(block),
            error=_finite(self.errors[_text(block)]),
            cumulative=_finite(self.errors.get(_text(self._up_to(number)))),
        )

    def _up_to(self, number: int) -> tuple[str, ...]:
        return tuple(name for block in self.blocks[: number + 1] for name in block)

    def _look_into(self, block: Sequence[str], share: float) -> None:
        for name in block:
            self.tell(f"{name} in lower precision", share)
            self._error((name,))

    def _guilty(self) -> Iterator[tuple[str, ...]]:
        """Blocks to look into, the worst first."""
        ordered = sorted(self.blocks, key=lambda block: -self.errors[_text(block)])
        errors = [self.errors[_text(block)] for block in ordered]
        limit = self.limit or DEFAULT_LIMIT
        count = sum(error >= _GUILTY * limit for error in errors)
        yield from ordered[: max(_ALWAYS, count)]

    def _error(self, low: Sequence[str]) -> float:
        text = _text(low)
        if text not in self.errors:
            runs = self.trials.runs
            self.errors[text] = self.trials.error(low, self.frames)
            self.tries += self.trials.runs > runs
        return self.errors[text]


def about(error: float) -> float:
    """The error as far as it tells nodes apart: two digits, up to an answer that is gone."""
    if math.isinf(error):
        return error
    return min(float(f"{error:.2g}"), _LOST)


def _text(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    return cache.key(*names)


def _finite(error: float | None) -> float | None:
    if error is None or not math.isfinite(error):
        return None
    return error


def _worst(trials: Trials, candidates: Sequence[int], count: int) -> list[int]:
    """Of some frames those with the largest error when all nodes are low: what goes wrong on one alone is seen."""
    names = trials.network.names
    errors = {frame: trials.error(names, [frame]) for frame in candidates}
    return sorted(sorted(errors, key=lambda frame: -errors[frame])[:count])
