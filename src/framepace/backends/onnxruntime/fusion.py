"""Which nodes of a model's file ONNX Runtime fused into each node that it runs.

The graph that a session runs can be written to a file. Its nodes keep the names of tensors of the original, or are
named after one ('t4_nchwc'), but for those that were fused away; these belong to the neighbour that took them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_SUFFIXES = ("_nchwc", "_token_0")
# Nodes that start a kernel: what follows is fused into them. Others are fused into what is before them.
_HEADS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger")


@dataclass(frozen=True)
class Node:
    """A node of a graph: its name (that of its output where it has none), operator, and tensors without weights."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def graph_nodes(graph: Any) -> list[Node]:
    """The nodes of an ONNX graph in its order."""
    weights = {tensor.name for tensor in graph.initializer}
    return [
        Node(
            name=node.name or node.output[0],
            kind=node.op_type,
            inputs=tuple(name for name in node.input if name and name not in weights),
            outputs=tuple(name for name in node.output if name),
        )
        for node in graph.node
        if node.output
    ]


def fused_nodes(original: Sequence[Node], run: Sequence[Node]) -> dict[str, tuple[str, ...]]:
    """The names of the original nodes in each node that is run, by the latter's name."""
    owners = _anchors(original, run)
    consumers = _consumers(original)
    for node in reversed(original):
        if node.kind in _HEADS:
            _adopt(node, _after(node, consumers), owners)
    _adopt_by_writers(original, run, owners)
    for node in reversed(original):
        _adopt(node, _after(node, consumers), owners)
    parts: dict[str, list[str]] = defaultdict(list)
    for node in original:
        if node.name in owners:
            parts[owners[node.name]].append(node.name)
    return {name: tuple(names) for name, names in parts.items()}


def _adopt_by_writers(original: Sequence[Node], run: Sequence[Node], owners: dict[str, str]) -> None:
    """Give what was fused away to what wrote its inputs: of several to the last that runs, which reads the others."""
    writers = {output: node.name for node in original for output in node.outputs}
    places = {node.name: place for place, node in enumerate(run)}
    for node in original:
        candidates = [owners[writers[name]] for name in node.inputs if writers.get(name) in owners]
        if candidates:
            owners.setdefault(node.name, max(candidates, key=lambda owner: places[owner]))


def _anchors(original: Sequence[Node], run: Sequence[Node]) -> dict[str, str]:
    """The node that is run for each original one that keeps a name in it: its own, or that of its output."""
    of_original = {node.name: node.name for node in original}
    of_original |= {output: node.name for node in original for output in node.outputs}
    owners: dict[str, str] = {}
    for node in run:
        for name in _names(node):
            if name in of_original:
                owners.setdefault(of_original[name], node.name)
    return owners


def _names(node: Node) -> Iterator[str]:
    """The names by which a node that is run may stand for an original one."""
    yield from node.outputs
    yield node.name
    for suffix in _SUFFIXES:
        yield node.name.removesuffix(suffix)


def _consumers(nodes: Iterable[Node]) -> dict[str, list[Node]]:
    readers: dict[str, list[Node]] = defaultdict(list)
    for node in nodes:
        for name in node.inputs:
            readers[name].append(node)
    return readers


def _adopt(node: Node, neighbours: Iterable[Node], owners: dict[str, str]) -> None:
    """Give a node that was fused away to the first of its neighbours that is run."""
    if node.name in owners:
        return
    owner = next((owners[other.name] for other in neighbours if other.name in owners), None)
    if owner is not None:
        owners[node.name] = owner


def _after(node: Node, consumers: Mapping[str, Sequence[Node]]) -> Iterator[Node]:
    """What reads a node's outputs, through elementwise nodes that are fused as well."""
    for output in node.outputs:
        for reader in consumers.get(output, ()):
            yield reader
            if len(consumers[output]) == 1 and reader.kind not in _HEADS:
                yield from _after(reader, consumers)
