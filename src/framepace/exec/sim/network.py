"""What a network asks for, estimated from its ONNX file: enough for a plausible simulation, no more.

Arithmetic is that of convolutions and matrix products, by their shapes; every kernel reads and writes its activations
once; activation functions and normalisations right after them count as fused.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

from framepace.exec import builtin
from framepace.exec.models import NULL
from framepace.exec.sim.parameters import NetworkModel

_TILE = 4096  # outputs of a thread block: 64 x 64, a usual tile of matrix products
_FUSED = ("Relu", "LeakyRelu", "Clip", "BatchNormalization")
_FREE = ("Identity", "Constant", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Shape", "Dropout")
_KEPT = 1024  # elements up to which a weight may be a shape that inference needs

Shapes = dict[str, tuple[int, ...]]


def estimate(location: str, inputs: Shapes) -> NetworkModel:
    """The network in a file ('builtin:NAME', a path, 'null') for one item of the inputs, by name.

    What cannot be told (a file without shapes) is left at the defaults.
    """
    if location == NULL:
        return NetworkModel()
    changed = 0 if location.startswith("builtin:") else Path(location).stat().st_mtime_ns
    items = tuple(sorted((name, (1, *shape[1:])) for name, shape in inputs.items()))
    return _estimate(location, changed, items)


@lru_cache(maxsize=64)
def _estimate(location: str, changed: int, inputs: tuple[tuple[str, tuple[int, ...]], ...]) -> NetworkModel:
    graph, weights, shapes = _shaped(location, dict(inputs))
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    kernels = [node for node in graph.node if node.op_type not in (*_FUSED, *_FREE)]
    work = [(node, *_cost(node, shapes, weights)) for node in kernels]
    gflops = sum(flops for _, flops, _ in work) / 1e9
    moved = sum(sizes.get(t, 0) for node, _, _ in work for t in (*node.input, *node.output) if t not in weights)
    # The blocks that the arithmetic runs in; of the largest tensors where there is no arithmetic.
    total = sum(flops or out for _, flops, out in work)
    blocks = sum((flops or out) * max(1, out / _TILE) for _, flops, out in work) / total if total else 0.0
    default = NetworkModel()
    return NetworkModel(
        kernels=max(1, len(kernels)),
        gflops=gflops or default.gflops,
        mbytes=moved * 4 / 1e6 or default.mbytes,
        weights_mb=sum(math.prod(shape) for shape in weights.values()) * 4 / 1e6,
        blocks=blocks or default.blocks,
    )


def _shaped(location: str, inputs: Shapes) -> tuple[Any, Shapes, Shapes]:
    """The graph, the shapes of its weights, and of all its tensors as far as they can be inferred."""
    import onnx

    model = _load(location)
    graph = model.graph
    weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for tensor in graph.initializer:
        if math.prod(tensor.dims) > _KEPT:  # inference copies the model: without the weights that costs nothing
            tensor.ClearField("raw_data")
            tensor.ClearField("float_data")
    for value in graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim, inputs.get(value.name, ()), strict=False):
            dim.dim_value = size
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    del graph.value_info[:]
    try:
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception:  # whatever onnx finds wrong: the estimate is then of what is known
        graph = model.graph
    shapes = dict(weights)
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = tuple(max(1, dim.dim_value) for dim in value.type.tensor_type.shape.dim)
    return graph, weights, shapes


def _load(location: str) -> Any:
    import onnx

    if location.startswith("builtin:"):
        return onnx.load_model_from_string(builtin.model_bytes(location.removeprefix("builtin:")))
    return onnx.load(location, load_external_data=False)


def _cost(node: Any, shapes: Shapes, weights: Shapes) -> tuple[float, int]:
    """Operations of a node (0 where it is no convolution or product), and the elements of its output."""
    out = math.prod(shapes.get(node.output[0], ())) if node.output[0] in shapes else 0
    second = shapes.get(node.input[1], ()) if len(node.input) > 1 else ()
    if node.op_type == "Conv" and len(second) > 2:
        return 2.0 * out * math.prod(second[1:]), out
    if node.op_type == "ConvTranspose" and len(second) > 2:
        return 2.0 * math.prod(shapes.get(node.input[0], (0,))) * math.prod(second[1:]), out
    if node.op_type in ("Gemm", "MatMul") and len(second) > 1:
        first = shapes.get(node.input[0], (0,))
        return 2.0 * out * _inner(node, first), out
    return 0.0, out


def _inner(node: Any, first: tuple[int, ...]) -> int:
    """The length of the sums of a matrix product."""
    flipped = any(a.name == "transA" and a.i for a in node.attribute)
    return first[0 if flipped else -1]
