"""What a server says of the requests of one model: its own counts, and their difference over a run."""

from __future__ import annotations

from framepace.facts.base import Fact


class ServerCounts(Fact, frozen=True, kw_only=True):
    """The statistics of a KServe v2 server for one model, since it was loaded or over a run.

    `requests` succeeded and `failed` did not; they held `items` that ran, in so many `executions` (`batches`: by the
    batch size, as a text). The durations are sums over all requests, ns: `total` within the server, of which `queue`
    waiting for an instance and for a batch, then `input`, `compute` and `output`; every request of a batch counts the
    whole batch.
    `cached` requests were answered from its cache.
    """

    requests: int = 0
    failed: int = 0
    items: int = 0
    executions: int = 0
    cached: int = 0
    total: int = 0
    queue: int = 0
    input: int = 0
    compute: int = 0
    output: int = 0
    batches: dict[str, int] = {}

    def since(self, before: ServerCounts) -> ServerCounts:
        """What was added since `before`; all of it where the server began anew in between."""
        if before.requests > self.requests or before.executions > self.executions:
            return self
        names = [name for name in self.__struct_fields__ if name != "batches"]
        added = {name: getattr(self, name) - getattr(before, name) for name in names}
        counts = {size: count - before.batches.get(size, 0) for size, count in self.batches.items()}
        return ServerCounts(**added, batches={size: count for size, count in counts.items() if count})


class Served(Fact, frozen=True, kw_only=True):
    """Where the time of a request went, by a server's own statistics beside what its client measured.

    `parts` are means per request in ns and add up to the client's inference: 'network' (the way there and back, and the
    protocol on both sides), 'queue' (waiting in the server, for an instance and for a batch), 'input', 'compute' and
    'output' of the model, and 'other' within the server. `batch` is the mean number of items per execution. `requests`
    are those that the server counted, `asked` those of this run: where others asked too, the parts are of both.
    """

    model: str
    requests: int
    asked: int
    failed: int
    executions: int
    batch: float
    cached: int
    parts: dict[str, float]
    batches: dict[str, int] = {}

    @property
    def busy_with_others(self) -> bool:
        """Whether more than a tenth of the requests were somebody else's."""
        return self.requests > 1.1 * self.asked + 10
