"""One kept-alive connection to a server by HTTP: a request is sent, its answer received later."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, RemoteDisconnected

from framepace.errors import BackendError
from framepace.openinference.client.address import Server
from framepace.openinference.client.refusals import no_answer
from framepace.openinference.client.remote import TOKEN

Part = bytes | memoryview
HEADER_LENGTH = "Inference-Header-Content-Length"
_GONE = (RemoteDisconnected, ConnectionResetError, BrokenPipeError)


@dataclass(frozen=True)
class Answer:
    """An answer: its status, its body, and what a header says of how much of that is JSON ('': nothing)."""

    status: int
    body: bytes
    json_length: str


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    parts: Sequence[Part]
    headers: Mapping[str, str]


class Connection:
    """A connection that is opened when it is needed and kept. Not thread-safe.

    Args:
        timeout_s: the longest time without a byte from the server.
    """

    def __init__(self, server: Server, timeout_s: float) -> None:
        self.server = server
        self._timeout_s = timeout_s
        self._http: HTTPConnection | None = None
        self._used = False
        self._request: _Request | None = None
        self._always = _token()

    def open(self) -> None:
        """Connect, unless it is connected. Raises BackendError."""
        if self._http is not None:
            return
        http = self._connection()
        try:
            http.connect()
            http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except (OSError, HTTPException) as error:
            raise self._error(error) from error
        self._http = http
        self._used = False

    def call(
        self, method: str, path: str, parts: Sequence[Part] = (), headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request and receive its answer. Raises BackendError when there is none."""
        self.send(method, path, parts, headers or {})
        return self.receive()

    def send(self, method: str, path: str, parts: Sequence[Part], headers: Mapping[str, str]) -> None:
        """Send a request. Raises BackendError; a connection that the server closed meanwhile is opened again."""
        self._request = _Request(method, path, parts, headers)
        try:
            self._send()
        except _GONE as error:
            self._again(error)
        except (OSError, HTTPException) as error:
            raise self._error(error) from error

    def receive(self) -> Answer:
        """The answer of the request that was sent. Raises BackendError."""
        try:
            return self._receive()
        except _GONE as error:
            self._again(error)
        except (OSError, HTTPException) as error:
            raise self._error(error) from error
        try:
            return self._receive()
        except (OSError, HTTPException) as error:
            raise self._error(error) from error

    def close(self) -> None:
        """End the connection. Idempotent."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def _again(self, error: Exception) -> None:
        """Send the request once more on a new connection, where the old one had served before: it had been kept."""
        used = self._used
        self.close()
        if not used:
            raise self._error(error) from error
        try:
            self._send()
        except (OSError, HTTPException) as second:
            raise self._error(second) from second

    def _send(self) -> None:
        assert self._request is not None
        self.open()
        assert self._http is not None
        request = self._request
        http = self._http
        http.putrequest(request.method, request.path, skip_accept_encoding=True)
        for name, value in (*self._always, *request.headers.items()):
            http.putheader(name, value)
        length = sum(len(part) for part in request.parts)
        if length or request.method == "POST":
            http.putheader("Content-Length", str(length))
        http.endheaders()
        for part in request.parts:
            http.send(part)

    def _receive(self) -> Answer:
        assert self._http is not None
        response: HTTPResponse = self._http.getresponse()
        body = response.read()
        self._used = True
        if response.will_close:
            self.close()
        return Answer(response.status, body, response.getheader(HEADER_LENGTH, ""))

    def _connection(self) -> HTTPConnection:
        host = self.server.host
        port = self.server.port
        if self.server.is_encrypted:
            return HTTPSConnection(host, port, timeout=self._timeout_s, context=ssl.create_default_context())
        return HTTPConnection(host, port, timeout=self._timeout_s)

    def _error(self, error: Exception) -> BackendError:
        """The sentence for a request without an answer; the connection is given up."""
        self.close()
        return no_answer(self.server, error, self._timeout_s)


def _token() -> tuple[tuple[str, str], ...]:
    """The header with the user's token, if there is one."""
    token = os.environ.get(TOKEN)
    return (("Authorization", f"Bearer {token}"),) if token else ()
