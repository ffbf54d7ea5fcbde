"""Inference over HTTP: the body to a request, the request through the engine, its answer to a body."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from framepace.openinference import rest
from framepace.openinference.errors import RequestError
from framepace.openinference.messages import InferRequest
from framepace.serving.httpcall import BINARY, HttpCall, Response
from framepace.serving.model import ServedModel
from framepace.serving.request import Ticket
from framepace.serving.routes import Route
from framepace.serving.service import Service
from framepace.serving.timing import timing_text

DEADLINE = b"framepace-deadline-ms"
TIMING = b"framepace-timing"
_LONGEST_MS = 1e9


async def infer(service: Service, call: HttpCall, named: Route) -> Response:
    """The answer to an inference request. Raises RequestError."""
    inference = service.inference
    arrived = call.arrived or inference.now()
    model = service.repository.find(named.name, named.version)
    request = _decoded(service, call, model)
    within = _milliseconds(call.text(DEADLINE))
    loop = asyncio.get_running_loop()
    done = _Done(loop)
    model, ticket = inference.submit(model, request, call.client, arrived, within, done)
    loop.call_soon(model.feed.wake)  # when this task waits
    await _done_or_lost(call, model, ticket, done)
    return _encoded(call, ticket, rest.encode(inference.answer(model, ticket)))


def _decoded(service: Service, call: HttpCall, model: ServedModel) -> InferRequest:
    length = rest.header_length(call.headers.get(rest.LENGTH_HEADER), len(call.body))
    if length == 0:
        return service.inference.raw(model, call.body)
    return rest.decode(call.body, length, model.name, service.limits.json)


def _encoded(call: HttpCall, ticket: Ticket, encoded: tuple[bytes, int | None]) -> Response:
    body, json_length = encoded
    response = Response(body)
    if json_length is not None:
        response.kind = BINARY
        response.headers = ((rest.LENGTH_HEADER, str(json_length).encode()),)
    if TIMING in call.headers:
        response.headers = (*response.headers, (TIMING, timing_text(ticket).encode()))
    return response


class _Done:
    """Wakes the task that waits for a request, from the thread that answered it."""

    __slots__ = ("_loop", "future")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.future: asyncio.Future[None] = loop.create_future()

    def __call__(self, ticket: Ticket) -> None:
        try:
            self._loop.call_soon_threadsafe(self._resolve)
        except RuntimeError:  # the loop has ended: nobody waits
            return

    def _resolve(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


async def _done_or_lost(call: HttpCall, model: ServedModel, ticket: Ticket, done: _Done) -> None:
    """Wait until a request is answered; it is taken back when its connection is lost before."""
    connection = call.connection
    if connection is None:
        await done.future
        return
    lost: Callable[[], object] = partial(model.feed.cancel, ticket)
    connection.on_lost = lost
    await done.future
    connection.on_lost = None


def _milliseconds(text: str | None) -> float | None:
    """A positive number of milliseconds. Raises RequestError."""
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= _LONGEST_MS:
        raise RequestError(f"Unable to parse {DEADLINE.decode()}, got: {text[:40]}")
    return value
