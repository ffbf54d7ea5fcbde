"""The model at an address, by the transport that the address names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from framepace.errors import UsageError
from framepace.openinference.client.address import ServedModel
from framepace.openinference.client.http import HttpModel
from framepace.openinference.client.remote import RemoteModel

_ASKING_S = 10.0  # for a question that computes nothing


def remote_model(model: ServedModel, timeout_s: float = _ASKING_S) -> RemoteModel:
    """The model, not connected yet.

    Args:
        timeout_s: the longest wait for an answer.

    Raises UsageError where the transport's library is not installed.
    """
    if model.server.is_grpc:
        raise UsageError("gRPC is not spoken yet", got=model, fix="the server's address for HTTP: http://HOST:8000")
    return HttpModel(model, timeout_s)


@contextmanager
def asked(model: ServedModel) -> Iterator[RemoteModel]:
    """The model for a few questions."""
    with closing(remote_model(model)) as remote:
        yield remote
