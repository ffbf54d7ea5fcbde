"""The networks framepace makes itself: fixed random weights, no download, the same bytes everywhere."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.errors import unknown

_OPSET, _IR = 17, 8  # read by every ONNX Runtime from 1.13 on


class _Net:
    """Builds a graph layer by layer; every method takes and returns the name of a tensor."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._rng = np.random.Generator(np.random.PCG64(seed))

    def constant(self, values: NDArray[Any]) -> str:
        """A weight."""
        from onnx import numpy_helper

        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def random(self, *shape: int, fan_in: int) -> str:
        """Uniform weights with the variance of He et al. (2015), from integers so that they are equal everywhere."""
        whole = self._rng.integers(-(2**15), 2**15, shape)
        return self.constant((whole / 2**15 * np.sqrt(6.0 / fan_in)).astype(np.float32))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """One node."""
        from onnx import helper

        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=f"{kind}_{len(self.nodes)}", **attributes))
        return name

    def conv(self, x: str, cin: int, cout: int, k: int = 3, stride: int = 1, group: int = 1, act: bool = True) -> str:
        """Convolution with 'same' padding, and ReLU."""
        fan = cin // group * k * k
        w, b = self.random(cout, cin // group, k, k, fan_in=fan), self.constant(np.zeros(cout, np.float32))
        y = self.op("Conv", x, w, b, kernel_shape=[k, k], strides=[stride] * 2, pads=[k // 2] * 4, group=group)
        return self.op("Relu", y) if act else y

    def finish(self, name: str, shape: list[Any], outputs: list[str]) -> bytes:
        """The model's bytes; `outputs` become 'y0', 'y1', ..."""
        from onnx import TensorProto, helper

        self.nodes += [helper.make_node("Identity", [t], [f"y{i}"]) for i, t in enumerate(outputs)]
        value = helper.make_tensor_value_info
        given = [value("images", TensorProto.FLOAT, shape)]
        made = [value(f"y{i}", TensorProto.FLOAT, None) for i in range(len(outputs))]
        graph = helper.make_graph(self.nodes, name, given, made, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="framepace")
        model.ir_version = _IR
        from onnx.shape_inference import infer_shapes

        data: bytes = infer_shapes(model).SerializeToString(deterministic=True)
        return data


def _detector() -> bytes:
    """A detector: strided backbone with depthwise-separable blocks and heads at strides 8, 16 and 32; 640x384."""
    net = _Net(1)
    x = net.conv("images", 3, 16, stride=2)
    x = net.conv(x, 16, 32, stride=2)
    channels, heads = 32, []
    for width, blocks in ((64, 2), (128, 2), (192, 1)):
        x = net.conv(x, channels, channels, stride=2, group=channels)
        x = net.conv(x, channels, width, k=1)
        for _ in range(blocks):
            y = net.conv(x, width, width, group=width)
            x = net.op("Add", x, net.conv(y, width, width, k=1, act=False))
        channels = width
        heads.append(net.conv(x, width, 24, k=1, act=False))
    return net.finish("detector", ["batch", 3, 384, 640], [net.op("Sigmoid", h) for h in heads])


def _classifier() -> bytes:
    """A ResNet-like classifier, 224x224, 100 classes."""
    net = _Net(2)
    x = net.conv("images", 3, 16, k=7, stride=4)
    channels = 16
    for width, blocks in ((32, 2), (64, 2), (128, 2)):
        for block in range(blocks):
            stride = 2 if block == 0 and width > 32 else 1
            y = net.conv(net.conv(x, channels, width, stride=stride), width, width, act=False)
            same = x if (channels, stride) == (width, 1) else net.conv(x, channels, width, 1, stride, act=False)
            x, channels = net.op("Relu", net.op("Add", y, same)), width
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    bias = net.constant(np.zeros(100, np.float32))
    logits = net.op("Gemm", x, net.random(channels, 100, fan_in=channels), bias)
    return net.finish("classifier", ["batch", 3, 224, 224], [net.op("Softmax", logits, axis=1)])


def _manykernels() -> bytes:
    """Three hundred small nodes that no optimiser fuses away: launching them is the work."""
    net = _Net(3)
    x = net.conv("images", 3, 8, k=1, stride=4)
    for _ in range(75):
        y = net.conv(x, 8, 8, k=1, act=False)
        x = net.op("Tanh", net.op("Add", x, net.op("Sigmoid", y)))
    return net.finish("manykernels", ["batch", 3, 64, 64], [x])


def _membound() -> bytes:
    """Elementwise work over large tensors: every step reads and writes them whole."""
    net = _Net(4)
    x = net.conv("images", 3, 16, k=1)
    for _ in range(6):
        scale = net.random(1, 16, 1, 1, fan_in=6)
        x = net.op("Abs", net.op("Add", net.op("Mul", x, scale), x))
    return net.finish("membound", ["batch", 3, 384, 640], [net.op("ReduceMean", x, axes=[2, 3], keepdims=0)])


_NETS: dict[str, Callable[[], bytes]] = {
    "detector": _detector,
    "classifier": _classifier,
    "manykernels": _manykernels,
    "membound": _membound,
}


def names() -> list[str]:
    """The built-in models."""
    return sorted(_NETS)


@lru_cache
def model_bytes(name: str) -> bytes:
    """The ONNX file of a built-in model. Raises UsageError for a name that is not one."""
    if name not in _NETS:
        raise unknown("built-in model", name, _NETS)
    return _NETS[name]()
