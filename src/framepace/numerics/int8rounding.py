"""Rounding to INT8 as the converter does it: Q/DQ pairs with a range per tensor, weights on a scale per channel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.facts.plan import Calibration
from framepace.models.convert.int8ranges import (
    LARGEST,
    NARROW,
    activation_ranges,
    magnitude,
    quantised_weights,
    weight_axes,
)
from framepace.models.convert.quiet import QUANTISED
from framepace.numerics.rounding import LowPrecision, RoundedTensor
from framepace.progress import Tell, silent


@dataclass(frozen=True)
class Int8Rounding:
    """INT8 for one model: `ranges` are the largest magnitudes of its activations, `axes` those of weights' channels.

    `weight_steps` are the steps on each side of zero that a weight has.
    """

    ranges: Mapping[str, float]
    axes: Mapping[str, int | None]
    weight_steps: float = LARGEST
    precision: LowPrecision = "int8"
    largest: float = math.inf  # what is beyond a range is clipped
    smallest: float = 0.0
    operators: frozenset[str] | None = field(default=frozenset(QUANTISED), repr=False)  # whose order is each process's
    rounds_outputs: bool = True

    def nodes(self, tensor: str, prefix: str, stands_for: str = "") -> RoundedTensor:
        """QuantizeLinear and DequantizeLinear by the range of the tensor; nothing where it has none."""
        from onnx import helper, numpy_helper

        reach = self.ranges.get(stands_for or tensor, 0.0)
        if not reach or not math.isfinite(reach):
            return RoundedTensor(tensor, ())
        constants = (
            numpy_helper.from_array(np.array(reach / LARGEST, np.float32), f"{prefix}_scale"),
            numpy_helper.from_array(np.array(0, np.int8), f"{prefix}_zero"),
        )
        scale = [constant.name for constant in constants]
        low, output = f"{prefix}_low", f"{prefix}_rounded"
        down = helper.make_node("QuantizeLinear", [tensor, *scale], [low], name=low)
        up = helper.make_node("DequantizeLinear", [low, *scale], [output], name=output)
        return RoundedTensor(output, (down, up), constants)

    def weights(self, tensor: str, values: NDArray[np.float32], prefix: str) -> RoundedTensor:
        """The weights as INT8 holds them, a constant; what no INT8 node reads as its weight stays (a bias)."""
        from onnx import numpy_helper

        if tensor not in self.axes:
            return RoundedTensor(tensor, ())
        output = f"{prefix}_rounded"
        rounded = quantised_weights(values, self.axes[tensor], self.weight_steps)
        return RoundedTensor(output, (), (numpy_helper.from_array(rounded, output),))


def int8_rounding(
    model: Any,
    frames: Sequence[dict[str, Any]],
    method: Calibration = "percentile",
    tell: Tell = silent,
    name: str = "model",
    *,
    narrow: bool = False,
) -> Int8Rounding:
    """INT8 as the converter makes it of a model, calibrated on frames.

    Args:
        model: optimised, its nodes named (`optimised_and_named`).
        frames: inputs by name.
        method: of the calibration (see `to_int8`).
        name: of the model, for errors.
        narrow: whether weights have 7 bits (see `to_int8`).

    Raises ModelError: the calibration fails.
    """
    ends = activation_ranges(model, frames, method, tell, name)
    ranges = {tensor: magnitude(both) for tensor, both in ends.items()}
    return Int8Rounding(ranges, weight_axes(model.graph), NARROW if narrow else LARGEST)
