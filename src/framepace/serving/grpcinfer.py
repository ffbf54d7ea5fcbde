"""Inference over gRPC: single requests, and streams of them that are answered in order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from framepace.openinference import grpccodec
from framepace.openinference.errors import RequestError
from framepace.openinference.protos import message
from framepace.serving.grpccontext import Caller
from framepace.serving.model import ServedModel
from framepace.serving.request import Ticket
from framepace.serving.service import Service
from framepace.serving.timing import timing_text

_IN_STREAM = 64  # requests of one stream that are on their way; more of them wait in the client
_FINAL = "triton_enable_empty_final_response"
_TIMING = "framepace-timing"


class Pending:
    """A request on its way: `answer` waits for it."""

    def __init__(self, service: Service, request: Any, caller: Caller) -> None:
        self._inference = service.inference
        self._caller = caller
        self._done = threading.Event()
        arrived = self._inference.now()
        decoded = grpccodec.decode(request)
        self._final = bool(decoded.parameters.get(_FINAL))
        model = service.repository.find(request.model_name, request.model_version)
        within = caller.milliseconds_left()
        taken = self._inference.submit(model, decoded, caller.client, arrived, within, self._finish)
        self.model: ServedModel = taken[0]
        self.ticket = taken[1]
        self.model.feed.wake()

    def answer(self) -> Any:
        """The ModelInferResponse. Raises RequestError."""
        self._done.wait()
        answer = self._inference.answer(self.model, self.ticket)
        if self._final:
            answer.parameters = {**answer.parameters, "triton_final_response": True}
        if self._caller.asks(_TIMING):
            self._caller.note(_TIMING, timing_text(self.ticket))
        return grpccodec.encode(answer)

    def cancel(self) -> None:
        """Take the request back, if it does not run yet."""
        self.model.feed.cancel(self.ticket)

    def _finish(self, ticket: Ticket) -> None:
        self._done.set()


def infer(service: Service, request: Any, caller: Caller) -> Any:
    """The answer to one request. Raises RequestError."""
    pending = Pending(service, request, caller)
    caller.when_gone(pending.cancel)
    return pending.answer()


def stream(service: Service, requests: Iterator[bytes], caller: Caller) -> Iterator[Any]:
    """The answers to a stream of requests, in its order; an error is an answer and does not end the stream."""
    waiting: queue.Queue[Pending | RequestError | None] = queue.Queue(_IN_STREAM)
    reader = threading.Thread(target=_read, args=(service, requests, caller, waiting), name="stream", daemon=True)
    reader.start()
    response = message("ModelStreamInferResponse")
    while (pending := waiting.get()) is not None:
        try:
            if isinstance(pending, RequestError):
                raise pending
            yield response(infer_response=pending.answer())
        except RequestError as error:
            yield response(error_message=error.message)


def _cancel(requests: Iterable[Pending]) -> None:
    for pending in requests:
        pending.cancel()


def _read(service: Service, requests: Iterator[bytes], caller: Caller, waiting: queue.Queue[Any]) -> None:
    """Submit the requests of a stream as they come."""
    started: set[Pending] = set()
    kind = message("ModelInferRequest")
    caller.when_gone(lambda: _cancel(list(started)))
    try:
        for request in requests:
            try:
                pending = Pending(service, grpccodec.parsed(kind, request), caller)
            except RequestError as error:
                waiting.put(error)
                continue
            started.add(pending)
            waiting.put(pending)
            started = {other for other in started if not other.ticket.answered}
    except Exception:  # the client is gone: gRPC raises its own, undocumented, from the iterator
        caller.gone()
    finally:
        waiting.put(None)
