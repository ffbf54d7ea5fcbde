"""One request over HTTP as the calls see it, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from framepace.openinference.errors import RequestError
from framepace.serving.connections import ARRIVED, CONNECTION, Connection

JSON = b"application/json"
BINARY = b"application/octet-stream"
TEXT = b"text/plain; version=0.0.4; charset=utf-8"


@dataclass(slots=True)
class Response:
    """What is sent back."""

    body: bytes = b""
    status: int = 200
    kind: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


class HttpCall:
    """The head and the body of a request."""

    __slots__ = ("body", "connection", "headers", "method", "scope")

    def __init__(self, scope: Mapping[str, Any], body: bytes | bytearray) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.body = body
        self.connection: Connection | None = scope.get(CONNECTION)

    @property
    def arrived(self) -> int | None:
        """When its first bytes were there (ns); a deadline counts from then, not from when its body was complete."""
        at: int | None = self.scope.get(ARRIVED)
        return at

    @property
    def path(self) -> str:
        """The path, as it was sent."""
        raw: bytes = self.scope["raw_path"]
        return raw.decode("latin-1")

    @property
    def client(self) -> str:
        """Who calls: what the client calls itself, else its host."""
        named = self.headers.get(b"framepace-client")
        if named is not None:
            return named.decode("latin-1")
        address = self.scope.get("client")
        return address[0] if address else ""

    def text(self, header: bytes) -> str | None:
        """A header; None where it was not sent."""
        value = self.headers.get(header)
        return None if value is None else value.decode("latin-1")

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; {} where there is none. Raises RequestError."""
        if not self.body:
            return {}
        try:
            document = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RequestError(f"failed to parse the request JSON buffer: {error}") from None
        if not isinstance(document, dict):
            raise RequestError("failed to parse the request JSON buffer: expected an object")
        return document
