"""What a server's refusal means to whoever asked: the sentence for each status."""

from __future__ import annotations

import socket
import ssl
from http.client import BadStatusLine, HTTPException, RemoteDisconnected

from framepace.errors import BackendError, ModelError, ServerBusy
from framepace.openinference.client.address import ServedModel, Server

_LONGEST = 400  # letters of a server's message


def refusal(model: ServedModel, status: int, message: str) -> BackendError:
    """The error for an inference that a server refused, by its status of HTTP and its message."""
    got = f"{status}: {shortened(message)}"
    if status == 503:
        fix = "send fewer requests per second, or give the server more instances"
        return ServerBusy(f"the server refused a request of {model.name!r}: it has no room now", got=got, fix=fix)
    if status in (401, 403):
        fix = "set the environment variable FRAMEPACE_TOKEN to its token"
        return BackendError("the server wants to know who asks", got=got, fix=fix)
    if status == 413:
        return BackendError(
            "the request is larger than the server allows", got=got, fix="--set batch=1, or raise it there"
        )
    if status in (400, 404):
        fix = "the model may have been replaced: start again, so that its inputs are read again"
        return BackendError(f"the server does not take a request of {model.name!r}", got=got, fix=fix)
    return BackendError(f"the server failed in {model.name!r}", got=got, fix="look at the server's log")


def no_model(model: ServedModel, message: str, names: tuple[str, ...]) -> ModelError:
    """The error for a model that the server does not have, or not ready."""
    expected = f"one of {', '.join(names)}" if names else "a model that is ready"
    fix = "name another, or load it there"
    if model.name in names:
        fix = "name another version, or none"
    got = shortened(message) or str(model)
    return ModelError(f"the server has no model {model.name!r} that is ready", got=got, expected=expected, fix=fix)


def no_shared_memory(status: int, message: str) -> BackendError:
    """The error for a region that the server does not register."""
    got = f"{status}: {shortened(message)}"
    fix = "--set option.shared_memory=false sends tensors in the request: server and client need one machine"
    return BackendError("the server does not take shared memory", got=got, fix=fix)


_UNREACHABLE = ("the server cannot be reached", "start the server, or correct its address (--server)")
_CLOSED = (
    "the server closed the connection",
    "look at the server's log: it ended, or did not take the request; or the port is for https://, grpc:// or grpcs://",
)
_INSECURE = (
    "no encrypted connection to the server",
    "use http:// or grpc:// where the server does not encrypt, or trust its certificate (SSL_CERT_FILE)",
)
_LATE = (
    "the server did not answer in time",
    "send fewer requests per second, or wait longer (--set option.timeout_s=...)",
)
_NO_HTTP = (
    "what answers is no HTTP server",
    "its port for HTTP (Triton: 8000), or grpc:// for its port for gRPC (Triton: 8001)",
)
_SENTENCES: tuple[tuple[type[Exception], tuple[str, str]], ...] = (
    (ConnectionRefusedError, _UNREACHABLE),
    (socket.gaierror, _UNREACHABLE),
    (RemoteDisconnected, _CLOSED),
    (ssl.SSLError, _INSECURE),
    (TimeoutError, _LATE),
    (HTTPException, _NO_HTTP),
    (Exception, _CLOSED),
)
"""What to say and to do, by the kind of the error; the first that fits."""


def _reason(error: Exception, timeout_s: float) -> str:
    if isinstance(error, BadStatusLine) and not isinstance(error, RemoteDisconnected):
        return "its answer does not begin as HTTP does"
    if isinstance(error, TimeoutError):
        return f"nothing for {timeout_s:g} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def no_answer(server: Server, error: Exception, timeout_s: float) -> BackendError:
    """The error for a request without an answer."""
    problem, fix = next(words for kind, words in _SENTENCES if isinstance(error, kind))
    got = f"{server}: {_reason(error, timeout_s)}"
    return BackendError(problem, got=got, expected="an answer of a KServe v2 server", fix=fix)


def shortened(message: str) -> str:
    """The message on one line, without what is too long to read."""
    line = " ".join(message.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
