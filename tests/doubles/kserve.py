"""A KServe v2 server in a thread, with one model and faults on request: what a client meets, without a real one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from framepace.openinference.messages import InferAnswer, InferRequest, Output, Wanted
from framepace.openinference.rest import decode, encode

Model = Callable[[dict[str, Any]], dict[str, Any]]
"""Outputs by name from inputs by name."""
_TYPES = {"float32": "FP32", "uint8": "UINT8", "int32": "INT32", "bool": "BOOL"}


def mean_of_picture(inputs: dict[str, Any]) -> dict[str, Any]:
    """The mean of each picture, shape (batch, 1)."""
    return {"y": inputs["x"].mean(axis=(1, 2, 3), dtype=np.float32)[:, None]}


@dataclass
class KServe:
    """The server: what it says of its model, and how it answers from now on.

    `fault` replaces answers to inferences: a status and a message, 'close' (the connection ends), 'garbage' or
    'short' (fewer bytes than it says). `has_more` are documents beside the metadata: configuration, statistics, index.
    """

    shape: list[int] = field(default_factory=lambda: [-1, 3, 8, 8])
    model: Model = mean_of_picture
    largest: int = 8
    fault: tuple[int, str] | str | None = None
    has_more: bool = True
    datatype: str = "FP32"
    url: str = ""
    inferences: int = 0
    connections: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    items: list[int] = field(default_factory=list)

    @property
    def location(self) -> str:
        """The address of the model."""
        return f"{self.url}/v2/models/mean"

    def document(self, path: str) -> Any:
        """The answer to a question; None for what is not there."""
        tensors = [("x", self.datatype, self.shape), ("y", "FP32", [-1, 1])]
        x, y = ({"name": name, "datatype": kind, "shape": shape} for name, kind, shape in tensors)
        documents: dict[str, Any] = {"/v2/models/mean": {"name": "mean", "inputs": [x], "outputs": [y]}}
        if self.has_more:
            documents |= {
                "/v2": {"name": "double", "version": "1"},
                "/v2/models/mean/config": {"max_batch_size": self.largest},
                "/v2/models/mean/stats": self._statistics(),
                "/v2/repository/index": [{"name": "mean", "state": "READY"}, {"name": "old", "state": "UNAVAILABLE"}],
            }
        return documents.get(path)

    def _statistics(self) -> dict[str, Any]:
        """A millisecond per request in each part."""
        count = len(self.items)
        time = {"count": count, "ns": count * 1_000_000}
        names = ("queue", "compute_input", "compute_infer", "compute_output")
        stats = {"success": {"count": count, "ns": count * 5_000_000}, **dict.fromkeys(names, time)}
        batches = [{"batch_size": size, "compute_infer": {"count": self.items.count(size)}} for size in set(self.items)]
        entry = {"inference_count": sum(self.items), "execution_count": count, "inference_stats": stats}
        return {"model_stats": [{**entry, "batch_stats": batches}]}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        self.server.state.connections += 1
        super().setup()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged."""

    def do_GET(self) -> None:
        """A question."""
        found = self.server.state.document(self.path)
        if found is None:
            self._json(404, {"error": f"Request for unknown model: '{self.path}' is not found"})
        else:
            self._json(200, found)

    def do_POST(self) -> None:
        """An inference, or the index."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.path.endswith("/infer"):
            self.do_GET()
            return
        state = self.server.state
        state.inferences += 1
        state.headers = {name.lower(): value for name, value in self.headers.items()}
        if state.fault is None:
            self._infer(decode(body, int(self.headers["Inference-Header-Content-Length"]), "mean"))
        else:
            self._fail(state.fault)

    def _infer(self, request: InferRequest) -> None:
        state = self.server.state
        inputs = {tensor.name: tensor.data for tensor in request.inputs}
        outputs = state.model(inputs)
        state.items.append(request.inputs[0].shape[0])
        parts = [
            Output(name, _TYPES[value.dtype.name], value.shape, value, Wanted(name, request.binary))
            for name, value in outputs.items()
        ]
        answer, length = encode(InferAnswer("mean", "1", parts))
        self._send(200, answer, {} if length is None else {"Inference-Header-Content-Length": str(length)})

    def _fail(self, fault: tuple[int, str] | str) -> None:
        if isinstance(fault, tuple):
            self._json(fault[0], {"error": fault[1]})
        elif fault == "garbage":
            self._send(200, b"\x00 no JSON", {})
        elif fault == "short":
            head = b'{"outputs":[{"name":"y","datatype":"FP32","shape":[1,1],"parameters":{"binary_data_size":2}}]}'
            self._send(200, head + b"\0\0", {"Inference-Header-Content-Length": str(len(head))})
        else:
            self.close_connection = True

    def _json(self, status: int, value: Any) -> None:
        self._send(status, json.dumps(value).encode(), {})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    state: KServe


@contextmanager
def kserve(**fields: Any) -> Iterator[KServe]:
    """A server on the loopback interface; `fields` are those of `KServe`."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.state = KServe(url=f"http://127.0.0.1:{server.server_address[1]}", **fields)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
