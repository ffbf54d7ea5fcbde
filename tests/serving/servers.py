"""Servers and clients of the tests: on the loopback interface, with small models."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from framepace import serve
from framepace.serving.options import Limits, ServeOptions
from framepace.serving.server import Server

Reply = tuple[int, Any, Mapping[str, str]]
"""Status, the body (as JSON where it is), headers in small letters."""


def add_model(folder: Path, name: str = "simple", offset: float = 0.0) -> str:
    """A file of a model: OUTPUT0 = INPUT0 + INPUT1 + offset, OUTPUT1 = INPUT0 - INPUT1, FP32 [batch, 4]."""
    tensors = {
        text: helper.make_tensor_value_info(text, TensorProto.FLOAT, ["batch", 4])
        for text in ("INPUT0", "INPUT1", "OUTPUT0", "OUTPUT1")
    }
    constant = helper.make_tensor("offset", TensorProto.FLOAT, [1], [offset])
    nodes = [
        helper.make_node("Add", ["INPUT0", "INPUT1"], ["sum"]),
        helper.make_node("Add", ["sum", "offset"], ["OUTPUT0"]),
        helper.make_node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"]),
    ]
    values = list(tensors.values())
    graph = helper.make_graph(nodes, name, values[:2], values[2:], [constant])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path = folder / f"{name}.onnx"
    onnx.save(model, str(path))
    return str(path)


SLOW = {"backend": "null", "option.cpu": "sleep"}
"""Settings of a model that only takes time; `option.latency_us` says how much."""


@contextmanager
def served(models: Any, settings: Mapping[str, Any] | None = None, **options: Any) -> Iterator[Server]:
    """A server of models on free ports. `options` are those of ServeOptions, and of Limits as `limits`."""
    limits = Limits(**options.pop("limits", {}))
    chosen = ServeOptions(**{"port": 0, "grpc_port": None, "limits": limits, **options})
    with serve(models, chosen, settings=settings or {}) as server:
        yield server


def port(server: Server) -> int:
    """Of HTTP."""
    assert server.http is not None
    return server.http.port


def ask(server: Server, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
    """One request on a connection of its own; a body that is no bytes is sent as JSON."""
    with closing(http.client.HTTPConnection("127.0.0.1", port(server), timeout=30)) as connection:
        return ask_on(connection, method, path, body, headers)


def ask_on(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """One request on an open connection."""
    if body is not None and not isinstance(body, bytes) and not hasattr(body, "__next__"):
        body = json.dumps(body).encode()
    chunked = hasattr(body, "__next__")
    connection.request(method, path, body, dict(headers or {}), encode_chunked=chunked)
    response = connection.getresponse()
    data = response.read()
    small = {name.lower(): value for name, value in response.getheaders()}
    if "json" in small.get("content-type", "") and data and "content-encoding" not in small:
        return response.status, json.loads(data), small
    return response.status, data, small


def numbers(name: str, *values: float, count: int = 1) -> dict[str, Any]:
    """An FP32 input of four equal values per item."""
    data = [value for value in values for _ in range(4)]
    return {"name": name, "datatype": "FP32", "shape": [max(count, len(values)), 4], "data": data}


def pair(first: float = 1.0, second: float = 2.0) -> dict[str, Any]:
    """A request of one item to `add_model`."""
    return {"inputs": [numbers("INPUT0", first), numbers("INPUT1", second)]}


def null_input(count: int = 1) -> dict[str, Any]:
    """A request to the model 'null'."""
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": [count, 3, 64, 64], "data": [0.0] * (count * 12288)}]}


@contextmanager
def raw(server: Server) -> Iterator[socket.socket]:
    """A bare connection."""
    with socket.create_connection(("127.0.0.1", port(server)), timeout=30) as connection:
        yield connection


def rest_of(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    parts = []
    with suppress(ConnectionResetError):  # what was not read is lost with a reset
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)
