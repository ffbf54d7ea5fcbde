"""Tensors of an inference by HTTP: the JSON that says what the bytes behind it are, and the answer's arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from framepace.errors import BackendError
from framepace.openinference.client.documents import read
from framepace.openinference.client.httpconnection import Answer, Part
from framepace.openinference.client.remote import Arrays, OutputRegions, Regions
from framepace.openinference.datatypes import BYTES, DATATYPES, item_size, pack_bytes
from framepace.openinference.errors import RequestError
from framepace.openinference.messages import Region, element_count
from framepace.openinference.rest import region_parameters
from framepace.openinference.tensors import from_bytes, from_json

_AGAIN = "the model may have been replaced: start again, so that its outputs are read again"


class _Parameters(msgspec.Struct):
    binary_data_size: int | None = None


class _Output(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | None = None
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)


class _Answer(msgspec.Struct):
    outputs: list[_Output] = []


def tensor_bytes(array: NDArray[Any]) -> Part:
    """An array as it travels; numbers without a copy where they lie in one piece."""
    if array.dtype.kind == "O":
        return pack_bytes(array.ravel())
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def request_head(inputs: Arrays, sizes: Mapping[str, int], regions: Regions, outputs: OutputRegions) -> bytes:
    """The JSON of a request.

    Args:
        sizes: bytes of the inputs that follow it.
        regions: where the inputs lie that do not.
        outputs: where outputs are to be written, None for one that comes as bytes; empty: all of them do.
    """
    head: dict[str, Any] = {"inputs": [_input(name, array, sizes, regions) for name, array in inputs.items()]}
    if outputs:
        head["outputs"] = [{"name": name, "parameters": _place_of(region)} for name, region in outputs.items()]
    else:
        head["parameters"] = {"binary_data_output": True}
    return msgspec.json.encode(head)


def _place_of(region: Region | None) -> dict[str, Any]:
    """The parameters of an output: where it is to be written, or that it comes as bytes."""
    return {"binary_data": True} if region is None else dict(region_parameters(region))


def _input(name: str, array: NDArray[Any], sizes: Mapping[str, int], regions: Regions) -> dict[str, Any]:
    parameters: dict[str, str | int] = {"binary_data_size": sizes.get(name, 0)}
    if name in regions:
        parameters = region_parameters(replace(regions[name], size=array.nbytes))
    shape = list(array.shape)
    return {"name": name, "datatype": DATATYPES[array.dtype.name], "shape": shape, "parameters": parameters}


def answered(answer: Answer, names: Sequence[str], shared: Arrays) -> dict[str, NDArray[Any]]:
    """The outputs called `names` of an answer; `shared` are those that lie in shared memory, by name, as bytes.

    Raises BackendError for an answer that lacks one, or whose sizes contradict each other.
    """
    at = _json_length(answer)
    outputs: dict[str, NDArray[Any]] = {}
    for output in read(answer.body[:at], _Answer, "outputs").outputs:
        end = at + (output.parameters.binary_data_size or 0)
        outputs[output.name] = _array(output, memoryview(answer.body)[at:end], shared.get(output.name))
        at = end
    checked_names(outputs, names)
    return outputs


def checked_names(outputs: Arrays, names: Sequence[str]) -> None:
    """Raise BackendError where an output is missing."""
    if any(name not in outputs for name in names):
        got = ", ".join(outputs) or "none"
        raise BackendError("the server left out outputs", got=got, expected=", ".join(names), fix=_AGAIN)


def _json_length(answer: Answer) -> int:
    """How much of the body is JSON."""
    return int(answer.json_length) if answer.json_length.isdecimal() else len(answer.body)


def _array(output: _Output, data: memoryview, shared: NDArray[Any] | None) -> NDArray[Any]:
    try:
        if output.data is not None:
            return from_json(output.data, output.name, output.datatype, output.shape)
        if shared is not None and output.parameters.binary_data_size is None:  # Triton does not name the region
            data = shared_part(output.name, output.datatype, output.shape, shared)
        return from_bytes(data, output.name, output.datatype, output.shape, "the answer")
    except (RequestError, ValueError) as error:
        raise contradiction(output.name, f"{output.datatype} {output.shape}", error) from error


def shared_part(name: str, datatype: str, shape: Sequence[int], shared: NDArray[Any]) -> memoryview:
    """The bytes of an output in shared memory. Raises RequestError or ValueError where it cannot lie there."""
    if datatype == BYTES:
        raise ValueError("texts in shared memory")
    return shared.data[: element_count(name, datatype, shape) * item_size(datatype)]


def contradiction(name: str, expected: str, error: Exception) -> BackendError:
    """The error for an output whose size and shape do not fit."""
    problem = f"the server's answer contradicts itself in output {name!r}"
    return BackendError(problem, got=error, expected=expected, fix=_AGAIN)
