"""Tensors as bytes and as numbers in JSON, to arrays and back, with everything checked that can be wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.openinference.datatypes import BYTES, NO_JSON, dtype_of, item_size, pack_bytes, unpack_bytes
from framepace.openinference.errors import RequestError
from framepace.openinference.messages import element_count

_KINDS = {"b": "b", "i": "iu", "u": "iu", "f": "fiu", "V": "fiu"}  # kinds of numbers that each kind of dtype takes
_TOO_LARGE = 1 << 64
_TRUE_SHAPE = "Failed to parse 'data' field: shape does not match true shape"


def from_bytes(
    data: bytes | bytearray | memoryview, name: str, datatype: str, shape: Sequence[int], model: str
) -> NDArray[Any]:
    """The array that `data` holds, without a copy (texts excepted). Raises RequestError where the sizes do not fit."""
    count = element_count(name, datatype, shape)
    if datatype == BYTES:
        return unpack_bytes(data, count, name, model).reshape(shape)
    expected = count * item_size(datatype)
    if len(data) != expected:
        message = (
            f"input byte size mismatch for input '{name}' for model '{model}'. Expected {expected}, got {len(data)}"
        )
        raise RequestError(message)
    if datatype == "BOOL":
        truth: NDArray[Any] = np.frombuffer(data, np.uint8) != 0
        return truth.reshape(shape)
    return np.frombuffer(data, dtype_of(datatype)).reshape(shape)


def to_bytes(array: NDArray[Any], datatype: str) -> bytes:
    """The array as it travels."""
    if datatype == BYTES:
        return pack_bytes(array.ravel())
    return array.tobytes()


def from_json(values: Any, name: str, datatype: str, shape: Sequence[int]) -> NDArray[Any]:
    """The array of the numbers, truth values or texts of a request in JSON, nested or flat.

    Raises RequestError where they are of another kind, too large for the datatype, or too few or many.
    """
    count = element_count(name, datatype, shape)
    if datatype in NO_JSON:
        message = f"receiving {datatype} data via JSON is not supported. Please use the binary data format for input "
        raise RequestError(message + name)
    if not isinstance(values, list):
        raise RequestError("Unable to parse 'data': expected an array")
    array = _texts(values) if datatype == BYTES else _numbers(values, datatype, name)
    if array.size != count:
        raise RequestError(_TRUE_SHAPE)
    return array.reshape(shape)


def to_json(array: NDArray[Any], name: str, datatype: str) -> list[Any]:
    """The elements of an array for JSON, flat. Raises RequestError for datatypes that JSON has no numbers for."""
    if datatype in NO_JSON:
        message = f"sending {datatype} data via JSON is not supported. Please use the binary data format for output "
        raise RequestError(message + name)
    if datatype == BYTES:
        return [_text(value) for value in array.ravel()]
    numbers: list[Any] = array.ravel().tolist()
    return numbers


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value)


def _texts(values: list[Any]) -> NDArray[Any]:
    flat = list(values)
    while flat and any(isinstance(value, list) for value in flat):
        if not all(isinstance(value, list) for value in flat):
            raise RequestError(_TRUE_SHAPE)
        flat = [value for part in flat for value in part]
    if not all(isinstance(value, str) for value in flat):
        raise RequestError("Unable to parse 'data': expected texts")
    array = np.empty(len(flat), object)
    array[:] = [value.encode() for value in flat]
    return array


def _numbers(values: list[Any], datatype: str, name: str) -> NDArray[Any]:
    dtype = dtype_of(datatype)
    try:
        array = np.array(values)
    except (ValueError, OverflowError):  # lists of different lengths, or too deep
        raise RequestError(_TRUE_SHAPE) from None
    if dtype.kind in "iu" and array.dtype.kind in "fO":  # whole numbers of which some are above all of int64
        array = _large_numbers(values, array)
    if array.size and array.dtype.kind not in _KINDS[dtype.kind]:
        raise RequestError(f"Unable to parse 'data': expected numbers of type {datatype} for input '{name}'")
    if not _in_range(array, dtype):
        raise RequestError(f"Unable to parse 'data': a number is out of the range of {datatype} for input '{name}'")
    return array.astype(dtype)


def _in_range(array: NDArray[Any], dtype: np.dtype[Any]) -> bool:
    """Whether an array of numbers can be cast; fractions may lose digits."""
    if dtype.kind not in "iu" or not array.size:
        return True
    limits = np.iinfo(dtype)
    return int(array.min()) >= limits.min and int(array.max()) <= limits.max


def _large_numbers(values: list[Any], array: NDArray[Any]) -> NDArray[Any]:
    """The same as uint64, where they are whole numbers from 0 on; otherwise the array as it is."""
    whole = np.array(values, object)
    if not all(type(value) is int and 0 <= value < _TOO_LARGE for value in whole.ravel()):
        return array
    return whole.astype(np.uint64)
