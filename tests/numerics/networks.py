"""Small networks as ONNX files, made in a line or two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from framepace.facts.plan import ModelPlan

SIZE = 16


class Network:
    """A chain of nodes on a picture input 'x' of 1x3x16x16; each is called by its name and makes a tensor of that."""

    def __init__(self, seed: int = 0) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.rng = np.random.default_rng(seed)

    def weight(self, name: str, values: Any) -> str:
        """A constant; its name."""
        from onnx import numpy_helper

        self.weights.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def add(self, operator: str, name: str, *inputs: str, **attributes: Any) -> str:
        """A node; the name of what it makes, which is its own."""
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def conv(self, name: str, source: str, channels: int, made: int, scale: float = 1.0) -> str:
        """A convolution of 1x1 that keeps values as large as they are, times `scale`."""
        weights = self.rng.normal(size=(made, channels, 1, 1)) * scale / np.sqrt(channels)
        return self.add("Conv", name, source, self.weight(f"{name}.w", weights))

    def proto(self, *outputs: str, shape: tuple[int | str, ...] = (1, 4, SIZE, SIZE)) -> Any:
        """The model; all outputs have one shape."""
        from onnx import TensorProto, helper

        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, SIZE, SIZE])
        made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in outputs]
        graph = helper.make_graph(self.nodes, "net", [x], made, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)

    def plan(self, folder: Path, *outputs: str, **changes: Any) -> ModelPlan:
        """The plan of the model, written into a folder."""
        import onnx

        path = folder / "net.onnx"
        onnx.save(self.proto(*outputs, **changes), path)
        return ModelPlan(name="net", model=str(path))


def taken_apart(network: Network, source: str, epsilon: float = 1e-3) -> str:
    """A normalisation over channels as exporters take it apart; the last node is 'normalised'."""
    two = network.weight("two", 2.0)
    network.add("Pow", "square", source, two)
    network.add("ReduceMean", "mean", "square", axes=[1], keepdims=1)
    network.add("Add", "shifted", "mean", network.weight("epsilon", epsilon))
    network.add("Sqrt", "root", "shifted")
    return network.add("Div", "normalised", source, "root")


def large_norm(scale: float, epsilon: float) -> Network:
    """A normalisation taken apart, whose squares FP16 does not hold where `scale` is large; then a convolution."""
    network = Network()
    network.conv("first", "x", 3, 4)
    network.add("Tanh", "bent", "first")
    network.add("Mul", "large", "bent", network.weight("scale", scale))
    taken_apart(network, "large", epsilon)
    network.conv("last", "normalised", 4, 4)
    return network


def large_norm_file(folder: Path, scale: float = 3000.0, epsilon: float = 1e-3) -> str:
    """A normalisation taken apart, whose squares FP16 does not hold; then a convolution."""
    return large_norm(scale, epsilon).plan(folder, "last").model


def exponential_file(folder: Path) -> str:
    """A logarithm of an exponential that FP16 does not hold."""
    network = Network()
    network.add("Mul", "scaled", "x", network.weight("scale", 30.0))
    network.add("Exp", "power", "scaled")
    network.add("Log", "back", "power")
    return network.plan(folder, "back", shape=(1, 3, SIZE, SIZE)).model


def output_of(path: str | None, x: Any) -> Any:
    """The first output of a file by ONNX Runtime on the CPU."""
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
