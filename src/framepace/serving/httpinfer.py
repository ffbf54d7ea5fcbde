"""Inference over HTTP: the body to a request, the request through the engine, its answer to a body."""

from __future__ import annotations

from functools import partial

from framepace.openinference import rest
from framepace.openinference.errors import RequestError
from framepace.openinference.messages import InferRequest
from framepace.serving.httpcall import BINARY, Desk, HttpCall, Response
from framepace.serving.model import ServedModel
from framepace.serving.request import HIGHEST_PRIORITY, USUAL_PRIORITY, Ticket
from framepace.serving.routes import Route
from framepace.serving.service import Service
from framepace.serving.timing import timing_text

DEADLINE = b"framepace-deadline-ms"
TIMING = b"framepace-timing"
_LONGEST_MS = 1e9


def infer(desk: Desk, call: HttpCall, named: Route) -> None:
    """Begin to answer an inference request. Raises RequestError."""
    service = desk.service
    model = service.repository.find(named.name, named.version)
    request = _decoded(service, call, model)
    within = _milliseconds(call) if DEADLINE in call.headers else None
    waiting = _Waiting(desk, call)
    taken = service.inference.submit(model, request, call.client, call.arrived, within, waiting.done)
    waiting.model = taken[0]
    call.on_lost = partial(waiting.model.feed.cancel, taken[1])
    desk.wake(waiting.model.feed.wake)


def refusal(service: Service, call: HttpCall, named: Route) -> None:
    """Raise RequestError for a request whose head says that it would be late: its body need not be received.

    What else is wrong with it is said when it is complete.
    """
    try:
        within = _milliseconds(call) if DEADLINE in call.headers else None
        model = service.repository.find(named.name, named.version)
    except RequestError:
        return
    # The priority may come with the body, unless that is a tensor alone.
    priority = USUAL_PRIORITY if call.headers.get(rest.LENGTH_HEADER) == b"0" else HIGHEST_PRIORITY
    service.inference.check_in_time(model, call.client, priority, call.arrived, within)


class _Waiting:
    """A request that runs, and who is answered."""

    __slots__ = ("_call", "_desk", "model")

    model: ServedModel  # that took it

    def __init__(self, desk: Desk, call: HttpCall) -> None:
        self._desk = desk
        self._call = call

    def done(self, ticket: Ticket) -> None:
        """The request was answered, or has failed."""
        self._desk.later(self._call, partial(self._response, ticket))

    def _response(self, ticket: Ticket) -> Response:
        inference = self._desk.service.inference
        now = inference.now()
        inference.way_back.add(now - ticket.answered, now)
        answer = inference.answer(self.model, ticket)
        return _encoded(self._call, ticket, rest.encode(answer))


def _decoded(service: Service, call: HttpCall, model: ServedModel) -> InferRequest:
    length = rest.header_length(call.headers.get(rest.LENGTH_HEADER), len(call.body))
    if length == 0:
        return service.inference.raw(model, call.body)
    return rest.decode(call.body, length, model.name, service.limits.json)


def _encoded(call: HttpCall, ticket: Ticket, encoded: tuple[bytes, int | None]) -> Response:
    body, json_length = encoded
    response = Response(body, shrinks=True)
    if json_length is not None:
        response.kind = BINARY
        response.headers = ((rest.LENGTH_HEADER, str(json_length).encode()),)
    if TIMING in call.headers:
        response.headers = (*response.headers, (TIMING, timing_text(ticket).encode()))
    return response


def _milliseconds(call: HttpCall) -> float:
    """What the head says of its deadline, a positive number of milliseconds. Raises RequestError."""
    text = call.headers[DEADLINE].decode("latin-1")
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= _LONGEST_MS:
        raise RequestError(f"Unable to parse {DEADLINE.decode()}, got: {text[:40]}")
    return value
