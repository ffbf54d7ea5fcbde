"""Runs of sessions with dtypes that ONNX Runtime does not exchange with NumPy by itself: bfloat16, float8, int4."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.facts.model import ModelSpec, TensorSpec
from framepace.models.dtypes import dtype_of

RunSession = Callable[[Sequence[str], Any], list[Any]]


def runner(session: Any, spec: ModelSpec) -> RunSession:
    """`session.run`, or the same through OrtValues where inputs or outputs need them."""
    rare = {tensor.name for tensor in (*spec.inputs, *spec.outputs) if _is_rare(tensor)}
    if not rare:
        run: RunSession = session.run
        return run
    dtypes = {tensor.name: dtype_of(tensor.dtype) for tensor in spec.outputs}

    def run_values(names: Sequence[str], inputs: Any) -> list[Any]:
        values = {name: _value(array, name in rare) for name, array in inputs.items()}
        outputs = zip(names, session.run_with_ort_values(list(names), values), strict=True)
        return [_array(value, dtypes[name], name in rare) for name, value in outputs]

    return run_values


def _is_rare(tensor: TensorSpec) -> bool:
    return dtype_of(tensor.dtype).kind == "V" or tensor.dtype.startswith("float8")


def _value(array: NDArray[Any], is_rare: bool) -> Any:
    from onnx import helper
    from onnxruntime import OrtValue

    array = np.ascontiguousarray(array)
    if not is_rare:
        return OrtValue.ortvalue_from_numpy(array)
    return OrtValue.ortvalue_from_numpy_with_onnx_type(array, helper.np_dtype_to_tensor_dtype(array.dtype))


def _array(value: Any, dtype: np.dtype[Any], is_rare: bool) -> NDArray[Any]:
    """A copy of the tensor, whose memory is ONNX Runtime's."""
    if not is_rare:
        array: NDArray[Any] = value.numpy()
        return array
    shape = tuple(value.shape())
    size = int(np.prod(shape)) * dtype.itemsize
    data = ctypes.string_at(value.data_ptr(), size) if size else b""
    return np.frombuffer(data, dtype).reshape(shape)
