"""From a request of either transport to a ticket in the right feed, and from a ticket to the answer."""

from __future__ import annotations

from collections.abc import Callable

from framepace.clock.system import Clock
from framepace.openinference import rest
from framepace.openinference.classification import classified
from framepace.openinference.errors import RequestError
from framepace.openinference.messages import InferAnswer, InferRequest
from framepace.openinference.parameters import whole
from framepace.serving.admission import WayBack
from framepace.serving.model import ServedModel
from framepace.serving.repository import Repository
from framepace.serving.request import LOWEST_PRIORITY, USUAL_PRIORITY, Asking, Ticket
from framepace.units import NS_PER_MS, NS_PER_US

_SEQUENCES = ("sequence_id", "sequence_start", "sequence_end")


class Inference:
    """Runs requests on the models of a repository.

    Args:
        deadline_ms: of requests that say none.
    """

    def __init__(self, repository: Repository, clock: Clock, deadline_ms: float | None = None) -> None:
        self.repository = repository
        self.now = clock.now
        self._deadline_ms = deadline_ms
        self.way_back = WayBack()

    @property
    def gives_deadlines(self) -> bool:
        """Whether requests that say none have one."""
        return self._deadline_ms is not None

    def submit(
        self,
        model: ServedModel,
        request: InferRequest,
        client: str,
        arrived: int,
        within_ms: float | None,
        done: Callable[[Ticket], None],
    ) -> tuple[ServedModel, Ticket]:
        """Accept a request; `done` is called once, from any thread. Raises RequestError for one that is refused.

        The model that took it is another one where `model` was loaded anew in this moment.

        Args:
            arrived: when it came (ns).
            within_ms: the time that the transport says it has from then on.
        """
        ticket = model.ticket(request, arrived, done)
        ticket.client = client
        self._set_policy(ticket, within_ms)
        try:
            model.submit(ticket)
        except RequestError:
            successor = self.repository.find(model.name, model.version)
            if successor is model:
                raise
            return self.submit(successor, request, client, arrived, within_ms, done)
        return model, ticket

    def _set_policy(self, ticket: Ticket, within_ms: float | None) -> None:
        """When a request must be answered, and before which others. Raises RequestError."""
        timeout_us = 0
        if ticket.parameters:
            ticket.priority = min(whole(ticket.parameters, "priority") or USUAL_PRIORITY, LOWEST_PRIORITY)
            timeout_us = whole(ticket.parameters, "timeout")
        ticket.deadline = self._deadline(timeout_us, ticket.arrived, within_ms)
        if ticket.deadline is not None:
            ticket.latest = ticket.deadline - self._reserve(ticket.deadline, ticket.arrived)

    def answer(self, model: ServedModel, ticket: Ticket) -> InferAnswer:
        """The answer to a ticket that is done. Raises its RequestError."""
        answer = model.answer(ticket)
        for place, output in enumerate(answer.outputs):
            if output.wanted.classes and output.data is not None:
                labels = model.interface.outputs_by_name[output.name].labels
                answer.outputs[place] = classified(output, model.interface.batches, labels)
        return answer

    def raw(self, model: ServedModel, body: bytes | bytearray) -> InferRequest:
        """The request whose body is the only input of the model. Raises RequestError."""
        inputs = model.interface.inputs
        if len(inputs) != 1:
            raise RequestError(f"Raw request must only have 1 input (found {len(inputs)} inputs in '{model.name}')")
        tensor = inputs[0]
        return rest.raw_request(body, tensor.name, tensor.datatype, tensor.of_one, model.name)

    def check_in_time(
        self, model: ServedModel, client: str, priority: int, arrived: int, within_ms: float | None
    ) -> None:
        """Raise RequestError where no request of such a client and priority would be answered in time by now."""
        deadline = self._deadline(0, arrived, within_ms)
        if deadline is None:
            return
        latest = deadline - self._reserve(deadline, arrived)
        try:
            model.feed.check(Asking(1, client, priority, latest))
        except RequestError as error:
            if error.kind == "exhausted":  # else it may be for another one, which takes over from it
                model.statistics.refused(error.kind)
                raise

    def _reserve(self, deadline: int, arrived: int) -> int:
        """How much of a request's time is kept for the way back: half of it at most, or a slow moment would last."""
        return min(self.way_back.limit(arrived), (deadline - arrived) // 2)

    def _deadline(self, timeout_us: int, arrived: int, within_ms: float | None) -> int | None:
        """The earliest of the deadlines that are given."""
        ends = []
        if timeout_us:
            ends.append(arrived + timeout_us * NS_PER_US)
        if within_ms is None and not timeout_us:
            within_ms = self._deadline_ms
        if within_ms is not None:
            ends.append(arrived + round(within_ms * NS_PER_MS))
        return min(ends, default=None)
