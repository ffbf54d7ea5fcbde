"""The networks framepace makes itself: fixed random weights, no download, the same bytes everywhere."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.errors import UsageError, unknown
from framepace.facts.settings import parse_size

# Read by every ONNX Runtime from 1.13 on.
_OPSET = 17
_IR_VERSION = 8
_LONGEST_SIDE = 1 << 15  # pixels: four times those of 8K video


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

    def zeros(self, count: int) -> str:
        """A bias of nothing."""
        return self.constant(np.zeros(count, np.float32))

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

    def conv(
        self, x: str, cin: int, cout: int, k: int = 3, stride: int = 1, group: int = 1, act: bool = True, damp: int = 1
    ) -> str:
        """Convolution with 'same' padding, and ReLU; `damp` lowers the variance of its output that many times."""
        fan_in = cin // group * k * k * damp
        weight = self.random(cout, cin // group, k, k, fan_in=fan_in)
        bias = self.zeros(cout)
        y = self.op("Conv", x, weight, bias, kernel_shape=[k, k], strides=[stride] * 2, pads=[k // 2] * 4, group=group)
        if act:
            y = self.op("Relu", y)
        return y

    def add_relu(self, x: str, y: str) -> str:
        """The end of a residual block."""
        return self.op("Relu", self.op("Add", x, y))

    def linear(self, x: str, weight: str, bias: str) -> str:
        """A matrix product with a bias."""
        return self.op("Gemm", x, weight, bias)

    def pooled(self, x: str) -> str:
        """The mean of each channel."""
        return self.op("Flatten", self.op("GlobalAveragePool", x))

    def finish(self, name: str, size: tuple[int, int], outputs: list[str]) -> bytes:
        """The model's bytes, for pictures of `size` (height, width); `outputs` become 'y0', 'y1', ..."""
        from onnx import TensorProto, helper

        shape = ["batch", 3, *size]
        values = [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)]
        for index, tensor in enumerate(outputs):
            output = f"y{index}"
            self.nodes.append(helper.make_node("Identity", [tensor], [output]))
            values.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
        graph = helper.make_graph(self.nodes, name, values[:1], values[1:], self.weights)
        return _serialised(graph)


def _serialised(graph: Any) -> bytes:
    from onnx import helper
    from onnx.shape_inference import infer_shapes

    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="framepace")
    model.ir_version = _IR_VERSION
    data: bytes = infer_shapes(model).SerializeToString(deterministic=True)
    return data


def _detector(height: int, width: int) -> bytes:
    """A detector: strided backbone with depthwise-separable blocks and heads at strides 8, 16 and 32."""
    net = _Net(1)
    x = net.conv("images", 3, 16, stride=2)
    x = net.conv(x, 16, 32, stride=2)
    channels = 32
    heads = []
    for cout, blocks in ((64, 2), (128, 2), (192, 1)):
        x = _separable_stage(net, x, channels, cout, blocks)
        channels = cout
        heads.append(_head(net, x, cout))
    return net.finish("detector", (height, width), [net.op("Sigmoid", h) for h in heads])


def _head(net: _Net, x: str, cin: int) -> str:
    """The answers at each place: 24 channels."""
    return net.conv(x, cin, 24, k=1, act=False)


def _separable_stage(net: _Net, x: str, cin: int, cout: int, blocks: int) -> str:
    """Halve the resolution, then residual blocks, all of depthwise-separable convolutions."""
    x = net.conv(x, cin, cin, stride=2, group=cin)
    x = net.conv(x, cin, cout, k=1)
    for _ in range(blocks):
        y = net.conv(x, cout, cout, group=cout)
        x = net.op("Add", x, net.conv(y, cout, cout, k=1, act=False))
    return x


def _classifier(height: int, width: int) -> bytes:
    """A small ResNet-like classifier of 100 classes."""
    net = _Net(2)
    x = net.conv("images", 3, 16, k=7, stride=4)
    channels = 16
    for cout, stride in ((32, 1), (64, 2), (128, 2)):
        x = _two_basic_blocks(net, x, channels, cout, stride)
        channels = cout
    bias = net.zeros(100)
    logits = net.linear(net.pooled(x), net.random(channels, 100, fan_in=channels), bias)
    return net.finish("classifier", (height, width), [net.op("Softmax", logits, axis=1)])


def _two_basic_blocks(net: _Net, x: str, cin: int, cout: int, stride: int) -> str:
    """A stage of a small ResNet."""
    x = _basic_block(net, x, cin, cout, stride)
    return _basic_block(net, x, cout, cout, 1)


def _basic_block(net: _Net, x: str, cin: int, cout: int, stride: int) -> str:
    """Two 3x3 convolutions, and a way around them of the same shape."""
    y = net.conv(net.conv(x, cin, cout, stride=stride), cout, cout, act=False)
    if (cin, stride) != (cout, 1):
        x = net.conv(x, cin, cout, 1, stride, act=False)
    return net.add_relu(y, x)


def _resnet18(height: int, width: int) -> bytes:
    """ResNet-18 (He et al., 2015) with its batch normalisations folded away: 1.8 GMAC at 224x224, 11.7 M weights."""
    net = _Net(6)
    x = _stem(net)
    channels = 64
    for cout, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        x = _two_basic_blocks(net, x, channels, cout, stride)
        channels = cout
    return net.finish("resnet18", (height, width), [_logits(net, x, channels)])


def _resnet50(height: int, width: int) -> bytes:
    """ResNet-50 (He et al., 2015) with its batch normalisations folded away: 4.1 GMAC at 224x224, 25.5 M weights."""
    net = _Net(5)
    x = _stem(net)
    channels = 64
    for cmid, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        x = _bottleneck(net, x, channels, cmid, stride)
        channels = 4 * cmid
        for _ in range(blocks - 1):
            x = _bottleneck(net, x, channels, cmid, 1)
    return net.finish("resnet50", (height, width), [_logits(net, x, channels)])


def _stem(net: _Net) -> str:
    """The first layers of a ResNet: 64 channels at a quarter of the resolution."""
    x = net.conv("images", 3, 64, k=7, stride=2)
    return net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])


def _logits(net: _Net, x: str, channels: int) -> str:
    """The last layers of a ResNet: 1000 classes."""
    weight = net.random(channels, 1000, fan_in=channels)
    return net.linear(net.pooled(x), weight, net.zeros(1000))


def _bottleneck(net: _Net, x: str, cin: int, cmid: int, stride: int) -> str:
    """1x1, 3x3 and 1x1 convolutions to 4 * cmid channels, and a way around them of the same shape."""
    y = net.conv(net.conv(x, cin, cmid, k=1), cmid, cmid, stride=stride)
    y = net.conv(y, cmid, 4 * cmid, k=1, act=False, damp=16)  # sixteen blocks add up: FP16 must hold them
    if cin != 4 * cmid:
        x = net.conv(x, cin, 4 * cmid, 1, stride, act=False)
    return net.add_relu(y, x)


def _manykernels(height: int, width: int) -> bytes:
    """Three hundred small nodes that no optimiser fuses away: launching them is the work."""
    net = _Net(3)
    x = net.conv("images", 3, 8, k=1, stride=4)
    for _ in range(75):
        y = net.conv(x, 8, 8, k=1, act=False)
        x = net.op("Tanh", net.op("Add", x, net.op("Sigmoid", y)))
    return net.finish("manykernels", (height, width), [x])


def _membound(height: int, width: int) -> bytes:
    """Elementwise work over large tensors: every step reads and writes them whole."""
    net = _Net(4)
    x = net.conv("images", 3, 16, k=1)
    for _ in range(6):
        scale = net.random(1, 16, 1, 1, fan_in=6)
        x = net.op("Abs", net.op("Add", net.op("Mul", x, scale), x))
    return net.finish("membound", (height, width), [net.op("ReduceMean", x, axes=[2, 3], keepdims=0)])


# What makes the network, and the (height, width) of its input where none is asked for.
_NETS: dict[str, tuple[Callable[[int, int], bytes], tuple[int, int]]] = {
    "detector": (_detector, (384, 640)),
    "classifier": (_classifier, (224, 224)),
    "resnet18": (_resnet18, (224, 224)),
    "resnet50": (_resnet50, (224, 224)),
    "manykernels": (_manykernels, (64, 64)),
    "membound": (_membound, (384, 640)),
}


def names() -> list[str]:
    """The built-in models."""
    return sorted(_NETS)


@lru_cache(maxsize=8)
def model_bytes(name: str) -> bytes:
    """The ONNX file of a built-in model, 'NAME' or 'NAME@WIDTHxHEIGHT' for another input size.

    Raises UsageError for a name that is not one, or a size that is none.
    """
    plain, at, size_text = name.partition("@")
    if plain not in _NETS:
        raise unknown("built-in model", plain, _NETS)
    make, size = _NETS[plain]
    if at:
        size = parse_size(size_text)
        if max(size) > _LONGEST_SIDE:
            expected = f"sides of at most {_LONGEST_SIDE} pixels"
            raise UsageError(f"the input of built-in model {plain!r} is too large", got=size_text, expected=expected)
    return make(*size)
