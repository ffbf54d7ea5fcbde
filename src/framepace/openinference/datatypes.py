"""The protocol's datatypes, their NumPy dtypes, and texts (BYTES) as they lie in memory."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.openinference.errors import RequestError

BYTES = "BYTES"
NUMPY_NAMES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BF16": "bfloat16",
    BYTES: "object",
}
"""The dtype of each datatype, by NumPy's name."""
DATATYPES = {name: datatype for datatype, name in NUMPY_NAMES.items()}
"""The inverse; dtypes that lack cannot be served."""
NO_JSON = ("FP16", "BF16")
"""Datatypes that travel as bytes only: the protocol has no numbers for them in JSON."""
_SIZES = {name: 1 if name == "BOOL" else int(name.lstrip("UINTFPB")) // 8 for name in NUMPY_NAMES if name != BYTES}
_LENGTH = struct.Struct("<I")


def dtype_of(datatype: str) -> np.dtype[Any]:
    """The NumPy dtype of a datatype: little-endian, as tensors travel; object for texts."""
    if datatype == "BF16":
        import ml_dtypes

        rare: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return rare
    return np.dtype(NUMPY_NAMES[datatype])


def item_size(datatype: str) -> int:
    """Bytes of one element. Texts have no fixed size: KeyError."""
    return _SIZES[datatype]


def pack_bytes(values: Iterable[Any]) -> bytes:
    """Texts as they travel: each with its length before it (4 bytes, little-endian). str is encoded as UTF-8."""
    parts = []
    for value in values:
        data = value.encode() if isinstance(value, str) else bytes(value)
        parts.append(_LENGTH.pack(len(data)))
        parts.append(data)
    return b"".join(parts)


def unpack_bytes(data: bytes | bytearray | memoryview, count: int, name: str, model: str) -> NDArray[np.object_]:
    """`count` texts from `data`, as an array of bytes, shape (count,).

    Raises RequestError where the lengths do not fill `data` exactly; nothing is allocated for lengths that lie.
    """
    view = memoryview(data)
    where = f"for inference input '{name}' for model '{model}'"
    if count * _LENGTH.size > len(view):
        raise RequestError(f"expected {count} string elements {where}, got {len(view)} bytes")
    values = np.empty(count, object)
    at = 0
    for place in range(count):
        start = at + _LENGTH.size
        at = _text_end(view, at, where)
        values[place] = bytes(view[start:at])
    if at != len(view):
        raise RequestError(f"unexpected number of string elements {count + 1} {where}, expecting {count}")
    return values


def _text_end(view: memoryview, at: int, where: str) -> int:
    """Where the text ends whose length is at `at`. Raises RequestError where it would end behind the data."""
    start = at + _LENGTH.size
    if start > len(view):
        available = f"expecting 4 bytes but only {len(view) - at} bytes available"
        raise RequestError(f"incomplete string length indicator {where}, {available}")
    end: int = start + _LENGTH.unpack_from(view, at)[0]
    if end > len(view):
        available = f"expecting string of length {end - start} but only {len(view) - start} bytes available"
        raise RequestError(f"incomplete string data {where}, {available}")
    return end
