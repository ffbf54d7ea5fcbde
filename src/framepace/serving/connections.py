"""HTTP connections with limits: uvicorn's protocol, and what it lets through unbounded.

A request is handed on when it is complete, so that one that trickles in costs no task, only its bytes.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from framepace.serving.options import Limits

BODY = "framepace.body"
CONNECTION = "framepace.connection"
ARRIVED = "framepace.arrived"
_LENGTH = b"content-length"


class Connection(HttpToolsProtocol):
    """A connection of a client. `on_lost` is called once when it is gone before its request was answered."""

    limits = Limits()
    held: list[int] = [0]  # bytes of the bodies of all connections

    def connection_made(self, transport: Any) -> None:
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self.began = time.monotonic()
        self.receiving = True
        self.on_lost: Callable[[], object] | None = None
        self._head = 0
        self._in_head = False
        self._held = 0
        self._waits: tuple[RequestResponseCycle, Any] | None = None
        if len(self.connections) > self.limits.connections:
            self.refuse(503, "too many connections")

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        super().connection_lost(exc)
        self._let_go()
        self._unset_keepalive_if_required()  # or a connection that was reset is kept until its timer ends
        self.receiving = False
        lost = self.on_lost
        self.on_lost = None
        if lost is not None:
            lost()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self.transport.is_closing():
            return
        in_head = self._in_head
        super().data_received(data)
        if in_head and self._in_head:  # a head without an end: the parser tells nothing of it yet
            self._count_head(len(data))

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self.refuse(400, msg)

    def refuse(self, status: int, why: str) -> None:
        """Answer with an error at once and close; nothing that was sent is read any more."""
        self.receiving = False
        body = json.dumps({"error": why}).encode()
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.close()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.began = time.monotonic()
        self.receiving = True
        self._head = 0
        self._in_head = True
        self._note(self.scope, CONNECTION, self)
        self._note(self.scope, ARRIVED, time.perf_counter_ns())

    def on_url(self, url: bytes) -> None:
        """A part of the request's target."""
        super().on_url(url)
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        super().on_header(name, value)
        self._count_head(len(name) + len(value) + 4)
        if name.lower() == _LENGTH and value.isdigit() and int(value) > self.limits.body:
            self._too_large()

    def on_headers_complete(self) -> None:
        """The head is complete."""
        self._in_head = False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if self.cycle.response_complete or self.transport.is_closing():
            return
        self.cycle.body += body
        self._held += len(body)
        self.held[0] += len(body)
        if self.held[0] > self.limits.buffered:
            self.refuse(503, "there is no room for another body now")
        elif len(self.cycle.body) > self.limits.body:
            self._too_large()

    def on_message_complete(self) -> None:
        """The request is complete."""
        super().on_message_complete()
        self.receiving = False
        if self._waits is not None:
            cycle, app = self._waits
            self._waits = None
            self._hand_on(cycle, app)

    def shutdown(self) -> None:
        """The server ends: a request that is not complete by now is not waited for."""
        if self.receiving:
            self.transport.close()
        else:
            super().shutdown()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self.transport.is_closing():
            return
        if not cycle.more_body:
            self._hand_on(cycle, app)
            return
        self._waits = (cycle, app)
        if cycle.waiting_for_100_continue:
            cycle.waiting_for_100_continue = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _hand_on(self, cycle: RequestResponseCycle, app: Any) -> None:
        if not self.transport.is_closing():
            self._note(cycle.scope, BODY, cycle.body)
            super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """The request was answered."""
        self._let_go()
        super().on_response_complete()

    def _let_go(self) -> None:
        """The bodies of this connection are needed no more."""
        self.held[0] -= self._held
        self._held = 0

    @staticmethod
    def _note(scope: Any, name: str, value: object) -> None:
        """Tell the application something of our own."""
        scope[name] = value

    def _count_head(self, size: int) -> None:
        self._head += size
        if self._head > self.limits.headers and not self.transport.is_closing():
            self.refuse(431, f"the request's head is larger than {self.limits.headers} bytes")

    def _too_large(self) -> None:
        if not self.transport.is_closing():
            self.refuse(413, f"Request body exceeds maximum of {self.limits.body} bytes")


async def close_slow(connections: Callable[[], Iterable[Any]], limits: Limits, every_s: float = 1.0) -> None:
    """Close connections whose requests do not arrive completely in time; for as long as the loop runs."""
    while True:
        await asyncio.sleep(every_s)
        before = time.monotonic() - limits.request_s
        for connection in list(connections()):
            if connection.receiving and connection.began < before and not connection.transport.is_closing():
                connection.refuse(408, f"the request did not arrive within {limits.request_s:g} s")
