"""The classification extension: the highest elements of an output as texts 'value:index', or 'value:index:label'."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from framepace.openinference.datatypes import BYTES
from framepace.openinference.errors import RequestError
from framepace.openinference.messages import Output

_REFUSED = (BYTES, "BOOL", "FP16", "BF16")
_MOST = 1_000_000


def classified(output: Output, batches: bool, labels: Sequence[str] = ()) -> Output:
    """The output as its `wanted.classes` highest elements: BYTES, shape [count], with the batch first if it has one.

    Labels are those of the elements by their places; they are left out where there are more or fewer.

    Raises RequestError for datatypes that the extension does not order, as Triton does.
    """
    rows = _rows(_checked(output), batches)
    count = min(output.wanted.classes, rows.shape[1])
    array = np.empty((len(rows), count), object)
    endings = _endings(labels, rows.shape[1])
    for place, row in enumerate(rows):
        array[place] = _highest(row, count, endings)
    return Output(output.name, BYTES, array.shape[not batches :], array, output.wanted)


def _rows(data: NDArray[np.generic], batches: bool) -> NDArray[np.generic]:
    """The elements of each item."""
    return np.atleast_2d(data.reshape(len(data), -1) if batches else data.ravel())


def _endings(labels: Sequence[str], count: int) -> Sequence[str]:
    """What follows the place of each element."""
    if len(labels) != count:
        return [""] * count
    return [f":{label}" for label in labels]


def _checked(output: Output) -> NDArray[np.generic]:
    """The data of an output that can be ordered."""
    assert output.data is not None
    if output.datatype in _REFUSED:
        raise RequestError(f"class result not available for output due to unsupported type '{output.datatype}'")
    if output.data.size > _MOST:
        raise RequestError("classification output tensor too large")
    return output.data


def _highest(row: NDArray[np.generic], count: int, endings: Sequence[str]) -> list[bytes]:
    order = np.argsort(-row.astype(np.float64), kind="stable")[:count]
    return [f"{_number(row[index])}:{index}{endings[index]}".encode(errors="replace") for index in order]


def _number(value: np.generic) -> str:
    """As std::to_string writes it."""
    if value.dtype.kind == "f":
        return f"{float(value):.6f}"
    return str(int(value))
