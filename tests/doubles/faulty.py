"""A backend that does what a test says: 'faulty' runs like 'null', and calls `fault` in every inference."""

from __future__ import annotations

from collections.abc import Callable

from framepace.backends.base import Session, Worker, register
from framepace.backends.null import NullBackend
from framepace.clock.system import Clock
from framepace.facts.plan import ModelPlan
from framepace.progress import Tell

Fault = Callable[[int], object]
"""Called with the number of the inference, counted over all workers and engines."""


class Faults:
    """What happens in an inference, and how many there were; models that cannot be loaded."""

    fault: Fault = staticmethod(lambda number: None)
    loading: Callable[[], object] = staticmethod(lambda: None)
    count = 0

    @classmethod
    def reset(cls, fault: Fault = lambda number: None, loading: Callable[[], object] = lambda: None) -> None:
        """Begin anew with this fault."""
        cls.fault = staticmethod(fault)
        cls.loading = staticmethod(loading)
        cls.count = 0


@register
class FaultyBackend(NullBackend):
    """See the module."""

    name = "faulty"

    def _load(self, model: ModelPlan, clock: Clock, tell: Tell) -> Session:
        Faults.loading()
        session = super()._load(model, clock, tell)
        make = session._worker

        def worker(index: int) -> Worker:
            made = make(index)
            enqueue = made.enqueue

            def faulty(slot: int, count: int) -> None:
                Faults.count += 1
                Faults.fault(Faults.count)
                enqueue(slot, count)

            made.enqueue = faulty  # type: ignore[method-assign]
            return made

        session._worker = worker  # type: ignore[method-assign]
        return session
