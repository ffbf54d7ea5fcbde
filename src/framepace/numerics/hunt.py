"""The hunt for NaN and infinity: which node makes the first one in a lower precision, on which frame, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from framepace.facts.mending import Fault, Hunted, NetworkNode
from framepace.numerics.lownodes import largest_sum
from framepace.numerics.ranges import TensorValues, inner_tensors, tensor_values
from framepace.numerics.switched import Network
from framepace.numerics.trials import Trials
from framepace.progress import Tell

_DIVIDING = frozenset(("Div", "Reciprocal", "Pow", "Mod"))
_FROM_ZERO: tuple[Fault, ...] = ("underflow", "log")
_EXPONENTIAL = frozenset(("Exp", "Softplus", "Sinh", "Cosh"))


def hunted(trials: Trials, tell: Tell) -> tuple[Hunted, ...]:
    """The faults with all nodes in lower precision but the plan's `fp32_nodes`, the one to blame first; none: finite.

    Looked at is the first frame of which an output is not finite; without one the first frame, for what stays inside.
    """
    low = [name for name in trials.network.names if name not in trials.network.plan.fp32_nodes]
    frame = _first_broken_frame(trials, low, tell)
    return _in_frame(trials, frame or 0, low, tell)


def _first_broken_frame(trials: Trials, low: Sequence[str], tell: Tell) -> int | None:
    """The number of the first frame with an output that is finite in FP32 alone."""
    count = len(trials.inputs)
    for frame in range(count):
        tell("looking for a frame with NaN or infinity", frame / count)
        agreement = trials.agreement(low, [frame])
        if any(output.nonfinite for output in agreement.outputs):
            return frame
    return None


def _in_frame(trials: Trials, frame: int, low: Sequence[str], tell: Tell) -> tuple[Hunted, ...]:
    tell(f"reading all tensors of frame {frame}", None)
    network = trials.network
    values = tensor_values(network, trials.inputs[frame], low, inner_tensors(network))
    return tuple(_Scene(network, values, frame).faults())


@dataclass(frozen=True)
class _Node:
    """A node of the graph with its float tensors that are no weights."""

    name: str
    operator: str
    reads: tuple[str, ...]
    makes: tuple[str, ...]


class _Scene:
    """The tensors of one frame, and the graph between them."""

    def __init__(self, network: Network, values: dict[str, TensorValues], frame: int) -> None:
        self._network = network
        self._values = values
        self._frame = frame
        self._nodes = [_node(node, values) for node in network.proto.graph.node]
        self._outputs = {value.name for value in network.proto.graph.output}
        self._writers = {name: node for node in self._nodes for name in node.makes}
        self._described = {node.name: node for node in network.nodes}

    def faults(self) -> list[Hunted]:
        """One per node that breaks finite values, those that reach an output first."""
        births = [node for node in self._nodes if self._is_broken(node.makes) and not self._is_broken(node.reads)]
        blamed = self._leading_to_outputs()
        faults = [self._fault(node, at_output=node.name in blamed) for node in births]
        return sorted(faults, key=lambda fault: not fault.at_output)

    def _is_broken(self, names: Iterable[str]) -> bool:
        return any(self._values[name].broken for name in names)

    def _leading_to_outputs(self) -> set[str]:
        """Names of nodes from which broken values reach an output without becoming finite on the way."""
        leading: set[str] = set()
        broken = {name for name in self._outputs if name in self._values and self._values[name].broken}
        for node in reversed(self._nodes):
            if broken & {*node.makes}:
                leading.add(node.name)
                broken.update(name for name in node.reads if self._values[name].broken)
        return leading

    def _fault(self, node: _Node, *, at_output: bool) -> Hunted:
        made = next(self._values[name] for name in node.makes if self._values[name].broken)
        total = self._sum(node, made)
        fault = self._reason(node, made, total)
        origin = node
        if fault in _FROM_ZERO:
            origin = self._where_values_vanish(node)
        return self._hunted(origin, node, fault, total, at_output)

    def _hunted(self, origin: _Node, node: _Node, fault: Fault, total: float, at_output: bool) -> Hunted:
        return Hunted(
            node=self._describe(origin),
            shows=self._describe(node),
            fault=fault,
            frame=self._frame,
            read=tuple(self._values[name].as_range for name in origin.reads),
            made=self._values[origin.makes[0]].as_range,
            sum=total or None,
            at_output=at_output,
        )

    def _sum(self, node: _Node, made: TensorValues) -> float:
        size = max((self._values[name].size for name in node.reads), default=0)
        return largest_sum(node.operator, size, made.size, made.reach)

    def _reason(self, node: _Node, made: TensorValues, total: float) -> Fault:
        largest = self._network.rounding.largest
        if max((self._values[name].reach for name in node.reads), default=0.0) > largest:
            return "overflow"  # of what was in FP32 up to here: an input, or what a branch makes
        if made.reach > largest and node.operator in _EXPONENTIAL:
            return "exp"
        vanished = any(self._values[name].vanished for name in node.reads)
        divides = node.operator in _DIVIDING
        if made.reach > largest and not (divides and vanished):
            return "accumulation" if total > largest else "overflow"
        if total > largest:
            return "accumulation"
        if node.operator == "Log":
            return "log"
        if divides:
            return "underflow" if vanished else "division"
        return "invalid"

    def _where_values_vanish(self, node: _Node) -> _Node:
        """The first node, upwards from what `node` divides by, in which most of the zeros begin."""
        source = self._vanished_source(node.reads[-1:], 0.0)
        while source is not None:
            node = self._writers[source]
            source = self._vanished_source(node.reads, self._vanished_share(source) / 2)
        return node

    def _vanished_source(self, names: Iterable[str], least: float) -> str | None:
        """Of some tensors that nodes make, the one with the largest share of values that vanished, above `least`."""
        shares = {name: self._vanished_share(name) for name in names if name in self._writers}
        worst = max(shares, key=lambda name: shares[name], default=None)
        if worst is None or shares[worst] <= least:
            return None
        return worst

    def _vanished_share(self, name: str) -> float:
        values = self._values[name]
        return values.vanished / max(1, values.size)

    def _describe(self, node: _Node) -> NetworkNode:
        return self._described.get(node.name, NetworkNode(name=node.name, operator=node.operator))


def _node(node: Any, values: dict[str, TensorValues]) -> _Node:
    reads = tuple(name for name in dict.fromkeys(node.input) if name in values)
    makes = tuple(name for name in node.output if name in values)
    return _Node(node.name, node.op_type, reads, makes)
