"""A model of a server, whichever way it is asked: by HTTP or by gRPC."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from framepace.facts.served import ServerCounts
from framepace.openinference.client.documents import Configuration, Metadata, ServerMetadata
from framepace.openinference.messages import Region

TOKEN = "FRAMEPACE_TOKEN"
"""The environment variable with the bearer token of servers that want one."""
Arrays = Mapping[str, NDArray[Any]]
Regions = Mapping[str, Region]
OutputRegions = Mapping[str, Region | None]


class RemoteModel(ABC):
    """A model behind one connection, with one request at a time. Not thread-safe.

    All methods raise BackendError where the server does not answer, or answers with something else.
    """

    def __init__(self) -> None:
        self._inputs: Regions = {}
        self._outputs: OutputRegions = {}

    def share(self, inputs: Regions, outputs: OutputRegions) -> None:
        """From now on inputs and outputs lie in these regions; outputs without one come in the answer."""
        self._inputs = inputs
        self._outputs = outputs

    @abstractmethod
    def open(self) -> None:
        """Connect."""

    @abstractmethod
    def close(self) -> None:
        """End the connection. Idempotent."""

    @abstractmethod
    def metadata(self) -> Metadata:
        """Inputs and outputs. Raises ModelError for a model that is not there or not ready."""

    @abstractmethod
    def configuration(self) -> Configuration | None:
        """How it runs; None where the server does not say."""

    @abstractmethod
    def counts(self) -> ServerCounts | None:
        """The server's statistics so far; None where it has none."""

    @abstractmethod
    def server(self) -> ServerMetadata:
        """What the server is."""

    @abstractmethod
    def ready_models(self) -> tuple[str, ...]:
        """The models that are ready; empty where the server does not say."""

    @abstractmethod
    def register(self, region: str, key: str, size: int) -> None:
        """Make a region of system shared memory known to the server."""

    @abstractmethod
    def unregister(self, region: str) -> None:
        """Make the server forget a region; one that it does not know is nothing to complain of."""

    @abstractmethod
    def send(self, inputs: Arrays) -> None:
        """Send an inference."""

    @abstractmethod
    def receive(self, names: Sequence[str], shared: Arrays) -> dict[str, NDArray[Any]]:
        """The outputs called `names` of the inference that was sent.

        Args:
            shared: the bytes of outputs that lie in shared memory, by name.
        """
