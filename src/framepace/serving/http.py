"""The protocol over HTTP: a bare ASGI application."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any

from framepace.openinference import rest
from framepace.openinference.compression import compressed, decompressed
from framepace.openinference.errors import RequestError
from framepace.serving.connections import BODY
from framepace.serving.httpcall import HttpCall, Response
from framepace.serving.httpcalls import CALLS
from framepace.serving.routes import route
from framepace.serving.service import Service


class HttpApp:
    """The ASGI application of a service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._authorisation = b""
        if service.token is not None:
            self._authorisation = f"Bearer {service.token}".encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """See ASGI."""
        body = scope.get(BODY)
        if body is None:
            body = await _whole_body(receive)
        call = HttpCall(scope, body)
        try:
            response = await self._answer(call)
        except RequestError as error:
            response = Response(rest.encode_error(error), error.status)
            if error.kind == "exhausted":
                response.headers = ((b"retry-after", b"1"),)
        if self._service.log.verbose:
            self._service.log.request(f"{call.client} {call.method} {call.path} {response.status}")
        await _send(send, call, response)

    async def _answer(self, call: HttpCall) -> Response:
        self._check_authorised(call)
        named = route(call.path)
        answer = None
        if named is not None:
            answer = CALLS.get((call.method, named.call))
        if named is None or answer is None:
            raise _refusal(call, named is not None)
        encoding = call.text(b"content-encoding")
        if encoding is not None:
            call.body = decompressed(call.body, encoding, self._service.limits.body)
        return await answer(self._service, call, named)

    def _check_authorised(self, call: HttpCall) -> None:
        """Raise RequestError for a call without the token; whether the server lives is no secret."""
        if not self._authorisation or call.path.startswith("/v2/health/"):
            return
        if not hmac.compare_digest(call.headers.get(b"authorization", b""), self._authorisation):
            raise RequestError("this server wants a token: send the header 'Authorization: Bearer ...'", "unauthorised")


def _refusal(call: HttpCall, is_known: bool) -> RequestError:
    if is_known:
        return RequestError("Method Not Allowed", "method")
    return RequestError(f"no such path: {call.path[:200]}", "not found")


async def _whole_body(receive: Callable[[], Awaitable[Any]]) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def _send(send: Callable[[Any], Awaitable[None]], call: HttpCall, response: Response) -> None:
    body = response.body
    headers = [(b"content-type", response.kind), *response.headers]
    accepted = call.text(b"accept-encoding")
    if accepted is not None and response.status == 200:
        body, encoding = compressed(body, accepted)
        if encoding:
            headers.append((b"content-encoding", encoding.encode()))
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
