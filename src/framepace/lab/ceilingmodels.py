"""The ONNX models from which ceilings are measured: large products, a copy, and a chain of tiny products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.engine.corekeeper import usable_cores

_OPSET = 17
_IR_VERSION = 8
_INT8_SCALE = 1 / 127

Node = tuple[str, list[str], str]
"""Operator, inputs, output."""


@dataclass(frozen=True)
class Sizes:
    """How large the models are: (rows, width) x (width, width) for each of the products; `items` tensors of `floats`
    numbers in a batch of the copy.
    """

    rows: int
    width: int
    products: int
    floats: int
    items: int

    @property
    def flops(self) -> float:
        """Operations of the products."""
        return 2.0 * self.rows * self.width**2 * self.products

    @property
    def item_bytes(self) -> int:
        """Bytes of one tensor of the copy."""
        return 4 * self.floats


# Products large enough to fill a device to 98 %; copies from what its caches hold to several times as much.
ON_DEVICE = Sizes(rows=16384, width=2048, products=2, floats=1 << 20, items=32)
CHAIN = Sizes(rows=32, width=32, products=64, floats=0, items=0)
"""Tiny products, one after the other: all that counts is their number."""


def sizes_on_cpu(threads: int) -> Sizes:
    """Sizes for this many threads, 0: one per core. Runs take about a millisecond: some escape other load."""
    rows = min(max(256 * (threads or len(usable_cores())), 512), 8192)
    return Sizes(rows=rows, width=512, products=2, floats=1 << 17, items=128)


def products(sizes: Sizes, precision: str) -> Any:
    """x W W ...: in float16, in int8 between Q/DQ pairs, else in float32."""
    shape = [1, sizes.rows, sizes.width]  # the first dimension is the batch
    weights = _weights(sizes.width)
    match precision:
        case "int8":
            return _model(_quantised_chain(sizes.products), shape, _quantised(weights), np.float32)
        case "fp16":
            return _model(_chain(sizes.products), shape, {"w": weights.astype(np.float16)}, np.float16)
        case _:
            return _model(_chain(sizes.products), shape, {"w": weights.astype(np.float32)}, np.float32)


def _weights(width: int) -> NDArray[np.float64]:
    """(width, width) random weights that keep the variance of what is multiplied with them."""
    return np.asarray(np.random.default_rng(0).uniform(-1, 1, (width, width)) * np.sqrt(3 / width))


def _quantised(weights: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """The constants of a quantised chain: weights in int8, scale and zero point."""
    whole = np.round(weights / np.abs(weights).max() * 127).astype(np.int8)
    return {"w": whole, "s": np.array(_INT8_SCALE, np.float32), "z": np.array(0, np.int8)}


def _chain(count: int) -> list[Node]:
    """x w w ... = y."""
    names = ["x", *(f"t{i}" for i in range(1, count)), "y"]
    return [("MatMul", [names[i], "w"], names[i + 1]) for i in range(count)]


def _quantised_chain(count: int) -> list[Node]:
    """The same with a Q/DQ pair before each product and after the last."""
    nodes: list[Node] = [
        ("QuantizeLinear", ["x", "s", "z"], "q0"),
        ("DequantizeLinear", ["w", "s", "z"], "dw"),
    ]
    for i in range(count):
        nodes.append(("DequantizeLinear", [f"q{i}", "s", "z"], f"d{i}"))
        nodes.append(("MatMul", [f"d{i}", "dw"], f"t{i}"))
        nodes.append(("QuantizeLinear", [f"t{i}", "s", "z"], f"q{i + 1}"))
    nodes.append(("DequantizeLinear", [f"q{count}", "s", "z"], "y"))
    return nodes


def copy(sizes: Sizes) -> Any:
    """A kernel that reads and writes a tensor once."""
    return _model([("Neg", ["x"], "y")], ["batch", sizes.floats], {}, np.float32)


def _initializers(constants: dict[str, NDArray[Any]]) -> list[Any]:
    from onnx import numpy_helper

    return [numpy_helper.from_array(array, name) for name, array in constants.items()]


def _model(nodes: list[Node], shape: list[Any], constants: dict[str, NDArray[Any]], dtype: Any) -> Any:
    """A model from x to y, both of `shape`."""
    from onnx import helper

    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    x, y = (helper.make_tensor_value_info(name, kind, shape) for name in ("x", "y"))
    operators = [helper.make_node(op, inputs, [output], name=output) for op, inputs, output in nodes]
    graph = helper.make_graph(operators, "ceilings", [x], [y], _initializers(constants))
    return _as_model(graph)


def _as_model(graph: Any) -> Any:
    """A model of `graph` in versions that every runtime reads."""
    from onnx import helper

    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="framepace")
    model.ir_version = _IR_VERSION
    return model
