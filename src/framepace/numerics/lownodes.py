"""A node of a network as a device would run it in a lower precision, emulated in FP32.

Assumed is what GPUs do. Tensors are stored in the precision, and products are summed in FP32 (tensor cores). A
normalisation or softmax that is one node works in FP32 inside (ONNX's LayerNormalization says so itself: `stash_type`
is float). A mean or norm that is a node of its own, of a pooling or of a normalisation that an exporter took apart, is
summed in the precision. That is the careful assumption: a library that sums it in FP32 passes what is refused here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from framepace.models.convert.kept import FLOAT_INPUTS
from framepace.numerics.rounding import RoundedTensor, Rounding

_FLOAT = 1  # of onnx.TensorProto, which is imported where it is needed
_MEANS = ("ReduceMean", "GlobalAveragePool")
_NORM = "ReduceL2"


@dataclass
class LowNodes:
    """Makes nodes in a lower precision, for one graph: weights are rounded once, whoever reads them.

    `floats` are the names of its float32 tensors, `weights` its initializers by name.
    """

    rounding: Rounding
    floats: frozenset[str]
    weights: Mapping[str, Any]
    constants: dict[str, Any] = field(default_factory=dict)  # to be added to the graph, by name
    _rounded: dict[str, str] = field(default_factory=dict)

    def made(self, node: Any, prefix: str, outputs: Sequence[str]) -> list[Any]:
        """The nodes in place of `node`, which reads the same tensors.

        Args:
            prefix: of all names that are made; no other node has it.
            outputs: names of what they make, '' where the node makes nothing.
        """
        nodes: list[Any] = []
        low = _copy(node, f"{prefix}_node")
        for place, source in enumerate(node.input):
            if self._is_rounded(node, place):
                low.input[place] = self._rounded_input(source, f"{prefix}_in{place}", nodes)
        low.output[:] = [name and f"{prefix}_raw{place}" for place, name in enumerate(node.output)]
        stored = (self._output(low, place, outputs[place], name) for place, name in enumerate(node.output) if name)
        return [*nodes, low, *chain.from_iterable(stored)]

    def _is_rounded(self, node: Any, place: int) -> bool:
        return node.input[place] in self.floats and place not in FLOAT_INPUTS.get(node.op_type, ())

    def _rounded_input(self, source: str, prefix: str, nodes: list[Any]) -> str:
        if source in self.weights:
            return self._weight(source)
        rounded = self.rounding.nodes(source, prefix)
        self._add_constants(rounded)
        nodes += rounded.nodes
        return rounded.output

    def _weight(self, name: str) -> str:
        """The name of a weight, rounded; such constants are outside of all branches."""
        from onnx import numpy_helper

        if name not in self._rounded:
            values = numpy_helper.to_array(self.weights[name])
            rounded = self.rounding.weights(name, values, f"low/{name}")
            self._add_constants(rounded)
            self._rounded[name] = rounded.output
        return self._rounded[name]

    def _add_constants(self, rounded: RoundedTensor) -> None:
        self.constants.update({constant.name: constant for constant in rounded.initializers})

    def _output(self, low: Any, place: int, result: str, name: str) -> list[Any]:
        """Nodes from what the low node makes in float32 to what it stores; `name` is that of the plain node."""
        raw = low.output[place]
        if name not in self.floats or not self.rounding.rounds_outputs:
            return [_identity(raw, result)]
        nodes: list[Any] = []
        summed = _SUMS.get(low.op_type)
        if summed is not None:
            nodes, raw = summed(self.rounding, low.input[0], raw, f"{low.output[place]}_sum")
        rounded = self.rounding.nodes(raw, f"{raw}_stored", name)
        self._add_constants(rounded)
        return [*nodes, *rounded.nodes, _identity(rounded.output, result)]


def _identity(source: str, result: str) -> Any:
    from onnx import helper

    return helper.make_node("Identity", [source], [result])


def _mean(rounding: Rounding, source: str, mean: str, prefix: str) -> tuple[list[Any], str]:
    """A mean by way of its sum, which is stored: nodes, and the name of the mean."""
    from onnx import helper

    count = f"{prefix}_count"
    result = f"{prefix}_divided"
    total = helper.make_node("Mul", [mean, count], [prefix])
    rounded = rounding.nodes(prefix, prefix)
    divided = helper.make_node("Div", [rounded.output, count], [result])
    return [*_values_per_mean(source, mean, count), total, *rounded.nodes, divided], result


def _values_per_mean(source: str, mean: str, result: str) -> list[Any]:
    """Nodes that find how many values are in each mean, as a float."""
    from onnx import TensorProto, helper

    nodes = []
    for name, size in ((source, f"{result}_read"), (mean, f"{result}_made")):
        nodes.append(helper.make_node("Size", [name], [f"{size}_whole"]))
        nodes.append(helper.make_node("Cast", [f"{size}_whole"], [size], to=TensorProto.FLOAT))
    return [*nodes, helper.make_node("Div", [f"{result}_read", f"{result}_made"], [result])]


def _norm(rounding: Rounding, source: str, norm: str, prefix: str) -> tuple[list[Any], str]:
    """A Euclidean norm by way of its sum of squares, which is stored."""
    from onnx import helper

    squares = helper.make_node("Mul", [norm, norm], [prefix])
    rounded = rounding.nodes(prefix, prefix)
    root = helper.make_node("Sqrt", [rounded.output], [f"{prefix}_root"])
    return [squares, *rounded.nodes, root], f"{prefix}_root"


_Sum = Callable[[Rounding, str, str, str], tuple[list[Any], str]]
_SUMS: Mapping[str, _Sum] = {**dict.fromkeys(_MEANS, _mean), _NORM: _norm}
SUMMING = frozenset((*_SUMS, "ReduceSum", "ReduceSumSquare", "ReduceL1"))


def largest_sum(operator: str, values_read: int, values_made: int, reach: float) -> float:
    """The largest sum behind what a summing node makes; 0 for other nodes.

    Args:
        operator: the node's type.
        values_read: how many values it reads, and `values_made` how many it makes.
        reach: the largest magnitude that it makes.
    """
    if operator not in SUMMING or not values_made:
        return 0.0
    if operator in _MEANS:
        return reach * values_read / values_made
    if operator == _NORM:
        return reach * reach
    return reach


def _copy(node: Any, name: str) -> Any:
    from onnx import NodeProto

    copy = NodeProto()
    copy.CopyFrom(node)
    copy.name = name
    return copy
