"""A graph in which every node has a switch: on, the node is in a lower precision.

Each node that may be lowered lies in an If, with itself in the one branch and its emulation in the other; its input
'low/NODE' chooses. So any set of nodes is tried by feeding booleans, without loading anything again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from framepace.models.convert.kept import kept_operators, moves_only, types_of
from framepace.numerics.lownodes import LowNodes
from framepace.numerics.rounding import Rounding

SWITCH = "low/"
_OF_SHAPES = frozenset(("Shape", "Size"))  # they read no value
_FLOAT = 1  # of onnx.TensorProto, which is imported where it is needed


@dataclass(frozen=True)
class SwitchedGraph:
    """A model with switches: `proto`, and the names of the nodes that have one, in the order of the graph."""

    proto: Any
    switches: tuple[str, ...]


def switched_graph(model: Any, rounding: Rounding, watched: Iterable[str] = ()) -> SwitchedGraph:
    """The model with a switch per node that `candidates` names. `model` stays as it is.

    Args:
        model: optimised, its nodes named (`optimised_and_named`).
        rounding: what the switches switch on.
        watched: tensors of the graph that become outputs too, after its own.
    """
    from onnx import ModelProto

    proto = ModelProto()
    proto.CopyFrom(model)
    names = candidates(proto.graph, rounding)
    _put_switches(proto.graph, rounding, names)
    outputs = {value.name for value in proto.graph.output}
    for name in watched:
        if name not in outputs:
            proto.graph.output.add().name = name
    return SwitchedGraph(proto, names)


def candidates(graph: Any, rounding: Rounding) -> tuple[str, ...]:
    """Names of nodes that a conversion to the precision changes, in the order of the graph.

    Not among them: what only moves values, what the converter leaves in FP32, and nodes with branches (If, Loop).
    """
    floats = float_tensors(graph)
    weights = frozenset(weight.name for weight in graph.initializer)
    kept = kept_operators()
    return tuple(
        node.name
        for node in graph.node
        if floats & {*node.input, *node.output}
        and node.op_type not in kept
        and (rounding.operators is None or node.op_type in rounding.operators)
        and node.op_type not in _OF_SHAPES
        and not has_branches(node)
        and not moves_only(node, weights, floats)
    )


def float_tensors(graph: Any) -> frozenset[str]:
    """Names of the tensors of a graph that are known to be float32."""
    return frozenset(name for name, kind in types_of(graph).items() if kind == _FLOAT and name)


def has_branches(node: Any) -> bool:
    """Whether a node has graphs of its own: If, Loop, Scan."""
    return any(attribute.g.node or attribute.graphs for attribute in node.attribute)


def _put_switches(graph: Any, rounding: Rounding, names: Sequence[str]) -> None:
    weights = {weight.name: weight for weight in graph.initializer}
    low = LowNodes(rounding, float_tensors(graph), weights)
    numbers = {name: number for number, name in enumerate(names)}
    nodes = [_switched(node, low, numbers) for node in graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(low.constants.values())
    graph.input.extend(_switch_inputs(names))


def _switch_inputs(names: Sequence[str]) -> Iterator[Any]:
    from onnx import TensorProto, helper

    for name in names:
        yield helper.make_tensor_value_info(SWITCH + name, TensorProto.BOOL, [])


def _switched(node: Any, low: LowNodes, numbers: dict[str, int]) -> Any:
    """The node itself, or an If around it and its emulation."""
    from onnx import helper

    if node.name not in numbers:
        return node
    prefix = f"{SWITCH}{numbers[node.name]}"
    low_names = _outputs(node, f"{prefix}/low")
    plain_names = _outputs(node, f"{prefix}/plain")
    return helper.make_node(
        "If",
        [SWITCH + node.name],
        list(filter(None, node.output)),
        name=node.name,
        then_branch=_branch(low.made(node, f"{prefix}/low", low_names), low_names, f"{prefix}/low"),
        else_branch=_branch([_renamed(node, plain_names)], plain_names, f"{prefix}/plain"),
    )


def _outputs(node: Any, prefix: str) -> list[str]:
    """Names in a branch for what a node makes, '' where it makes nothing."""
    return [name and f"{prefix}/{place}" for place, name in enumerate(node.output)]


def _renamed(node: Any, outputs: Sequence[str]) -> Any:
    from onnx import NodeProto

    copy = NodeProto()
    copy.CopyFrom(node)
    copy.output[:] = outputs
    return copy


def _branch(nodes: Sequence[Any], outputs: Sequence[str], name: str) -> Any:
    from onnx import ValueInfoProto, helper

    return helper.make_graph(nodes, name, [], [ValueInfoProto(name=output) for output in outputs if output])
