"""The ranges of INT8: what calibration makes of the activations of a model, and weights on their own scales."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.facts.plan import Calibration
from framepace.models.convert.precision import (
    CALIBRATIONS,
    PERCENTILE,
    QUANTISED,
    calibration_reader,
    calibration_steps,
    quietly,
)
from framepace.progress import Tell, silent

LARGEST = 127.0  # of symmetric int8


def activation_ranges(
    model: Path,
    frames: Sequence[dict[str, Any]],
    method: Calibration = "percentile",
    tell: Tell = silent,
    name: str = "model",
) -> dict[str, float]:
    """The largest magnitude of each tensor that INT8 nodes read or make, as the converter calibrates it.

    Args:
        model: a file of ONNX Runtime's basic optimisation.
        frames: inputs by name, as `to_int8` takes them.
        method: see `to_int8`.
        name: of the model, for errors.
    """
    with quietly(name, "INT8") as folder:
        calibrator = _calibrator(model, folder / "augmented.onnx", method)
        reader = calibration_reader(frames, f"calibrating {name}", tell)
        for first, last in calibration_steps(frames):
            reader.set_range(first, last)
            calibrator.collect_data(reader)
        return {tensor: _magnitude(data) for tensor, data in calibrator.compute_data().items()}


def _calibrator(model: Path, augmented: Path, method: Calibration) -> Any:
    from onnxruntime import quantization
    from onnxruntime.quantization.calibrate import create_calibrator

    return create_calibrator(
        model,
        list(QUANTISED),
        augmented_model_path=str(augmented),
        calibrate_method=quantization.CalibrationMethod[CALIBRATIONS[method]],
        extra_options={"percentile": PERCENTILE},
    )


def _magnitude(data: Any) -> float:
    """The larger end of a range, on both sides of zero."""
    lowest, highest = (float(np.max(np.abs(np.asarray(end)))) for end in (data.lowest, data.highest))
    return max(lowest, highest)


def weight_axes(graph: Any) -> Mapping[str, int | None]:
    """The axis of the output channels of each weight that INT8 nodes read; None: one scale for all of it."""
    sizes = {weight.name: len(weight.dims) for weight in graph.initializer}
    return dict(_axes(graph, sizes))


def _axes(graph: Any, sizes: Mapping[str, int]) -> Iterator[tuple[str, int | None]]:
    for node in graph.node:
        if node.op_type not in QUANTISED:
            continue
        for name in node.input[:2]:
            if name in sizes:
                yield name, _channel_axis(node, sizes[name])


def _channel_axis(node: Any, rank: int) -> int | None:
    """Conv has its channels first, ConvTranspose second, a product last unless Gemm turns its weight round."""
    if rank < 2:
        return None
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1
    turned = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return 0 if turned else rank - 1


def quantised_weights(values: NDArray[np.float32], axis: int | None) -> NDArray[np.float32]:
    """Weights as INT8 holds them, as floats: the nearest of 255 numbers, by the largest magnitude per channel."""
    others = None
    if axis is not None:
        others = tuple(place for place in range(values.ndim) if place != axis)
    scale = np.abs(values).max(axis=others, keepdims=True) / LARGEST
    scale = np.where(scale > 0, scale, 1.0).astype(np.float32)
    return np.asarray(np.clip(np.rint(values / scale), -LARGEST, LARGEST) * scale, np.float32)
