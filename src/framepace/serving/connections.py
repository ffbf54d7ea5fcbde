"""HTTP connections: what arrives becomes calls, within limits, and what is answered is written.

The parser sees heads and chunks; a body whose length is known is received right into its place. A call is handed on
when it is complete, so that one that trickles in costs its bytes alone; one that cannot be answered in time is refused
by its head, and its body is dropped.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from framepace.serving.bodies import Body, DroppedBody, KeptBody
from framepace.serving.httpcall import App, HttpCall, Response
from framepace.serving.options import Limits
from framepace.units import NS_PER_S

_LENGTH = b"content-length"
_CHUNKED = b"transfer-encoding"
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_STATUS_LINES[499] = b"HTTP/1.1 499 Client Closed Request\r\n"
_SCRATCH = 16 << 10
_LINGER_S = 30.0  # for which what a client still sends after its last answer is dropped,
_LINGER_SILENT_S = 5.0  # unless it is silent for so long
_JOINED = 64 << 10  # bytes of an answer up to which a copy is cheaper than a second part
_now = time.perf_counter_ns
Headers = Sequence[tuple[bytes, bytes]]


class Connection(asyncio.BufferedProtocol):
    """A connection of a client. Calls that came while another one runs wait for it; meanwhile nothing more is read.

    Attributes:
        receiving: whether a request is expected or not complete; `began` is when it began (ns).
    """

    limits = Limits()
    now = staticmethod(_now)
    held: list[int] = [0]  # bytes of the bodies of all connections
    scratch = memoryview(b"")  # what was received and is parsed at once

    def __init__(self, config: Any, server_state: Any, app_state: Any, _loop: Any = None) -> None:
        self._app: App = config.loaded_app
        self._server = server_state
        self._parser = HttpRequestParser(self)
        self._arriving: HttpCall | None = None
        self._body: Body | None = None
        self._is_direct = False  # the rest of the body is received without the parser
        self._waiting: deque[HttpCall] = deque()
        self._running: HttpCall | None = None
        self._is_going_on = False
        self._is_last = False  # no further request is taken
        self._is_unread = False  # the client does not read its answers
        self._is_paused = False
        self._refusal = b""  # goes behind the answers to what came before
        self._is_over = False  # what still comes is dropped
        self._fruitless = 0  # bytes of a head, or of what stands behind a body in chunks, that has no end yet
        self._in_head = False
        self._held = 0
        self.receiving = True
        self.began = self._heard = self.now()

    def connection_made(self, transport: Any) -> None:
        """See asyncio.Protocol."""
        self.transport = transport
        address = transport.get_extra_info("peername")
        self.client: str = address[0] if address else ""
        self._server.connections.add(self)
        over = len(self._server.connections) - self.limits.connections
        if over > self.limits.connections:
            transport.abort()  # those that are refused take up room as well
        elif over > 0:
            self.refuse(503, "too many connections")

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol. The call that runs is told; those that wait never run."""
        self._server.connections.discard(self)
        self._let_go(self._held)
        self._waiting.clear()
        self._arriving = None
        self._body = None
        self.receiving = False
        running = self._running
        self._running = None
        del self._parser  # it knows this connection: both would stay until Python looks for cycles
        if running is not None and running.on_lost is not None:
            running.on_lost()

    def pause_writing(self) -> None:
        """See asyncio.Protocol: a client that does not read its answers is not heard either."""
        self._is_unread = True
        self._pause_or_resume()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._is_unread = False
        self._pause_or_resume()

    def get_buffer(self, sizehint: int) -> memoryview:
        """See asyncio.BufferedProtocol."""
        if self._is_direct and self._body is not None:
            return self._body.room()
        return self.scratch

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio.BufferedProtocol."""
        if self._is_over:
            self._heard = self.now()
        elif self._is_direct and self._body is not None:
            self._body.received(nbytes)
            self._count_body(nbytes)
            if not self._body.missing:
                self._parser = HttpRequestParser(self)  # the other one still waits for the body
                self.on_message_complete()
        elif not self._is_last:
            self._parse(self.scratch[:nbytes])

    def send(self, call: HttpCall, status: int, headers: Headers, body: bytes) -> None:
        """Answer a call, unless its client has gone."""
        if call is not self._running:
            return
        self._running = None
        self._let_go(call.size)
        self._write(call, status, headers, body)
        self.began = self.now()
        self._go_on()

    def refuse(self, status: int, why: str) -> None:
        """Answer with an error, behind the answers to what came before, and end; nothing else is read any more."""
        body = json.dumps({"error": why}).encode()
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self._refusal = _STATUS_LINES[status] + head + body
        self._drop_rest()
        self._go_on()

    def shutdown(self) -> None:
        """The server ends: the call that runs is answered; a request that is not complete by now is not waited for."""
        self._is_last = True
        if self._running is None:
            self.transport.close()

    def expire(self, now: int) -> None:
        """Close it if its request did not arrive in time, or if it was silent for too long; `now` in ns."""
        silent_s = (now - self.began) / NS_PER_S
        if self.transport.is_closing() or self._running is not None:
            return
        if self._is_over:
            if silent_s > _LINGER_S or (now - self._heard) / NS_PER_S > _LINGER_SILENT_S:
                self.transport.abort()
        elif not self.receiving:
            if silent_s > self.limits.idle_s:
                self.transport.abort()  # though it may not have read its last answer
        elif silent_s <= self.limits.request_s:
            return
        elif self._arriving is not None and self._arriving.is_refused:
            self.transport.close()
        else:
            self.refuse(408, f"the request did not arrive within {self.limits.request_s:g} s")

    @property
    def _has_ended(self) -> bool:
        """Whether nothing is sent any more, or nothing that comes is read."""
        return self._is_over or self.transport.is_closing()

    def _drop_rest(self) -> None:
        """Read nothing of what still comes, though it is received."""
        if self._arriving is not None:
            self._let_go(self._arriving.size)
        self._is_over = True
        self.receiving = False
        self._arriving = None
        self._body = DroppedBody(None)
        self._is_direct = True

    def _linger(self) -> None:
        """End when the client does: closed before, what it still sends would be answered by a reset.

        With that it would lose its answer, too, which most clients read when they have sent all.
        """
        self._drop_rest()
        self._heard = self.began = self.now()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def on_message_begin(self) -> None:
        """A request begins."""
        self.began = self.now()
        self.receiving = True
        self._in_head = True
        self._arriving = HttpCall(self, self.began)

    def on_url(self, url: bytes) -> None:
        """A part of the request's target."""
        if self._arriving is not None:
            self._arriving.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; those behind a body in chunks (trailers) are none of the request's."""
        if self._in_head and self._arriving is not None:
            self._arriving.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """The head is complete: the call is refused if that is clear by now."""
        self._in_head = False
        call = self._arriving
        if call is None or self._is_over:
            return
        self._check_head(call.head_size)
        length = _length(call)
        if length is not None and length > self.limits.body:
            self._too_large()
        if not self._is_over:
            call.method = self._parser.get_method().decode("latin-1")
            call.keeps_alive = self._parser.get_http_version() != "1.0" and self._parser.should_keep_alive()
            self._begin_body(call, length)

    def _begin_body(self, call: HttpCall, length: int | None) -> None:
        """What follows the head is kept for the call, or dropped where that is refused by its head."""
        refused = None
        if self._running is None and not self._waiting:
            refused = self._app.refusal(call)
        if refused is not None:
            self._refuse_call(call, refused)
            return
        self._body = KeptBody(length)
        if b"expect" in call.headers and call.waits_for_permission:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if self._body is not None and not self._is_over:
            self._body.add(body)
            self._count_body(len(body))

    def _parse(self, data: memoryview) -> None:
        before = self._progress
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:  # answered as any other request, and nothing else is spoken afterwards
            self._is_last = True
            self._go_on()
        except HttpParserError:
            if not self._is_last and not self._has_ended:
                self.refuse(400, "Invalid HTTP request received.")
            return
        if before is not None and before == self._progress:
            self._fruitless += len(data)
            self._check_head(self._fruitless)
        else:
            self._fruitless = 0
        if not self._is_over:
            self._is_direct = self._body is not None and self._body.missing > 0

    @property
    def _progress(self) -> tuple[HttpCall, int] | None:
        """How far the call that arrives has come, as the parser tells it: nothing of a header without an end."""
        call = self._arriving
        if call is None:
            return None
        return call, 0 if self._body is None else self._body.missing

    def _refuse_call(self, call: HttpCall, response: Response) -> None:
        """Answer a call by its head, and drop its body."""
        call.is_refused = True
        call.keeps_alive = call.keeps_alive and not call.waits_for_permission  # else it may send a body, or not
        self._body = DroppedBody(_length(call))
        self._write(call, response.status, response.all_headers, response.body)
        if not call.keeps_alive:
            self._linger()

    def on_message_complete(self) -> None:
        """The request is complete."""
        if self._is_over:
            return
        call = self._arriving
        body = self._body
        self._arriving = None
        self._body = None
        self._is_direct = False
        self.receiving = False
        if call is None:
            return
        if not call.keeps_alive:
            self._is_last = True
        if isinstance(body, KeptBody):
            call.body = body.data
            self._waiting.append(call)
        self._go_on()

    def _go_on(self) -> None:
        """Run the calls that wait, one after the other."""
        if self._is_going_on:
            return
        self._is_going_on = True
        while self._running is None and self._waiting and not self.transport.is_closing():
            self._running = self._waiting.popleft()
            self._app(self._running)
        self._is_going_on = False
        if self._running is None:
            self._end()
        if self._waiting or self._is_paused:
            self._pause_or_resume()

    def _end(self) -> None:
        """End, if nothing follows the last answer."""
        if self._refusal and not self.transport.is_closing():
            self.transport.write(self._refusal)
            self._refusal = b""
            self._linger()
        elif self._is_last and not self._has_ended:
            if self.transport.can_write_eof():
                self._linger()
            else:  # over TLS: a client that waits for the end would not see it
                self._is_over = True
                self.transport.close()

    def _pause_or_resume(self) -> None:
        is_paused = not self._is_over and (self._is_unread or bool(self._waiting))
        if is_paused == self._is_paused or self.transport.is_closing():
            return
        self._is_paused = is_paused
        if is_paused:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def _write(self, call: HttpCall, status: int, headers: Headers, body: bytes) -> None:
        head = self._head_of(call, status, headers, len(body))
        if call.method == "HEAD":
            body = b""
        if len(body) > _JOINED:
            self.transport.writelines([head, body])
        else:
            self.transport.write(head + body)

    def _head_of(self, call: HttpCall, status: int, headers: Headers, length: int) -> bytes:
        parts = [_STATUS_LINES[status]]
        for name, value in (*self._server.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
        if not call.keeps_alive or (self._is_last and not self._waiting):
            parts.append(b"connection: close\r\n")
        parts.append(b"content-length: %d\r\n\r\n" % length)
        return b"".join(parts)

    def _let_go(self, size: int) -> None:
        """So many bytes of bodies are needed no more."""
        self.held[0] -= size
        self._held -= size

    def _check_head(self, size: int) -> None:
        if size > self.limits.headers and not self._has_ended:
            self.refuse(431, f"the request's head is larger than {self.limits.headers} bytes")

    def _count_body(self, size: int) -> None:
        call = self._arriving
        if call is None or call.is_refused:
            return
        call.size += size
        self._held += size
        self.held[0] += size
        if self.held[0] > self.limits.buffered:
            self.refuse(503, "there is no room for another body now")
        elif call.size > self.limits.body:
            self._too_large()

    def _too_large(self) -> None:
        if not self._has_ended:
            self.refuse(413, f"Request body exceeds maximum of {self.limits.body} bytes")


def connection_class(limits: Limits, now: Callable[[], int] = _now) -> type[Connection]:
    """The connections of one server, which share what their limits count and the room for heads; `now` in ns."""
    shared = {"limits": limits, "now": staticmethod(now), "held": [0], "scratch": memoryview(bytearray(_SCRATCH))}
    return type("_Connection", (Connection,), shared)


def _length(call: HttpCall) -> int | None:
    """How long its body is; None for one that comes in chunks."""
    if _CHUNKED in call.headers:
        return None
    return int(call.headers.get(_LENGTH, b"0"))


async def close_slow(connections: Callable[[], Iterable[Any]], every_s: float = 1.0) -> None:
    """Close connections whose requests do not arrive in time, and silent ones; for as long as the loop runs."""
    while True:
        await asyncio.sleep(every_s)
        now = _now()
        for connection in list(connections()):
            connection.expire(now)
