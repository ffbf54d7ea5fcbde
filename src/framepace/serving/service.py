"""What both transports need to answer: the models and everything around them."""

from __future__ import annotations

from dataclasses import dataclass, field

from framepace.serving.inference import Inference
from framepace.serving.logging import Log
from framepace.serving.options import Limits
from framepace.serving.repository import Repository
from framepace.serving.sharedmemory import SharedMemory
from framepace.serving.tracing import TraceSettings


@dataclass(frozen=True)
class Service:
    """A server without its transports.

    Attributes:
        token: what every call but health must bring; None for nothing.
        memory: what clients share.
        trace: which requests are recorded.
    """

    inference: Inference
    memory: SharedMemory = field(default_factory=SharedMemory)
    trace: TraceSettings = field(default_factory=lambda: TraceSettings(available=False))
    log: Log = field(default_factory=Log)
    limits: Limits = field(default_factory=Limits)
    token: str | None = field(default=None, repr=False)

    @property
    def repository(self) -> Repository:
        """The models."""
        return self.inference.repository
