"""The ranges of INT8: what calibration makes of the activations of a model, and weights on their own scales."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from framepace.errors import StoreError
from framepace.facts.plan import Calibration
from framepace.models.convert.kept import types_of
from framepace.models.convert.optimised import saved
from framepace.models.convert.quiet import QUANTISED, quietly
from framepace.progress import Tell, silent
from framepace.store import cache

LARGEST = 127.0  # of symmetric int8
NARROW = 64.0  # of symmetric 7 bits
CALIBRATIONS: Mapping[Calibration, str] = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}
PERCENTILE = 99.99
_PICTURES_IN_MEMORY = 4  # whose activations are held at once
_VERSION = 2  # part of the name in the cache: raise it when the same frames would give other ranges
_SCALES = {10: np.float16}  # by the type of a tensor, as onnx.TensorProto numbers it; others have float32
Ranges = dict[str, tuple[float, float]]  # the lowest and the highest value of each tensor, by its name


def activation_ranges(
    model: Any,
    frames: Sequence[dict[str, Any]],
    method: Calibration = "percentile",
    tell: Tell = silent,
    name: str = "model",
) -> Ranges:
    """The ranges of the tensors that INT8 nodes read or make; made once, for the cache keeps them.

    Args:
        model: optimised, its nodes named (`optimised_and_named`): a ModelProto.
        frames: inputs by name, as `to_int8` takes them.
        method: see `to_int8`.
        name: of the model, for errors.

    Raises ModelError: the calibration fails.
    """
    file = f"ranges/{cache.key(_VERSION, method, inputs_key(model, frames))}.json"
    ranges = _cached(file)
    if ranges is None:
        ranges = _calibrated(model, frames, method, tell, name)
        if all(math.isfinite(end) for ends in ranges.values() for end in ends):  # JSON holds no others
            with suppress(StoreError):  # then they are made again
                cache.put(file, msgspec.json.encode(ranges))
    return ranges


def inputs_key(proto: Any, inputs: Sequence[dict[str, Any]]) -> str:
    """A text that changes with a network, its inputs and ONNX Runtime."""
    import onnxruntime

    digest = hashlib.sha256(str(proto.opset_import).encode())
    graph = proto.graph
    for part in (*graph.input, *graph.output, *graph.node, *graph.initializer):  # as a whole it may be too large
        digest.update(part.SerializeToString(deterministic=True))
    for number in range(len(inputs)):
        for name, array in sorted(inputs[number].items()):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return f"{onnxruntime.__version__} {digest.hexdigest()}"


def _cached(name: str) -> Ranges | None:
    """Ranges of the cache; None where there are none, or damaged ones."""
    try:
        return msgspec.json.decode((cache.folder() / name).read_bytes(), type=Ranges)
    except (OSError, msgspec.DecodeError):
        return None


def _calibrated(model: Any, frames: Sequence[dict[str, Any]], method: Calibration, tell: Tell, name: str) -> Ranges:
    with quietly(name, "INT8") as folder:
        calibrator = _calibrator(saved(model, folder / "model.onnx"), folder / "augmented.onnx", method)
        reader = calibration_reader(frames, f"calibrating {name}", tell)
        for first, last in calibration_steps(frames):
            reader.set_range(first, last)
            calibrator.collect_data(reader)
        made = calibrator.compute_data()
        return {tensor: (_end(made[tensor].lowest), _end(made[tensor].highest)) for tensor in made}


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


def _end(value: Any) -> float:
    """One end of a range."""
    return float(np.asarray(value).ravel()[0])


def magnitude(ends: tuple[float, float]) -> float:
    """The larger end of a range, on both sides of zero."""
    return max(map(abs, ends))


def tensors_data(ranges: Ranges, method: Calibration, graph: Any) -> Any:
    """The ranges as ONNX Runtime's quantiser takes them: scales get the type of their tensor in the graph."""
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import TensorData, TensorsData

    types = types_of(graph)
    tensors = {}
    for name, ends in ranges.items():
        lowest, highest = (np.array(end, _SCALES.get(types.get(name, 0), np.float32)) for end in ends)
        tensors[name] = TensorData(lowest=lowest, highest=highest)
    return TensorsData(CalibrationMethod[CALIBRATIONS[method]], tensors)


def calibration_stride(frames: Sequence[dict[str, Any]]) -> int:
    """Batches whose activations are held together."""
    image = max((array for array in frames[0].values()), key=lambda array: array.ndim)
    if not image.ndim:
        return 1
    return max(1, _PICTURES_IN_MEMORY // len(image))


def calibration_steps(frames: Sequence[dict[str, Any]]) -> Iterator[tuple[int, int]]:
    """Ranges of frames that are calibrated on together."""
    step = calibration_stride(frames)
    for first in range(0, len(frames), step):
        yield first, first + step


def calibration_reader(frames: Sequence[dict[str, Any]], text: str, tell: Tell) -> Any:
    """The calibrator's source of frames; it reports how many it has taken."""
    from onnxruntime import quantization

    count = len(frames)

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._range = iter(range(count))

        def set_range(self, start_index: int, end_index: int) -> None:
            self._range = iter(range(start_index, min(end_index, count)))

        def get_next(self) -> dict[str, Any] | None:
            for index in self._range:
                tell(text, (index + 1) / count)
                return frames[index]
            return None

    return Reader()


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


def quantised_weights(values: NDArray[np.float32], axis: int | None, largest: float = LARGEST) -> NDArray[np.float32]:
    """Weights as INT8 holds them, as floats: the nearest of 255 numbers, by the largest magnitude per channel.

    With `largest` NARROW of 129 numbers, as on CPUs that add INT8 products in too few bits (`int8cpu`).
    """
    others = None
    if axis is not None:
        others = tuple(place for place in range(values.ndim) if place != axis)
    scale = np.abs(values).max(axis=others, keepdims=True) / largest
    scale = np.where(scale > 0, scale, 1.0).astype(np.float32)
    return np.asarray(np.clip(np.rint(values / scale), -largest, largest) * scale, np.float32)
