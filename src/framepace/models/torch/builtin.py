"""The networks of models/builtin.py as modules: their ONNX nodes as calls of PyTorch, with the weights of the file.

Only the operators that those networks use, in the forms in which they use them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import fx
from torch.nn import functional

from framepace.errors import BackendError
from framepace.models.builtin import model_bytes

_Attributes = Mapping[str, Any]
_Emit = Callable[[fx.Graph, list[Any], _Attributes], Any]


def load(name: str, device: str) -> Any:
    """The built-in network as a module with its weights on `device`: NCHW float32 in, a tuple of tensors out."""
    import onnx

    source = onnx.load_model_from_string(model_bytes(name)).graph
    root = torch.nn.Module()
    graph = fx.Graph()
    _register(root, source.initializer, device)
    values = _sources(graph, source)
    for node in source.node:
        values[node.output[0]] = _emit(graph, name, node, [values[i] for i in node.input])
        values[node.output[0]].meta["onnx"] = (node.name,)
    graph.output(tuple(values[output.name] for output in source.output))
    return fx.GraphModule(root, graph)


def _sources(graph: fx.Graph, source: Any) -> dict[str, Any]:
    """The nodes of inputs and weights, by name."""
    values = {value.name: graph.placeholder(value.name) for value in source.input}
    return values | {tensor.name: graph.get_attr(tensor.name) for tensor in source.initializer}


def _register(root: torch.nn.Module, weights: Iterable[Any], device: str) -> None:
    """Give `root` a buffer on `device` for each of the ONNX weights."""
    from onnx import numpy_helper

    for tensor in weights:
        root.register_buffer(tensor.name, torch.from_numpy(numpy_helper.to_array(tensor).copy()).to(device))


def _emit(graph: fx.Graph, name: str, node: Any, inputs: list[Any]) -> Any:
    """The call that stands for an ONNX node."""
    from onnx.helper import get_attribute_value

    if node.op_type not in _OPERATORS:
        raise BackendError(f"builtin:{name} uses the operator {node.op_type}, which the backend torch does not have")
    attributes = {attribute.name: get_attribute_value(attribute) for attribute in node.attribute}
    return _OPERATORS[node.op_type](graph, inputs, attributes)


def _call(function: Any) -> _Emit:
    """An operator that takes its inputs as they are."""
    return lambda graph, inputs, _: graph.call_function(function, tuple(inputs))


def _identity(graph: fx.Graph, inputs: list[Any], attributes: _Attributes) -> Any:
    return inputs[0]


def _conv(graph: fx.Graph, inputs: list[Any], attributes: _Attributes) -> Any:
    """A convolution whose padding is the same before and after."""
    padding = tuple(attributes["pads"][:2])
    settings = {"stride": tuple(attributes["strides"]), "padding": padding, "groups": attributes["group"]}
    return graph.call_function(functional.conv2d, tuple(inputs), settings)


def _gemm(graph: fx.Graph, inputs: list[Any], attributes: _Attributes) -> Any:
    x, weight, bias = inputs
    return graph.call_function(torch.addmm, (bias, x, weight))


def _max_pool(graph: fx.Graph, inputs: list[Any], attributes: _Attributes) -> Any:
    window = [tuple(attributes[key][:2]) for key in ("kernel_shape", "strides", "pads")]
    return graph.call_function(functional.max_pool2d, (inputs[0], *window))


def _pool(graph: fx.Graph, inputs: list[Any], attributes: _Attributes) -> Any:
    return graph.call_function(functional.adaptive_avg_pool2d, (inputs[0], 1))


def _flatten(graph: fx.Graph, inputs: list[Any], attributes: _Attributes) -> Any:
    return graph.call_function(torch.flatten, (inputs[0], attributes.get("axis", 1)))


def _softmax(graph: fx.Graph, inputs: list[Any], attributes: _Attributes) -> Any:
    return graph.call_function(torch.softmax, (inputs[0], attributes["axis"]))


def _mean(graph: fx.Graph, inputs: list[Any], attributes: _Attributes) -> Any:
    return graph.call_function(torch.mean, (inputs[0], list(attributes["axes"]), bool(attributes["keepdims"])))


_OPERATORS: Mapping[str, _Emit] = {
    "Abs": _call(torch.abs),
    "Add": _call(torch.add),
    "Conv": _conv,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _pool,
    "Identity": _identity,
    "MaxPool": _max_pool,
    "Mul": _call(torch.mul),
    "ReduceMean": _mean,
    "Relu": _call(torch.relu),
    "Sigmoid": _call(torch.sigmoid),
    "Softmax": _softmax,
    "Tanh": _call(torch.tanh),
}
