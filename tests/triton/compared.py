"""The answers of two servers to one request, as far as they must be the same."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from tests.triton.sent import LENGTH, Sent

_TIMEOUT_S = 20


@dataclass(frozen=True)
class Answer:
    """A status, 0 where the connection ended, and what has to be the same of the body."""

    status: int
    content: Any = None
    message: str = ""


class Asking:
    """One server, asked on one connection as long as it is kept."""

    def __init__(self, url: str) -> None:
        self._place = urlsplit(url).netloc
        self._connection: HTTPConnection | None = None

    def ask(self, sent: Sent) -> Answer:
        """The answer, on a connection that the request before has left open."""
        if self._connection is None:
            self._connection = HTTPConnection(self._place, timeout=_TIMEOUT_S)
        try:
            return self._asked(self._connection, sent)
        except (OSError, HTTPException) as error:
            self.close()
            return Answer(0, message=f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _asked(self, connection: HTTPConnection, sent: Sent) -> Answer:
        body: Any = _in_parts(sent.body) if sent.chunked else sent.body
        connection.request(sent.method, sent.path, body, dict(sent.headers), encode_chunked=sent.chunked)
        response = connection.getresponse()
        data = response.read()
        headers = {name.lower(): value for name, value in response.getheaders()}
        if response.will_close:
            self.close()
        data = _decompressed(data, headers.get("content-encoding", ""))
        if response.status == 200:
            return Answer(200, _content(sent.path, data, headers.get(LENGTH.lower())))
        return Answer(response.status, message=data.decode(errors="replace")[:300])


def _in_parts(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 50):
        yield body[start : start + 50]


def _decompressed(data: bytes, encoding: str) -> bytes:
    if encoding == "gzip":
        return gzip.decompress(data)
    return zlib.decompress(data) if encoding == "deflate" else data


def _content(path: str, data: bytes, length: str | None) -> Any:
    """Outputs of an inference with their bytes; of other documents what both servers have to say alike."""
    if "/infer" not in path:
        return _document(path, data)
    at = len(data) if length is None else int(length)
    document = json.loads(data[:at])
    outputs = []
    for output in document.get("outputs", []):
        size = output.get("parameters", {}).get("binary_data_size", 0)
        outputs.append((output["name"], output["datatype"], output["shape"], output.get("data"), data[at : at + size]))
        at += size
    return document.get("id"), document["model_name"], document["model_version"], outputs, data[at:]


def _document(path: str, data: bytes) -> Any:
    """The names, datatypes and shapes of a model's metadata; that others are JSON is enough."""
    document = json.loads(data) if data else None
    if isinstance(document, dict) and "inputs" in document and "outputs" in document:
        return {name: document[name] for name in ("name", "versions", "inputs", "outputs")}
    return type(document).__name__
