"""A request by HTTP, and the valid ones that others are made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LENGTH = "Inference-Header-Content-Length"
SIMPLE = "/v2/models/simple/infer"
Document = dict[str, Any]


@dataclass(frozen=True)
class Sent:
    """A request by HTTP, and the words by which a difference is told."""

    words: str
    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    chunked: bool = False


def post(words: str, document: object, path: str = SIMPLE, **headers: str) -> Sent:
    """A request with a JSON document."""
    return Sent(words, "POST", path, json.dumps(document).encode(), headers)


def raw(words: str, body: bytes, path: str = SIMPLE, **headers: str) -> Sent:
    """A request with a body as it is; '_' in the names of headers stands for '-'."""
    return Sent(words, "POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})


def tensor_of(number: int, shape: object = (1, 16), data: object = None, datatype: object = "INT32") -> Document:
    """An input of the model that adds and subtracts."""
    values = list(range(number, number + 16)) if data is None else data
    return {
        "name": f"INPUT{number}",
        "datatype": datatype,
        "shape": list(shape) if isinstance(shape, tuple) else shape,
        "data": values,
    }


def simple(**changes: Any) -> Document:
    """A valid request of the model that adds and subtracts, with changes at the top."""
    return {"inputs": [tensor_of(0), tensor_of(1)], **changes}


def with_first(**changes: Any) -> Document:
    """A valid request but for fields of its first input; None takes a field away."""
    first = {name: value for name, value in {**tensor_of(0), **changes}.items() if value is not None}
    return {"inputs": [first, tensor_of(1)]}


def binary(document: Document, *parts: bytes, path: str = SIMPLE, words: str, length: str | None = None) -> Sent:
    """JSON with bytes behind it; `length` replaces what the header says of the JSON's length."""
    head = json.dumps(document).encode()
    headers = {LENGTH: str(len(head)) if length is None else length}
    return Sent(words, "POST", path, head + b"".join(parts), headers)
