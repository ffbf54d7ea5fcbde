"""Requests and answers over HTTP: JSON, and tensors as bytes behind it (the binary tensor data extension)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod
from typing import Any

import msgspec
import numpy as np

from framepace.openinference.datatypes import BYTES
from framepace.openinference.errors import RequestError
from framepace.openinference.messages import InferAnswer, InferRequest, Input, Output, Region, Wanted, check_name
from framepace.openinference.parameters import check_custom, flag, region_of, wanted, whole
from framepace.openinference.tensors import from_bytes, from_json, to_bytes, to_json

LENGTH_HEADER = b"inference-header-content-length"
MAX_JSON = 16 << 20
_FIELD = re.compile(r"`\$(?:\[[^\]]*\])?(?:\.(\w+))?.*?(?:\.(\w+))?(?:\[[^\]]*\])?`$")
_MISSING = re.compile(r"missing required field `(\w+)`")
_WAYS = ("'data'", "'binary_data_size'", "'shared_memory_region'")
Body = bytes | bytearray | memoryview
_Key = tuple[bytes, bool, int, str, int]
_KEPT_BYTES = 2048  # of JSON that is kept
_KEPT_REQUESTS = 256
_LENGTH = re.compile(rb"\s*[-+]?\d{1,18}\s*")
_encode = msgspec.json.Encoder().encode


class _Input(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    data: Any = msgspec.UNSET
    parameters: dict[str, Any] = {}


class _Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class _Request(msgspec.Struct):
    inputs: list[_Input]
    outputs: list[_Output] = []
    id: str = ""
    parameters: dict[str, Any] = {}


class _Kept(msgspec.Struct, frozen=True):
    """A request that was read before, without its tensors: of those that came as bytes `dtypes` has the dtype."""

    request: InferRequest
    dtypes: Sequence[np.dtype[Any] | None]

    def again(self, body: Body, at: int) -> InferRequest:
        """The same request with the tensors that lie in `body` from byte `at` on."""
        inputs = []
        for sent, dtype in zip(self.request.inputs, self.dtypes, strict=True):
            if dtype is not None:
                array = np.frombuffer(body, dtype, prod(sent.shape), at).reshape(sent.shape)
                at += array.nbytes
                sent = Input(sent.name, sent.datatype, sent.shape, array)
            inputs.append(sent)
        request = self.request
        return InferRequest(inputs, request.outputs, request.id, request.parameters, request.binary)


_decode = msgspec.json.Decoder(_Request).decode
_kept: dict[_Key, _Kept] = {}


def header_length(text: bytes | None, body: int) -> int | None:
    """The value of the header Inference-Header-Content-Length; None where it is not sent. Raises RequestError."""
    if text is None:
        return None
    shown = text.decode("latin-1")[:40]
    if not _LENGTH.fullmatch(text):
        raise RequestError(f"Unable to parse Inference-Header-Content-Length, got: {shown}")
    length = int(text)
    if not 0 <= length <= body:
        raise RequestError(f"inference header size should be in range (0, {body}), got: {shown}")
    return length


def decode(body: Body, length: int | None, model: str, max_json: int = MAX_JSON) -> InferRequest:
    """The request in `body`, whose first `length` bytes are JSON (None: all); arrays are views of `body`.

    JSON whose tensors lie behind it, or in shared memory, is read once: a client sends the same again and again.

    Raises RequestError for anything that the protocol does not allow.
    """
    size = len(body) if length is None else length
    if size > _KEPT_BYTES:
        return _decoded(body, length, model, max_json)
    key = (bytes(memoryview(body)[:size]), length is None, len(body), model, max_json)
    kept = _kept.get(key)
    if kept is not None:
        return kept.request if len(body) == size else kept.again(body, size)
    request = _decoded(body, length, model, max_json)
    if _is_plain(request, len(body) - size):
        _keep(key, request)
    return request


def _is_plain(request: InferRequest, size: int) -> bool:
    """Whether all its tensors lie in shared memory, or as they are in the `size` bytes behind its JSON."""
    if any(sent.datatype in (BYTES, "BOOL") for sent in request.inputs):
        return False
    arrays = [sent.data for sent in request.inputs if sent.data is not None]
    return all(array.size for array in arrays) and size == sum(array.nbytes for array in arrays)


def _keep(key: _Key, request: InferRequest) -> None:
    """Keep a request without its tensors; all are forgotten where there are too many."""
    if len(_kept) >= _KEPT_REQUESTS:
        _kept.clear()
    dtypes = [None if sent.data is None else sent.data.dtype for sent in request.inputs]
    inputs = [Input(sent.name, sent.datatype, sent.shape, region=sent.region) for sent in request.inputs]
    without = InferRequest(inputs, request.outputs, request.id, request.parameters, request.binary)
    _kept[key] = _Kept(without, dtypes)


def _decoded(body: Body, length: int | None, model: str, max_json: int) -> InferRequest:
    view = memoryview(body)
    header = view if length is None else view[:length]
    parsed = _parsed(header, max_json)
    check_custom(parsed.parameters)
    binary = flag(parsed.parameters, "binary_data_output")
    tensors = _Tensors(view[len(header) :], length is not None, model)
    inputs = [tensors.input(part) for part in parsed.inputs]
    tensors.check_end()
    return InferRequest(inputs, _outputs(parsed.outputs, binary), parsed.id, parsed.parameters, binary)


def _outputs(parts: Sequence[_Output], binary: bool) -> list[Wanted]:
    seen: set[str] = set()
    for part in parts:
        check_name(part.name, seen, "output")
    return [wanted(part.name, part.parameters, binary) for part in parts]


def _parsed(header: memoryview, max_json: int) -> _Request:
    if len(header) > max_json:
        raise RequestError(
            f"request JSON size of {len(header)} bytes exceeds the maximum allowed input size of {max_json} bytes. "
            "Use --max-json-mb to increase the limit."
        )
    try:
        return _decode(header)
    except msgspec.ValidationError as error:
        raise RequestError(_field_message(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"failed to parse the request JSON buffer: {error}") from None


def _field_message(problem: str) -> str:
    """What is wrong with a field, in the protocol's words."""
    missing = _MISSING.search(problem)
    if missing:
        return f"Unable to parse '{missing[1]}': {problem}"
    place = _FIELD.search(problem)
    name = (place[2] or place[1]) if place else None
    if name is None:
        return f"failed to parse the request JSON buffer: {problem}"
    return f"Unable to parse '{name}': {problem}"


class _Tensors:
    """Inputs of one request; those that are sent as bytes take theirs from `data` in turn."""

    def __init__(self, data: memoryview, has_length: bool, model: str) -> None:
        self._data = data
        self._has_length = has_length
        self._model = model
        self._at = 0
        self._seen: set[str] = set()

    def input(self, part: _Input) -> Input:
        """One input."""
        _check_one_kind(part)
        check_name(part.name, self._seen, "input")
        tensor = Input(part.name, part.datatype, tuple(part.shape))
        parameters = part.parameters
        if part.data is not msgspec.UNSET:
            tensor.data = from_json(part.data, part.name, part.datatype, tensor.shape)
        elif "binary_data_size" in parameters:
            data = self._next(whole(parameters, "binary_data_size"), part.name)
            tensor.data = from_bytes(data, part.name, part.datatype, tensor.shape, self._model)
        else:
            tensor.region = region_of(parameters)
        return tensor

    def check_end(self) -> None:
        """Raise RequestError where bytes are left over."""
        if self._at != len(self._data):
            raise RequestError(f"unexpected additional input data for model '{self._model}'")

    def _next(self, size: int, name: str) -> memoryview:
        if size and not self._has_length:
            raise RequestError(
                "must specify valid 'Inference-Header-Content-Length' in request header and 'binary_data_size' when "
                "passing inputs in binary data format"
            )
        left = len(self._data) - self._at
        if size > left:
            missing = f"expecting {size - left} additional bytes for model '{self._model}'"
            raise RequestError(f"unexpected size for input '{name}', {missing}")
        part = self._data[self._at : self._at + size]
        self._at += size
        return part


def _check_one_kind(part: _Input) -> None:
    """Raise RequestError for an input that comes in no way, or in several at once."""
    parameters = part.parameters
    ways = (part.data is not msgspec.UNSET, "binary_data_size" in parameters, "shared_memory_region" in parameters)
    if sum(ways) == 1:
        return
    named = [name for name, is_used in zip(_WAYS, ways, strict=True) if is_used]
    but = f"set {' '.join(named)}" if named else "no field is set"
    raise RequestError(
        "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', "
        f"'shared_memory_region' in 'parameters'. But {but}"
    )


def raw_request(body: Body, name: str, datatype: str, shape: tuple[int, ...], model: str) -> InferRequest:
    """The request of a body that is the model's only input and nothing else; its outputs travel as bytes."""
    if datatype == "BYTES":
        data = len(body).to_bytes(4, "little") + bytes(body)
        return InferRequest(
            [Input(name, datatype, shape, from_bytes(data, name, datatype, shape, model))], [], binary=True
        )
    return InferRequest([Input(name, datatype, shape, from_bytes(body, name, datatype, shape, model))], [], binary=True)


def encode(answer: InferAnswer) -> tuple[bytes, int | None]:
    """The body of an answer, and how many of its bytes are JSON; None where all are."""
    parts: list[bytes] = []
    document: dict[str, Any] = {"model_name": answer.model, "model_version": answer.version}
    if answer.id:
        document["id"] = answer.id
    if answer.parameters:
        document["parameters"] = answer.parameters
    document["outputs"] = [_output(output, parts) for output in answer.outputs]
    header = _encode(document)
    if not parts:
        return header, None
    return b"".join([header, *parts]), len(header)


def _output(output: Output, parts: list[bytes]) -> dict[str, Any]:
    """One output as JSON; its bytes are appended to `parts`."""
    document: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": output.shape}
    if output.data is None:  # in shared memory: the client said where, and Triton's client library takes no parameters
        return document
    if output.wanted.binary:
        parts.append(to_bytes(output.data, output.datatype))
        document["parameters"] = {"binary_data_size": len(parts[-1])}
    else:
        document["data"] = to_json(output.data, output.name, output.datatype)
    return document


def region_parameters(region: Region | None) -> dict[str, str | int]:
    """How a request says where a tensor lies in shared memory."""
    if region is None:
        return {}
    parameters: dict[str, str | int] = {"shared_memory_region": region.name, "shared_memory_byte_size": region.size}
    if region.offset:
        parameters["shared_memory_offset"] = region.offset
    return parameters


def encode_error(error: RequestError) -> bytes:
    """The body of a request's error."""
    return _encode({"error": error.message, **error.details})
