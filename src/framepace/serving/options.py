"""How a plan is served: addresses, limits, and who may call."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a client may take up.

    Attributes:
        body: bytes of a body, also after decompression.
        buffered: bytes of all bodies that are received or answered at the same time.
        json: bytes of JSON in a request.
        headers: bytes of a request's head.
        connections: at the same time.
        waiting: items per model that may wait.
        request_s: for a request to arrive completely.
        idle_s: for which a connection may be silent between requests.
        streams: gRPC calls at the same time.
    """

    body: int = 64 << 20
    buffered: int = 1 << 30
    json: int = 16 << 20
    headers: int = 32 << 10
    connections: int = 10_000
    waiting: int = 10_000
    request_s: float = 30.0
    idle_s: float = 75.0
    streams: int = 64


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Where to listen and how to end. Ports: 0 takes a free one, None does not listen.

    Attributes:
        token: what `Authorization: Bearer` must say; None: anyone may call.
        certificate, key: files in PEM for TLS.
        drain_s: accepted requests have so long to be answered at the end.
        deadline_ms: of requests that say none; None: they wait as long as it takes.
        pictures: name of a model that takes encoded pictures and runs all models of the plan; None: there is none.
        out: folder of traces; None: nothing is recorded.
        trace_rate: of every so many requests one is recorded.
        shared_memory: whether clients may register any; None: where only this machine can call.
    """

    host: str = "127.0.0.1"
    port: int | None = 8000
    grpc_port: int | None = 8001
    token: str | None = field(default=None, repr=False)
    certificate: Path | None = None
    key: Path | None = None
    drain_s: float = 5.0
    deadline_ms: float | None = None
    shared_memory: bool | None = None
    pictures: str | None = None
    out: Path | None = None
    trace_rate: int = 1
    limits: Limits = Limits()

    @property
    def shares_memory(self) -> bool:
        """Whether clients may register shared memory."""
        if self.shared_memory is None:
            return self.host in _LOOPBACK
        return self.shared_memory
