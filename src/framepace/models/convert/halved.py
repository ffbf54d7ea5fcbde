"""Half of a network: its file up to the node by which half of the operations are done.

The half proves what kind of bound a network has whose input takes one size only: with half the work it takes half the
time, or something else decides. It is measured, never used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from framepace.errors import ModelError
from framepace.models.convert.optimised import LARGEST, reads, weight_bytes
from framepace.models.convert.variant import load
from framepace.models.operations import Kernel, Shapes, network
from framepace.models.spec import inspect, stem
from framepace.store import cache

_REVISION = 1
_KEPT = "framepace_kept_"


def halved(location: str, shapes: Shapes) -> str:
    """Location of a file of the cache that holds the first half of the operations of a model (a path or 'builtin:...').

    Inputs stay as they are. Of each tensor that the other half would need the mean is an output, so that nothing is
    left out because nobody reads it, and hardly anything is copied.

    Args:
        shapes: of the inputs, by name, from which the operations are counted.

    Raises ModelError for a file that is no ONNX model, and for one with a single node.
    """
    spec = inspect(location)
    if spec.format != "onnx":
        raise ModelError(
            "only an ONNX file can be cut in half", got=location, fix="try another size, batch or precision"
        )
    name = f"halved/{cache.plain(stem(location))}-{cache.key(_REVISION, spec.sha256, sorted(shapes.items()))}.onnx"
    path = cache.folder() / name
    if not path.is_file():
        path = cache.put(name, _cut(location, shapes).SerializeToString())
    return str(path)


def _cut(location: str, shapes: Shapes) -> Any:
    proto = load(location)
    nodes = list(proto.graph.node)
    count = _nodes_of_half(nodes, network(location, shapes).kernels)
    if not 0 < count < len(nodes):
        raise ModelError("the network cannot be cut in half", got=location, expected="several nodes")
    first = nodes[:count]
    boundary = _boundary(first, nodes[count:])
    del proto.graph.node[:], proto.graph.output[:], proto.graph.value_info[:]
    proto.graph.node.extend(first)
    for place, tensor in enumerate(boundary):
        _keep(proto.graph, tensor, f"{_KEPT}{place}")
    _leave_out_weights(proto.graph)
    if weight_bytes(proto) > LARGEST:
        raise ModelError("half of the network is too large for one file", got=location)
    return proto


def _nodes_of_half(nodes: Sequence[Any], kernels: Sequence[Kernel]) -> int:
    """How many nodes come before half of the operations are done; of the kernels, where none has operations."""
    done = 0.0
    half = sum(map(_work, kernels)) / 2
    last = ""
    for kernel in kernels:
        done += _work(kernel)
        if done >= half:
            last = kernel.name
            break
    places = (place for place, node in enumerate(nodes, 1) if last in (node.name, *node.output))
    return next(places, len(nodes) // 2)


def _work(kernel: Kernel) -> float:
    return max(kernel.flops, 1.0)


def _boundary(first: Sequence[Any], others: Iterable[Any]) -> list[str]:
    """The tensors that the first nodes make and the others read, in order."""
    made = {name for node in first for name in node.output if name}
    read = {name for node in others for name in reads(node)}
    return [name for node in first for name in node.output if name in made & read] or [first[-1].output[0]]


def _keep(graph: Any, tensor: str, name: str) -> None:
    """Make the mean of a tensor an output."""
    from onnx import TensorProto, helper

    graph.node.append(helper.make_node("Cast", [tensor], [f"{name}_float"], to=TensorProto.FLOAT))
    graph.node.append(helper.make_node("ReduceMean", [f"{name}_float"], [name], keepdims=0))
    graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, []))


def _leave_out_weights(graph: Any) -> None:
    """Remove the weights of the other half."""
    used = {name for node in graph.node for name in reads(node)}
    kept = [weight for weight in graph.initializer if weight.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
