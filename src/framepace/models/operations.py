"""The work of a network, from its ONNX file: operations, and the elements that each of its kernels moves.

Operations are those of convolutions and matrix products, recurrent ones included, by their shapes; every kernel reads
and writes its tensors once, and of what it only picks from no more than it writes; activation functions and
normalisations right after them count as fused, quantisation as part of what it feeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from framepace.facts.bounds import ModelWork, Moved, NodeWork
from framepace.models import builtin
from framepace.models.convert.fixed import fix_shapes
from framepace.models.convert.variant import load as load_whole
from framepace.models.limits import read_onnx
from framepace.models.spec import inspect
from framepace.models.torch.spec import modified

_FUSED = ("Relu", "LeakyRelu", "Clip", "BatchNormalization")
_FREE = ("Identity", "Constant", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Shape", "Dropout")
_PICKING = ("Gather", "GatherElements", "GatherND", "GridSample", "Resize", "RoiAlign", "Slice", "Upsample")
_QUANTISING = ("QuantizeLinear", "DequantizeLinear")
_SHAPE_ELEMENTS = 1024  # elements up to which a weight may be a shape that inference needs
_MOST_ELEMENTS = 1 << 62
_CONVOLUTIONS = ("Conv", "ConvInteger", "QLinearConv")
_PRODUCTS = ("Gemm", "MatMul", "MatMulInteger", "QLinearMatMul")
_RECURRENT = ("LSTM", "GRU", "RNN")
_SECOND_OPERAND = {
    "QLinearConv": 3,
    "QLinearMatMul": 3,
}  # its place, after scales and zero points
_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}
_PRECISIONS = {"float16": "fp16", "bfloat16": "bf16", "int8": "int8", "uint8": "int8"}

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Tensor:
    """A tensor that a kernel moves; `name` is of the memory it is in, which reshapes and fused activations share."""

    name: str
    elements: int
    dtype: str


@dataclass(frozen=True)
class Kernel:
    """A node that needs a kernel: its operations (0 where it is no convolution or product) and what it moves.

    `elements` are those of its output, dimensions that are not `known` counted as 1; `dtype` is of its first input.
    """

    name: str
    kind: str
    dtype: str
    flops: float
    elements: int
    known: bool
    reads: tuple[Tensor, ...]
    writes: tuple[Tensor, ...]
    weights: tuple[Tensor, ...]


@dataclass(frozen=True)
class Network:
    """The kernels of a file in its order, and the elements of all its weights."""

    kernels: tuple[Kernel, ...]
    weights: int


def network(location: str, inputs: Shapes) -> Network:
    """The network in an ONNX file (a path or 'builtin:NAME') for inputs of these shapes, by name; read once."""
    inspect(location)  # what is wrong with the file is said there
    return _network(location, modified(location), tuple(sorted(inputs.items())))


def model_work(location: str, inputs: Shapes, precision: str, model: str = "", batch: int = 1) -> ModelWork:
    """The work of an inference in a precision; bytes by each tensor's dtype.

    Float32 tensors count as the precision has them; in int8 all do, which is the least a library may move.
    """
    kernels = network(location, inputs).kernels
    nodes = tuple(_node(kernel, precision) for kernel in kernels)
    return ModelWork(model=model, precision=precision, batch=batch, nodes=nodes, unknown=_unknown(kernels))


def _node(kernel: Kernel, precision: str) -> NodeWork:
    return NodeWork(
        name=kernel.name,
        kind=kernel.kind,
        precision=_PRECISIONS.get(kernel.dtype, precision),
        flops=kernel.flops,
        reads=_moved(kernel.reads, precision),
        writes=_moved(kernel.writes, precision),
        weights=_moved(kernel.weights, precision),
    )


def _moved(tensors: Iterable[Tensor], precision: str) -> Moved:
    widths = {"float32": _BYTES[precision]}
    return tuple((t.name, t.elements * (widths.get(t.dtype) or _width(t.dtype))) for t in tensors)


@lru_cache(maxsize=64)
def _width(dtype: str) -> int:
    """Bytes of an element; those that NumPy does not know are narrow floats."""
    import numpy as np

    if dtype == "bfloat16":
        return 2
    try:
        return np.dtype(dtype).itemsize
    except TypeError:
        return 1


@lru_cache(maxsize=64)
def _network(location: str, modified: int, inputs: tuple[tuple[str, tuple[int, ...]], ...]) -> Network:
    shapes = dict(inputs)
    graph = _Graph(_load(location), shapes)
    kernels = tuple(graph.kernels())
    if not all(kernel.known for kernel in kernels):
        kernels = _folded(location, shapes, kernels)
    return Network(kernels, sum(math.prod(shape) for shape in graph.weights.values()))


def _folded(location: str, inputs: Shapes, kernels: tuple[Kernel, ...]) -> tuple[Kernel, ...]:
    """The kernels of the graph in which shapes are computed once, or `kernels` where fewer of those are known.

    Inference does not follow shapes through the nodes that compute them, as exporters with dynamic axes write them.
    """
    try:
        folded = tuple(_Graph(fix_shapes(load_whole(location), inputs), inputs).kernels())
    except Exception:  # whatever a library cannot do with it: the work is then of what is known
        return kernels
    if _unknown(folded) < _unknown(kernels):
        return folded
    return kernels


def _unknown(kernels: Iterable[Kernel]) -> int:
    return sum(not kernel.known for kernel in kernels)


class _Graph:
    """A file's graph with the shapes and dtypes of its tensors as far as they can be inferred."""

    def __init__(self, model: Any, inputs: Shapes) -> None:
        self.weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
        self._dtypes = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
        self._shapes = dict(self.weights)
        self._complete = set(self.weights)  # tensors without an open dimension
        self._graph = _inferred(model, inputs)
        for value in (*self._graph.input, *self._graph.value_info, *self._graph.output):
            self._note(value.name, value.type.tensor_type)
        self._memory: dict[str, Tensor] = {}

    def _note(self, name: str, kind: Any) -> None:
        """Remember a tensor's dtype, and its shape as far as it is known."""
        self._dtypes[name] = kind.elem_type
        if not kind.HasField("shape"):
            return
        sizes = [dim.dim_value for dim in kind.shape.dim]
        self._shapes[name] = tuple(max(1, size) for size in sizes)
        if all(size > 0 for size in sizes):
            self._complete.add(name)

    def kernels(self) -> Iterable[Kernel]:
        """Those nodes that are no part of another's kernel."""
        for node in self._graph.node:
            if node.op_type in (*_FUSED, *_FREE, *_QUANTISING):
                self._pass_on(node)
            else:
                yield self._kernel(node)

    def _kernel(self, node: Any) -> Kernel:
        output = node.output[0]
        inputs = [self._read(node, name) for name in node.input]
        sized = [tensor for tensor in inputs if tensor.elements]
        return Kernel(
            name=node.name or output,
            kind=node.op_type,
            dtype=next((tensor.dtype for tensor in inputs), ""),
            flops=self._flops(node),
            elements=self._size(output),
            known=output in self._complete,
            reads=tuple(tensor for tensor in sized if tensor.name not in self.weights),
            writes=tuple(self._tensor(name) for name in node.output if self._size(name)),
            weights=tuple(tensor for tensor in sized if tensor.name in self.weights),
        )

    def _pass_on(self, node: Any) -> None:
        """The output is the input's memory; quantised on the way, it is as narrow as it ever was."""
        if not node.input:
            return
        source = self._tensor(node.input[0])
        quantising = node.op_type in _QUANTISING
        if source.name in self.weights and not quantising:
            return
        for name in node.output:
            dtype = self._dtype(name) or source.dtype
            if quantising and source.dtype:
                dtype = min(source.dtype, dtype, key=_width)
            self._memory[name] = Tensor(source.name, self._size(name), dtype)

    def _read(self, node: Any, name: str) -> Tensor:
        """What a node reads of an input: of a table or a picture that it picks from, an element per output."""
        tensor = self._tensor(name)
        if node.op_type not in _PICKING:
            return tensor
        return replace(tensor, elements=min(tensor.elements, self._size(node.output[0])))

    def _tensor(self, name: str) -> Tensor:
        return self._memory.get(name) or Tensor(name, self._size(name), self._dtype(name))

    def _size(self, name: str) -> int:
        return _elements(self._shapes.get(name, (0,)))

    def _dtype(self, name: str) -> str:
        from onnx import helper

        kind = self._dtypes.get(name, 0)
        try:
            return str(helper.tensor_dtype_to_np_dtype(kind).name)
        except KeyError:  # not given, or unknown to ONNX
            return ""

    def _flops(self, node: Any) -> float:
        """Operations of convolutions and products: twice their multiplications; 0 of anything else."""
        if node.op_type in _RECURRENT:
            return 2.0 * self._recurrent(node)
        return 2.0 * self._multiplications(node)

    def _recurrent(self, node: Any) -> int:
        """Multiplications of a recurrent layer: its input and its state by their weights, in each step of each item."""
        steps = self._operand_shape(node, 0, (0,))[:2]
        return _elements(steps) * sum(_elements(self._operand_shape(node, place, (0,))) for place in (1, 2))

    def _multiplications(self, node: Any) -> int:
        first = self._operand_shape(node, 0, (0,))
        second = self._operand_shape(node, _SECOND_OPERAND.get(node.op_type, 1), ())
        outputs = self._size(node.output[0])
        if node.op_type in _CONVOLUTIONS and len(second) > 2:
            return outputs * _elements(second[1:])
        if node.op_type == "ConvTranspose" and len(second) > 2:
            return _elements(first) * _elements(second[1:])
        if node.op_type in _PRODUCTS and len(second) > 1 and first:
            return outputs * _sum_length(node, first)
        return 0

    def _operand_shape(self, node: Any, place: int, default: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of an input; `default` where it is not there or its shape is not known."""
        if len(node.input) <= place:
            return default
        shape: tuple[int, ...] = self._shapes.get(node.input[place], default)
        return shape


def _elements(shape: Iterable[int]) -> int:
    """The elements of a tensor; of one that no memory holds, enough to be seen and few enough to be counted with."""
    return min(math.prod(shape), _MOST_ELEMENTS)


def _sum_length(node: Any, first: tuple[int, ...]) -> int:
    """The length of the sums of a matrix product, from the shape of its first operand."""
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return first[0 if transposed else -1]


def _load(location: str) -> Any:
    import onnx

    if location.startswith("builtin:"):
        return onnx.load_model_from_string(builtin.model_bytes(location.removeprefix("builtin:")))
    return onnx.load_model_from_string(read_onnx(location))


def _inferred(model: Any, inputs: Shapes) -> Any:
    """The graph with all shapes that can be inferred from those of the inputs."""
    import onnx

    graph = model.graph
    for tensor in graph.initializer:
        if math.prod(tensor.dims) > _SHAPE_ELEMENTS:  # inference copies the model, cheap without weights
            tensor.ClearField("raw_data")
            tensor.ClearField("float_data")
    for value in graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim, inputs.get(value.name, ()), strict=False):
            dim.dim_value = size
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    del graph.value_info[:]
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception:  # whatever onnx finds wrong: the work is then of what is known
        return graph
