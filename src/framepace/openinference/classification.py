"""The classification extension: the highest elements of an output as texts 'value:index'."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from framepace.openinference.datatypes import BYTES
from framepace.openinference.errors import RequestError
from framepace.openinference.messages import Output

_REFUSED = (BYTES, "BOOL", "FP16", "BF16")
_MOST = 1_000_000


def classified(output: Output, batches: bool) -> Output:
    """The output as its `wanted.classes` highest elements: BYTES, shape [count], with the batch first if it has one.

    Raises RequestError for datatypes that the extension does not order, as Triton does.
    """
    assert output.data is not None
    _check(output)
    rows = np.atleast_2d(output.data.reshape(len(output.data), -1) if batches else output.data.ravel())
    count = min(output.wanted.classes, rows.shape[1])
    array = np.empty((len(rows), count), object)
    for place, row in enumerate(rows):
        array[place] = _highest(row, count)
    shape = array.shape[not batches :]
    return Output(output.name, BYTES, shape, array, output.wanted)


def _check(output: Output) -> None:
    if output.datatype in _REFUSED:
        raise RequestError(f"class result not available for output due to unsupported type '{output.datatype}'")
    if output.data is not None and output.data.size > _MOST:
        raise RequestError("classification output tensor too large")


def _highest(row: NDArray[np.generic], count: int) -> list[bytes]:
    order = np.argsort(-row.astype(np.float64), kind="stable")[:count]
    return [f"{_number(row[index])}:{index}".encode() for index in order]


def _number(value: np.generic) -> str:
    """As std::to_string writes it."""
    if value.dtype.kind == "f":
        return f"{float(value):.6f}"
    return str(int(value))
