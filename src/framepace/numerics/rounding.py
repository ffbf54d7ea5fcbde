"""How a float32 tensor is rounded to a lower precision inside an ONNX graph that computes in float32.

On a CPU ONNX Runtime computes the nodes of an FP16 file in FP32, which hides what overflows. So a low precision is
emulated: each tensor that a device would store in it is rounded by nodes of the graph itself, and everything else is
computed in FP32, as tensor cores multiply and accumulate. What is beyond the largest number becomes infinite.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

LowPrecision = Literal["fp16", "bf16", "int8"]


@dataclass(frozen=True)
class RoundedTensor:
    """The nodes that round one tensor, in order, the constants that they read, and the name of the rounded tensor."""

    output: str
    nodes: tuple[Any, ...]
    initializers: tuple[Any, ...] = ()


class Rounding(Protocol):
    """A number format that float32 tensors of a graph are rounded to."""

    @property
    def precision(self) -> LowPrecision:
        """The format's name in a plan."""
        ...

    @property
    def largest(self) -> float:
        """The largest finite number that it holds; infinity where values beyond it are clipped (INT8)."""
        ...

    @property
    def smallest(self) -> float:
        """The smallest number over zero that it holds; 0 where that depends on the tensor (INT8)."""
        ...

    @property
    def operators(self) -> frozenset[str] | None:
        """Types of nodes that run in this precision; None: all that take floats and are not listed as kept."""
        ...

    @property
    def rounds_outputs(self) -> bool:
        """Whether what a node makes is stored in the precision (FP16, BF16), not only what it reads (INT8)."""
        ...

    def nodes(self, tensor: str, prefix: str, stands_for: str = "") -> RoundedTensor:
        """What rounds the float32 tensor `tensor`: it is a value or an initializer of the graph, by its own name.

        Where it has another name there, `stands_for` is that of the model's own graph, by which ranges are found. All
        names that are made begin with `prefix`, which is unique in the graph. Where `tensor` is not rounded (no range
        is known for it), `nodes` is empty and `output` is `tensor`. Raises nothing.
        """
        ...

    def weights(self, tensor: str, values: NDArray[np.float32], prefix: str) -> RoundedTensor:
        """The same for an initializer that holds `values`: usually rounded beforehand, a constant and no nodes.

        A converter may treat weights otherwise than values: FP16's clips them, INT8's has a scale per channel.
        """
        ...


@dataclass(frozen=True)
class CastRounding:
    """Rounding by a cast to a type of ONNX and back: `FP16` and `BF16`."""

    precision: LowPrecision
    onnx_type: int
    largest: float
    smallest: float
    operators: frozenset[str] | None = None
    rounds_outputs: bool = True

    def nodes(self, tensor: str, prefix: str, stands_for: str = "") -> RoundedTensor:
        """A Cast to the type and a Cast back."""
        from onnx import TensorProto, helper

        low = f"{prefix}_low"
        output = f"{prefix}_rounded"
        down = helper.make_node("Cast", [tensor], [low], name=low, to=self.onnx_type)
        up = helper.make_node("Cast", [low], [output], name=output, to=TensorProto.FLOAT)
        return RoundedTensor(output, (down, up))

    def weights(self, tensor: str, values: NDArray[np.float32], prefix: str) -> RoundedTensor:
        """A constant; what is beyond the largest number becomes that, as converters do it."""
        from onnx import numpy_helper

        rounded = self.round(np.clip(values, -self.largest, self.largest))
        if np.array_equal(rounded, values, equal_nan=True):
            return RoundedTensor(tensor, ())
        output = f"{prefix}_rounded"
        return RoundedTensor(output, (), (numpy_helper.from_array(rounded, output),))

    def round(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """The nearest numbers of the type, ties to even; float32 again."""
        if self.precision == "fp16":
            with np.errstate(over="ignore"):
                return values.astype(np.float16).astype(np.float32)
        return _to_bfloat16(values)


def _to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """bfloat16 is the upper half of a float32: half of the last place that stays is added, and the rest cut off."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    rounded = (bits + np.uint32(0x7FFF) + odd) & np.uint32(0xFFFF0000)
    return np.where(np.isfinite(values), rounded.view(np.float32), values).astype(np.float32)


_FLOAT16 = 10  # of onnx.TensorProto, which is imported where it is needed
_BFLOAT16 = 16
FP16 = CastRounding("fp16", _FLOAT16, largest=65504.0, smallest=2.0**-24)
BF16 = CastRounding("bf16", _BFLOAT16, largest=2.0**128 - 2.0**120, smallest=2.0**-133)
CASTS: Mapping[str, CastRounding] = {"fp16": FP16, "bf16": BF16}
