"""The protocol over HTTP: every call to its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from framepace.openinference import rest
from framepace.openinference.compression import compressed, decompressed
from framepace.openinference.errors import RequestError
from framepace.serving.httpcall import HttpCall, Response
from framepace.serving.httpcalls import CALLS
from framepace.serving.httpinfer import DEADLINE, refusal
from framepace.serving.mailbox import Mailbox
from framepace.serving.routes import Route, route
from framepace.serving.service import Service
from framepace.serving.tokens import brings_token

_HEALTH = "/v2/health/"


class HttpApp:
    """Answers the calls to a service; `begin` is called in the thread of the loop before any of them."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._refuses_early = service.token is not None or service.inference.gives_deadlines
        self._wakes: set[Callable[[], None]] = set()

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer in this loop."""
        self._loop = loop
        self._mail = Mailbox(loop)

    def __call__(self, call: HttpCall) -> None:
        """See App."""
        self._finish(call, partial(self._begun, call))

    def refusal(self, call: HttpCall) -> Response | None:
        """See App: a call without the token, and an inference that would be late whatever its body is."""
        if not self._refuses_early and DEADLINE not in call.headers:
            return None
        try:
            self._check_authorised(call)
            named = route(call.path)
            if named is not None and named.call == "infer" and call.method == "POST":
                refusal(self.service, call, named)
        except RequestError as error:
            return _refused(error)
        return None

    def later(self, call: HttpCall, make: Callable[[], Response]) -> None:
        """See Desk."""
        self._mail.put(partial(self._finish, call, make))

    def apart(self, call: HttpCall, make: Callable[[], Response]) -> None:
        """See Desk."""
        self._loop.run_in_executor(None, make).add_done_callback(lambda made: self._finish(call, made.result))

    def wake(self, wake: Callable[[], None]) -> None:
        """See Desk."""
        if not self._wakes:
            self._loop.call_soon(self._wake_all)
        self._wakes.add(wake)

    def _wake_all(self) -> None:
        wakes = list(self._wakes)
        self._wakes.clear()
        for wake in wakes:
            wake()

    def _finish(self, call: HttpCall, make: Callable[[], Response | None]) -> None:
        """Send what `make` returns or raises; nothing where it returns None: the answer comes later."""
        try:
            response = make()
        except RequestError as error:
            response = _refused(error)
        except Exception as error:  # a mistake of ours ends one call, not the connections of all
            response = _refused(RequestError(f"internal error: {type(error).__name__}", "internal"))
        if response is not None:
            self._send(call, response)

    def _begun(self, call: HttpCall) -> Response | None:
        """The answer to a call; None where it comes later. Raises RequestError."""
        if self.service.token is not None:
            self._check_authorised(call)
        named = route(call.path)
        answer = None
        if named is not None:
            answer = CALLS.get((call.method, named.call))
        if named is None:
            raise RequestError(f"no such path: {call.path[:200]}", "not found")
        if answer is None:
            return _wrong_method(named)
        if b"content-encoding" in call.headers:
            encoding = call.headers[b"content-encoding"].decode("latin-1")
            call.body = decompressed(call.body, encoding, self.service.limits.body)
        return answer(self, call, named)

    def _check_authorised(self, call: HttpCall) -> None:
        """Raise RequestError for a call without the token; whether the server lives is no secret."""
        token = self.service.token
        if token is None or call.path.startswith(_HEALTH):
            return
        if not brings_token(call.headers.get(b"authorization", b""), token):
            raise RequestError("this server wants a token: send the header 'Authorization: Bearer ...'", "unauthorised")

    def _send(self, call: HttpCall, response: Response) -> None:
        if self.service.log.verbose:
            self.service.log.request(f"{call.client} {call.method} {call.path} {response.status}")
        headers = response.all_headers
        body = response.body
        if response.shrinks and b"accept-encoding" in call.headers:
            body, encoding = compressed(body, call.headers[b"accept-encoding"].decode("latin-1"))
            if encoding:
                headers = (*headers, (b"content-encoding", encoding.encode()))
        call.wire.send(call, response.status, headers, body)


def _refused(error: RequestError) -> Response:
    response = Response(rest.encode_error(error), error.status)
    if error.kind == "exhausted":
        response.headers = ((b"retry-after", b"1"),)
    return response


def _wrong_method(named: Route) -> Response:
    """The answer to a call whose path is known, with the methods that there are (RFC 9110, 15.5.6)."""
    response = _refused(RequestError("Method Not Allowed", "method"))
    methods = [method for method, name in CALLS if name == named.call]
    response.headers = ((b"allow", ", ".join(methods).encode()),)
    return response
