"""A model of a server by HTTP: questions about it, and inferences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
from numpy.typing import NDArray

from framepace.facts.served import ServerCounts
from framepace.openinference.client.address import ServedModel
from framepace.openinference.client.documents import (
    Configuration,
    Metadata,
    ModelState,
    ServerMetadata,
    Statistics,
    message_of,
    read,
    ready,
)
from framepace.openinference.client.httpconnection import HEADER_LENGTH, Connection, Part
from framepace.openinference.client.refusals import no_model, no_shared_memory, refusal
from framepace.openinference.client.remote import Arrays, OutputRegions, Regions, RemoteModel
from framepace.openinference.client.tensors import (
    answered,
    request_head,
    tensor_bytes,
)

_T = TypeVar("_T")
_OK = 200
_GONE = (400, 404)  # Triton answers 400 for a model that failed to load


class HttpModel(RemoteModel):
    """A model that is asked by HTTP.

    Args:
        timeout_s: the longest wait for an answer.
    """

    def __init__(self, model: ServedModel, timeout_s: float) -> None:
        super().__init__()
        self._model = model
        self._connection = Connection(model.server, timeout_s)
        self._infer_path = f"{model.path}/infer"
        self._heads: dict[tuple[tuple[int, ...], ...], bytes] = {}

    def open(self) -> None:
        """See RemoteModel."""
        self._connection.open()

    def close(self) -> None:
        """See RemoteModel."""
        self._connection.close()

    def metadata(self) -> Metadata:
        """See RemoteModel."""
        answer = self._connection.call("GET", self._model.path)
        if answer.status in _GONE:
            raise no_model(self._model, message_of(answer.body), self.ready_models())
        if answer.status != _OK:
            raise refusal(self._model, answer.status, message_of(answer.body))
        return read(answer.body, Metadata, "what the model is")

    def configuration(self) -> Configuration | None:
        """See RemoteModel."""
        return self._asked(f"{self._model.path}/config", Configuration)

    def counts(self) -> ServerCounts | None:
        """See RemoteModel."""
        statistics = self._asked(f"{self._model.path}/stats", Statistics)
        return None if statistics is None else statistics.counts

    def server(self) -> ServerMetadata:
        """See RemoteModel."""
        return self._asked("/v2", ServerMetadata) or ServerMetadata()

    def ready_models(self) -> tuple[str, ...]:
        """See RemoteModel."""
        answer = self._connection.call("POST", "/v2/repository/index", [b'{"ready":true}'])
        if answer.status != _OK:
            return ()
        try:
            return ready(msgspec.json.decode(answer.body, type=list[ModelState]))
        except msgspec.DecodeError:
            return ()

    def register(self, region: str, key: str, size: int) -> None:
        """See RemoteModel."""
        body = msgspec.json.encode({"key": key, "offset": 0, "byte_size": size})
        answer = self._connection.call("POST", f"/v2/systemsharedmemory/region/{quote(region)}/register", [body])
        if answer.status != _OK:
            raise no_shared_memory(answer.status, message_of(answer.body))

    def unregister(self, region: str) -> None:
        """See RemoteModel."""
        self._connection.call("POST", f"/v2/systemsharedmemory/region/{quote(region)}/unregister")

    def share(self, inputs: Regions, outputs: OutputRegions) -> None:
        """See RemoteModel."""
        super().share(inputs, outputs)
        self._heads.clear()

    def send(self, inputs: Arrays) -> None:
        """See RemoteModel."""
        parts: dict[str, Part] = {n: tensor_bytes(a) for n, a in inputs.items() if n not in self._inputs}
        head = self._head(inputs, {name: len(part) for name, part in parts.items()})
        headers = {HEADER_LENGTH: str(len(head)), "Content-Type": "application/octet-stream"}
        self._connection.send("POST", self._infer_path, [head, *parts.values()], headers)

    def receive(self, names: Sequence[str], shared: Arrays) -> dict[str, NDArray[Any]]:
        """See RemoteModel."""
        answer = self._connection.receive()
        if answer.status != _OK:
            raise refusal(self._model, answer.status, message_of(answer.body))
        return answered(answer, names, shared)

    def _head(self, inputs: Arrays, sizes: Mapping[str, int]) -> bytes:
        """The JSON of a request; made once per set of shapes, where all tensors have fixed sizes."""
        shapes = tuple(array.shape for array in inputs.values())
        if any(array.dtype.kind == "O" for array in inputs.values()):
            return request_head(inputs, sizes, self._inputs, self._outputs)
        if shapes not in self._heads:
            self._heads[shapes] = request_head(inputs, sizes, self._inputs, self._outputs)
        return self._heads[shapes]

    def _asked(self, path: str, kind: type[_T]) -> _T | None:
        """A document that not every server has."""
        answer = self._connection.call("GET", path)
        if answer.status != _OK:
            return None
        return read(answer.body, kind, "its own documents")
