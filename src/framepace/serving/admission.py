"""When a request that comes now would be answered, and whether that is in time. Pure: numbers in, numbers out."""

from __future__ import annotations

from dataclasses import dataclass

from framepace.feeds.batchcosts import BatchCosts


@dataclass(frozen=True)
class Queue:
    """What a new request finds.

    Attributes:
        ahead: items that go before it.
        flying: batches that run.
        free: when the first of them is expected to end (ns).
        workers: batches that run side by side at most.
        size: items in one batch at most.
    """

    ahead: int
    flying: int
    free: int
    workers: int
    size: int


def answered_at(now: int, items: int, queue: Queue, costs: BatchCosts) -> int:
    """When a request of `items` is hardly ever answered later than (ns).

    The items ahead of it go in full batches, `workers` of them side by side; the last batch is counted with the margin
    that `BatchCosts.limit` has. While nothing was measured, all takes no time.
    """
    beside = queue.workers - 1
    begins = now
    if queue.flying >= queue.workers:
        begins = max(now, queue.free)
    waiting = queue.ahead + items
    batches = -(-waiting // queue.size)
    last = waiting - (batches - 1) * queue.size
    busy = min(batches - 1, beside)
    before = (batches - 1) * costs.cost(queue.size, beside) // queue.workers
    return begins + before + costs.limit(last, max(busy, min(queue.flying, beside)))
