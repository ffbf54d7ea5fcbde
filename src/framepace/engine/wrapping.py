"""A worker around a worker: it hands every call on, and those that add something override theirs."""

from __future__ import annotations

from framepace.backends.base import DeviceTimes, Prepare, Tensors, Worker
from framepace.facts.plan import ModelPlan


class WrappedWorker(Worker):
    """A worker that does what `worker` does."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.slots = worker.slots

    def staging(self, slot: int) -> Tensors:
        """See Worker."""
        return self.worker.staging(slot)

    def enqueue(self, slot: int, count: int) -> None:
        """See Worker."""
        self.worker.enqueue(slot, count)

    def wait(self, slot: int) -> Tensors:
        """See Worker."""
        return self.worker.wait(slot)

    def preparer(self, model: ModelPlan) -> Prepare | None:
        """See Worker."""
        return self.worker.preparer(model)

    def prime(self) -> None:
        """See Worker."""
        self.worker.prime()

    def times(self, slot: int) -> DeviceTimes | None:
        """See Worker."""
        return self.worker.times(slot)

    def sm_clock(self) -> int:
        """See Worker."""
        return self.worker.sm_clock()

    def select(self, size: tuple[int, int]) -> None:
        """See Worker."""
        self.worker.select(size)

    def close(self) -> None:
        """See Worker."""
        self.worker.close()


def bare(worker: Worker) -> Worker:
    """The worker itself, without what is around it."""
    while isinstance(worker, WrappedWorker):
        worker = worker.worker
    return worker
