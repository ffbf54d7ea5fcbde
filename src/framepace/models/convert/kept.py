"""Nodes that stay in float32 in a model of lower precision: their names, what moves along, casts only at the borders.

A node that only moves values (Reshape, Concat, Relu ...) gives the same whether it runs before a rounding or after it.
So nobody has to name it: it stays in float32 where it lies between nodes that do.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from framepace.errors import UsageError
from framepace.models.convert.optimised import reads

_FLOAT = 1  # of onnx.TensorProto, which is imported where it is needed
_NAME = "a node of the file as ONNX Runtime's basic optimisation leaves it"
_MEND = "'framepace accuracy MODEL --precision fp16|int8 --mend OUT.onnx' tells which nodes"
# Rounding what these make is the same as rounding what they read.
MOVERS = frozenset(
    [
        "Abs",
        "Concat",
        "DepthToSpace",
        "Dropout",
        "Expand",
        "Flatten",
        "Gather",
        "GatherElements",
        "GatherND",
        "Identity",
        "MaxPool",
        "Neg",
        "Pad",
        "Relu",
        "Reshape",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
        "Where",
    ],
)
# Inputs that take float32 in any precision: Resize's region and scales.
FLOAT_INPUTS: Mapping[str, frozenset[int]] = {"Resize": frozenset((1, 2))}


def kept_operators() -> frozenset[str]:
    """Types of nodes that the converter leaves in float32, because they lose too much or have no other kernel."""
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST

    return frozenset(DEFAULT_OP_BLOCK_LIST)


def name_nodes(graph: Any) -> None:
    """Give nodes without a name, and those whose name another has, one made of the operator and the first output."""
    taken: set[str] = set()
    for number, node in enumerate(graph.node):
        if not node.name or node.name in taken:
            output = next(filter(None, node.output), str(number))
            node.name = f"{node.op_type}:{output}"
        if node.name in taken:
            node.name = f"{node.name}:{number}"
        taken.add(node.name)


def types_of(graph: Any) -> dict[str, int]:
    """The element type of every tensor of a graph whose type is stated, as ONNX's number."""
    values = (*graph.value_info, *graph.input, *graph.output)
    types = {value.name: int(value.type.tensor_type.elem_type) for value in values}
    return types | {weight.name: int(weight.data_type) for weight in graph.initializer}


def moves_only(node: Any, weights: frozenset[str], floats: frozenset[str]) -> bool:
    """Whether a node only moves float values that other nodes computed (constants are converted by other rules)."""
    sources = [name for name in node.input if name in floats]
    return node.op_type in MOVERS and node.domain in ("", "ai.onnx") and bool(sources) and not weights & {*sources}


def check_names(kept: Sequence[str], graph: Any, model: str) -> None:
    """Raises UsageError for a name that no node of the (optimised and named) graph has, with the nearest that one has.

    The names are those that `framepace accuracy --mend` tells.
    """
    names = {node.name for node in graph.node}
    for name in kept:
        if name not in names:
            similar = difflib.get_close_matches(name, names, n=1)
            fix = f"did you mean {similar[0]!r}?" if similar else _MEND
            raise UsageError(f"no node of {model!r} is called that (fp32-nodes)", got=name, expected=_NAME, fix=fix)


def with_movers(kept: Sequence[str], graph: Any) -> list[str]:
    """The kept nodes, and those that only move what one of them makes to another one, or to an output."""
    return sorted({*kept, *_Movers(graph, frozenset(kept)).between()})


class _Movers:
    """The movers of a graph, and which of them lie between nodes that stay in float32."""

    def __init__(self, graph: Any, kept: frozenset[str]) -> None:
        types = types_of(graph)
        self._floats = frozenset(name for name, kind in types.items() if kind == _FLOAT)
        self._weights = frozenset(weight.name for weight in graph.initializer)
        self._nodes = list(graph.node)
        self._movers = {n.name for n in self._nodes if moves_only(n, self._weights, self._floats)} - kept
        operators = kept_operators()
        self._kept = kept | {node.name for node in self._nodes if node.op_type in operators}
        self._outputs = {value.name for value in graph.output}

    def between(self) -> Iterator[str]:
        """Names of movers that read a float32 tensor and whose values a float32 node, or an output, takes."""
        plain = self._plain_tensors()
        wanted = self._wanted_tensors()
        for node in self._nodes:
            if node.name in self._movers and plain & {*node.input} and wanted & {*node.output}:
                yield node.name

    def _plain_tensors(self) -> set[str]:
        """Float tensors that nothing has rounded: inputs, what kept nodes make, and what movers make of those."""
        made = {output for node in self._nodes for output in node.output}
        plain = {name for name in self._floats if name not in made and name not in self._weights}
        for node in self._nodes:
            moved = node.name in self._movers and bool(plain & {*node.input})
            if moved or node.name in self._kept:
                plain.update(set(node.output) & self._floats)
        return plain

    def _wanted_tensors(self) -> set[str]:
        """Float tensors that a kept node or an output takes, through movers too."""
        wanted = set(self._outputs)
        for node in reversed(self._nodes):
            wants = node.name in self._kept or (node.name in self._movers and bool(wanted & {*node.output}))
            if wants:
                wanted.update(set(node.input) & self._floats)
        return wanted


def weights_apart(graph: Any, kept: Sequence[str]) -> None:
    """Give kept nodes weights of their own where another node reads them too: the other's are converted."""
    readers: dict[str, list[Any]] = defaultdict(list)
    for node in graph.node:
        for source in node.input:
            readers[source].append(node)
    for weight in list(graph.initializer):
        keeping = [node for node in readers[weight.name] if node.name in kept]
        if weight.data_type == _FLOAT and 0 < len(keeping) < len(readers[weight.name]):
            copy = graph.initializer.add()
            copy.CopyFrom(weight)
            copy.name = f"{weight.name}_kept_fp32"
            for node in keeping:
                _read_instead(node, weight.name, copy.name)


def without_round_trips(graph: Any) -> None:
    """Let float32 nodes read float32 tensors themselves, where the converter rounds them and casts them back.

    The converter casts every output of a kept node down, and every input of one up again; between two kept nodes that
    would round what is to stay exact. `graph` is changed.
    """
    outputs = {value.name for value in graph.output}
    exact = _exact_tensors(graph)
    for node in graph.node:
        if node.output[0] in exact and node.output[0] in outputs:
            node.input[0] = exact[node.output[0]]
        for source in exact.keys() & {*node.input}:
            _read_instead(node, source, exact[source])
    _leave_out_unread_casts(graph, outputs)


def _exact_tensors(graph: Any) -> dict[str, str]:
    """For each tensor that was cast down and up again, the one that it was made from."""
    down = {node.output[0]: node.input[0] for node in graph.node if _is_down(node)}
    ups = (node for node in graph.node if _is_up(node))
    return {node.output[0]: down[node.input[0]] for node in ups if node.input[0] in down}


def _is_down(node: Any) -> bool:
    """Whether a node is a cast to float16 that the converter added."""
    added = node.name.endswith("_cast_to_fp16_node") or node.name.startswith("graph_input_cast")
    return bool(node.op_type == "Cast" and added)


def _is_up(node: Any) -> bool:
    """Whether a node is a cast to float32 that the converter added."""
    added = node.name.endswith("_cast_to_fp32_node") or node.name.startswith("graph_output_cast")
    return bool(node.op_type == "Cast" and added)


def _read_instead(node: Any, name: str, instead: str) -> None:
    for place, source in enumerate(node.input):
        if source == name:
            node.input[place] = instead


def _leave_out_unread_casts(graph: Any, outputs: set[str]) -> None:
    """Remove casts that nothing reads any more, and those before them."""
    while True:
        read = {name for node in graph.node for name in reads(node)} | outputs
        idle = [node for node in graph.node if node.op_type == "Cast" and not read & {*node.output}]
        if not idle:
            return
        for node in idle:
            graph.node.remove(node)
