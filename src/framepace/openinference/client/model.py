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
        return _by_grpc(model, timeout_s)
    return HttpModel(model, timeout_s)


def _by_grpc(model: ServedModel, timeout_s: float) -> RemoteModel:
    try:
        from framepace.openinference.client.grpc import GrpcModel
    except ImportError as error:
        fix = "install it: pip install 'framepace[serve]', or give the server's address for HTTP"
        raise UsageError("gRPC needs a library that is not installed", got=error, fix=fix) from error
    return GrpcModel(model, timeout_s)


@contextmanager
def asked(model: ServedModel) -> Iterator[RemoteModel]:
    """The model for a few questions."""
    with closing(remote_model(model)) as remote:
        yield remote
