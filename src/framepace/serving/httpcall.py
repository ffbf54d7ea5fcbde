"""One request over HTTP as the calls see it, and what they answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from httptools import parse_url
from httptools.parser.errors import HttpParserInvalidURLError

from framepace.openinference.errors import RequestError
from framepace.serving.service import Service

JSON = b"application/json"
BINARY = b"application/octet-stream"
TEXT = b"text/plain; version=0.0.4; charset=utf-8"
Headers = tuple[tuple[bytes, bytes], ...]


class Response(msgspec.Struct):
    """What is sent back; `headers` are those beside the kind of the body.

    `shrinks`: it is compressed for those who accept that. Answers of the protocol are not, inferences excepted: as with
    Triton, whose client for coroutines accepts it in every request and unpacks inferences alone.
    """

    body: bytes = b""
    status: int = 200
    kind: bytes = JSON
    headers: Headers = ()
    shrinks: bool = False

    @property
    def all_headers(self) -> Headers:
        """With the kind of the body."""
        return ((b"content-type", self.kind), *self.headers)


class Wire(Protocol):
    """Where a call came from and its answer goes.

    Attributes:
        client: the host.
    """

    client: str

    def send(self, call: HttpCall, status: int, headers: Headers, body: bytes) -> None:
        """Answer a call, in the loop's thread."""
        ...


class HttpCall:
    """The head and the body of a request.

    Attributes:
        arrived: when its first bytes were there (ns); a deadline counts from then, not from when it was complete.
        size: bytes of the body as they were received.
        is_refused: it was answered by its head.
        on_lost: called when its client is gone before it was answered.
    """

    __slots__ = (
        "arrived", "body", "headers", "is_refused", "keeps_alive", "method", "on_lost", "size", "target", "wire",
    )  # fmt: skip

    def __init__(self, wire: Wire, arrived: int) -> None:
        self.wire = wire
        self.arrived = arrived
        self.method = ""
        self.target = b""
        self.headers: dict[bytes, bytes] = {}
        self.body: bytes | bytearray = b""
        self.size = 0
        self.keeps_alive = True
        self.is_refused = False
        self.on_lost: Callable[[], object] | None = None

    @property
    def path(self) -> str:
        """The path, as it was sent."""
        target = self.target
        if not target.startswith(b"/") or b"?" in target or b"#" in target:
            target = _path(target)
        return target.decode("latin-1")

    @property
    def head_size(self) -> int:
        """Bytes of its head, about."""
        headers = self.headers
        return len(self.target) + sum(map(len, headers)) + sum(map(len, headers.values())) + 4 * len(headers)

    @property
    def client(self) -> str:
        """Who calls: what the client calls itself, else its host."""
        named = self.headers.get(b"framepace-client")
        return self.wire.client if named is None else named.decode("latin-1")

    @property
    def waits_for_permission(self) -> bool:
        """Whether its body is sent when it is asked for."""
        return self.headers.get(b"expect", b"").lower() == b"100-continue"

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


def _path(target: bytes) -> bytes:
    """The path of a target that has more; all of it where it cannot be told."""
    try:
        return parse_url(target).path or b""
    except HttpParserInvalidURLError:
        return target


class Desk(Protocol):
    """Where calls over HTTP are answered."""

    service: Service

    def later(self, call: HttpCall, make: Callable[[], Response]) -> None:
        """Answer a call by what `make` returns or raises (RequestError) in the loop's thread; any thread may call."""
        ...

    def apart(self, call: HttpCall, make: Callable[[], Response]) -> None:
        """The same, where `make` takes long: other calls are answered meanwhile."""
        ...

    def wake(self, wake: Callable[[], None]) -> None:
        """Call `wake` when the loop is about to wait; however often it was asked to until then, once."""
        ...


class App(Protocol):
    """What answers calls: now, or later through their wire."""

    def __call__(self, call: HttpCall) -> None:
        """Answer a call that is complete."""
        ...

    def refusal(self, call: HttpCall) -> Response | None:
        """The answer to a call whose head says that it cannot be answered."""
        ...
