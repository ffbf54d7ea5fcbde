"""Inference requests and answers as messages of gRPC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.openinference.datatypes import BYTES, NO_JSON, dtype_of
from framepace.openinference.errors import RequestError
from framepace.openinference.messages import (
    InferAnswer,
    InferRequest,
    Input,
    Parameter,
    check_name,
    element_count,
)
from framepace.openinference.parameters import check_custom, region_of, wanted
from framepace.openinference.protos import message
from framepace.openinference.tensors import from_bytes, to_bytes

CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}
"""The field of InferTensorContents that holds each datatype."""
_FIELDS = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}


def parsed(kind: Any, data: bytes) -> Any:
    """The message of a class in `data`. Raises RequestError for bytes that are none."""
    from google.protobuf.message import DecodeError

    try:
        return kind.FromString(data)
    except DecodeError:
        raise RequestError(f"failed to parse the message {kind.DESCRIPTOR.name}") from None


def parameters_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters by name; one without a value is left out."""
    values = {}
    for name, field in fields.items():
        choice = field.WhichOneof("parameter_choice")
        if choice is not None:
            values[name] = getattr(field, choice)
    return values


def decode(request: Any) -> InferRequest:
    """The request in a ModelInferRequest. Raises RequestError for anything that the protocol does not allow."""
    parameters = parameters_of(request.parameters)
    check_custom(parameters)
    inputs = _inputs(request)
    seen: set[str] = set()
    for output in request.outputs:
        check_name(output.name, seen, "output")
    outputs = [wanted(output.name, parameters_of(output.parameters), binary=True) for output in request.outputs]
    return InferRequest(inputs, outputs, request.id, parameters, binary=True)


def _inputs(request: Any) -> list[Input]:
    raw = list(request.raw_input_contents)
    seen: set[str] = set()
    inputs = []
    taken = 0
    for part in request.inputs:
        check_name(part.name, seen, "input")
        tensor = _described(part)
        if tensor.region is None:
            tensor.data = _data(part, tensor, raw, taken, request.model_name)
            taken += 1
        inputs.append(tensor)
    if raw and len(raw) != taken:
        raise _wrong_count(taken, len(raw), request.model_name)
    return inputs


def _described(part: Any) -> Input:
    """An input without its elements."""
    region = region_of(parameters_of(part.parameters))
    element_count(part.name, part.datatype, part.shape)
    if region is not None and part.HasField("contents"):
        raise RequestError(f"unexpected 'contents' provided when using shared memory for input '{part.name}'")
    return Input(part.name, part.datatype, tuple(part.shape), region=region)


def _data(part: Any, tensor: Input, raw: Sequence[bytes], place: int, model: str) -> NDArray[Any]:
    """The elements of one input, from its own contents or from the raw ones."""
    if not raw:
        return from_contents(part.contents, tensor.name, tensor.datatype, tensor.shape)
    if part.HasField("contents"):
        raise RequestError(
            f"contents field must not be specified when using raw_input_contents for '{part.name}' for model '{model}'"
        )
    if place >= len(raw):
        raise _wrong_count(place + 1, len(raw), model)
    return from_bytes(raw[place], tensor.name, tensor.datatype, tensor.shape, model)


def _wrong_count(expected: int, got: int, model: str) -> RequestError:
    return RequestError(f"expected {expected} raw input content entries but got {got} for model '{model}'")


def from_contents(contents: Any, name: str, datatype: str, shape: Sequence[int]) -> NDArray[Any]:
    """The array of an InferTensorContents. Raises RequestError where its elements do not fit."""
    count = element_count(name, datatype, shape)
    if datatype in NO_JSON:
        raise RequestError(f"{datatype} data must use raw_input_contents for input '{name}'")
    values = getattr(contents, CONTENTS[datatype])
    if len(values) != count:
        raise RequestError(f"input '{name}' has {len(values)} elements in '{CONTENTS[datatype]}', expected {count}")
    if datatype == BYTES:
        return _objects(values, count).reshape(shape)
    array = np.array(values, dtype=dtype_of(datatype)) if _fit(values, datatype) else None
    if array is None:
        raise RequestError(f"a number is out of the range of {datatype} for input '{name}'")
    return array.reshape(shape)


def _objects(values: Iterable[bytes], count: int) -> NDArray[Any]:
    array = np.empty(count, object)
    array[:] = list(values)
    return array


def _fit(values: Sequence[Any], datatype: str) -> bool:
    """Whether numbers are within the range of a datatype that is smaller than its field."""
    dtype = dtype_of(datatype)
    if dtype.kind not in "iu" or not len(values):
        return True
    limits = np.iinfo(dtype)
    return bool(min(values) >= limits.min and max(values) <= limits.max)


def encode(answer: InferAnswer) -> Any:
    """A ModelInferResponse; its tensors are raw, whichever way those of the request came, as Triton answers."""
    response = message("ModelInferResponse")(model_name=answer.model, model_version=answer.version, id=answer.id)
    _set_parameters(response.parameters, answer.parameters)
    for output in answer.outputs:
        response.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
        data = b""  # of an output in shared memory: the client said where
        if output.data is not None:
            data = to_bytes(output.data, output.datatype)
        response.raw_output_contents.append(data)
    return response


def _set_parameters(fields: Any, parameters: Mapping[str, Parameter]) -> None:
    for name, value in parameters.items():
        setattr(fields[name], _FIELDS[type(value)], value)
