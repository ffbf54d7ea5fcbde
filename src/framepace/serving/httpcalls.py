"""The calls of the protocol over HTTP but inference, by method and name."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from framepace.openinference.errors import Kind, RequestError
from framepace.openinference.parameters import whole
from framepace.serving import calls
from framepace.serving.httpcall import TEXT, Desk, HttpCall, Response
from framepace.serving.httpinfer import infer
from framepace.serving.metrics import exposition
from framepace.serving.routes import Route
from framepace.serving.service import Service

Call = Callable[[Desk, HttpCall, Route], Response | None]
"""Answers a call, or begins to: it returns None then, and answers later."""
_Plain = Callable[[Service, HttpCall, Route], Any]
"""A call that is answered at once: what it returns is the document, None for an empty body."""


def _live(service: Service, call: HttpCall, named: Route) -> Any:
    """Whether the server runs at all; KServe's client reads the body, Triton's the status."""
    return {"live": True}


def _ready(service: Service, call: HttpCall, named: Route) -> Any:
    if not service.repository.ready:
        kind: Kind = "unavailable" if service.repository.closing else "invalid"
        raise RequestError("the server is not ready", kind, {"ready": False})
    return {"ready": True}


def _model_ready(service: Service, call: HttpCall, named: Route) -> Any:
    if not service.repository.is_ready(named.name, named.version):
        raise RequestError("Model version not ready", details={"name": named.name, "ready": False})
    return {"name": named.name, "ready": True}


def _server(service: Service, call: HttpCall, named: Route) -> Any:
    return calls.server_metadata(service)


def _metadata(service: Service, call: HttpCall, named: Route) -> Any:
    return calls.model_metadata(service.repository, named.name, named.version)


def _config(service: Service, call: HttpCall, named: Route) -> Any:
    return calls.model_config(service.repository, named.name, named.version)


def _stats(service: Service, call: HttpCall, named: Route) -> Any:
    return calls.statistics(service.repository, named.name, named.version)


def _index(service: Service, call: HttpCall, named: Route) -> Any:
    ready = call.json().get("ready", False)
    if not isinstance(ready, bool):
        raise RequestError("Invalid value for 'ready': expected a boolean")
    return service.repository.index(ready)


def _load(service: Service, call: HttpCall, named: Route) -> None:
    calls.load(service.repository, named.name, _parameters(call))


def _unload(service: Service, call: HttpCall, named: Route) -> None:
    _parameters(call)
    service.repository.unload(named.name)


def _memory_status(service: Service, call: HttpCall, named: Route) -> Any:
    return service.memory.status(named.name)


def _memory_register(service: Service, call: HttpCall, named: Route) -> None:
    document = call.json()
    for field in ("key", "byte_size"):
        if field not in document:
            raise RequestError(f"Shared memory register request has no '{field}' field")
    if not isinstance(document["key"], str):
        raise RequestError("Unable to parse 'key'")
    service.memory.register(named.name, document["key"], whole(document, "offset"), whole(document, "byte_size"))


def _memory_unregister(service: Service, call: HttpCall, named: Route) -> None:
    service.memory.unregister(named.name)


def _cuda_status(service: Service, call: HttpCall, named: Route) -> Any:
    return service.memory.status(named.name, "cuda")


def _cuda_register(service: Service, call: HttpCall, named: Route) -> None:
    document = call.json()
    for field in ("raw_handle", "device_id", "byte_size"):
        if field not in document:
            raise RequestError(f"Shared memory register request has no '{field}' field")
    handle = _handle(document["raw_handle"])
    service.memory.register_cuda(named.name, handle, whole(document, "device_id"), whole(document, "byte_size"))


def _handle(document: Any) -> bytes:
    """The bytes of {"b64": "..."}. Raises RequestError."""
    try:
        return base64.b64decode(document["b64"], validate=True)
    except (TypeError, KeyError, ValueError):
        raise RequestError("Unable to parse 'raw_handle': expected an object with 'b64'") from None


def _cuda_unregister(service: Service, call: HttpCall, named: Route) -> None:
    service.memory.unregister(named.name, "cuda")


def _trace(service: Service, call: HttpCall, named: Route) -> Any:
    return calls.trace_settings(service, named.name, call.json())


def _logging(service: Service, call: HttpCall, named: Route) -> Any:
    service.log.update(call.json())
    return service.log.document()


def _metrics(service: Service, call: HttpCall, named: Route) -> Response:
    return Response(exposition(service.repository.all()), kind=TEXT, shrinks=True)


def _parameters(call: HttpCall) -> dict[str, Any]:
    parameters = call.json().get("parameters", {})
    if not isinstance(parameters, dict):
        raise RequestError("Unable to parse 'parameters'")
    return parameters


def _at_once(plain: _Plain, desk: Desk, call: HttpCall, named: Route) -> Response:
    return _response(plain(desk.service, call, named))


def _in_thread(plain: _Plain, desk: Desk, call: HttpCall, named: Route) -> None:
    """For calls that take long."""
    desk.apart(call, partial(_at_once, plain, desk, call, named))


def _response(document: Any) -> Response:
    if isinstance(document, Response):
        return document
    if document is None:
        return Response()
    return Response(msgspec.json.encode(document))


_PLAIN: Mapping[tuple[str, str], _Plain] = {
    ("GET", "live"): _live,
    ("GET", "ready"): _ready,
    ("GET", "server"): _server,
    ("GET", "model ready"): _model_ready,
    ("GET", "metadata"): _metadata,
    ("GET", "config"): _config,
    ("GET", "stats"): _stats,
    ("POST", "index"): _index,
    ("GET", "trace"): _trace,
    ("POST", "trace"): _trace,
    ("GET", "logging"): _logging,
    ("POST", "logging"): _logging,
    ("GET", "metrics"): _metrics,
    ("GET", "memory status"): _memory_status,
    ("POST", "memory register"): _memory_register,
    ("POST", "memory unregister"): _memory_unregister,
    ("GET", "cuda status"): _cuda_status,
    ("POST", "cuda unregister"): _cuda_unregister,
}
_SLOW: Mapping[tuple[str, str], _Plain] = {
    ("POST", "load"): _load,
    ("POST", "unload"): _unload,
    ("POST", "cuda register"): _cuda_register,
}
CALLS: Mapping[tuple[str, str], Call] = {
    ("POST", "infer"): infer,
    **{key: partial(_at_once, plain) for key, plain in _PLAIN.items()},
    **{key: partial(_in_thread, plain) for key, plain in _SLOW.items()},
}
"""Every call, by its method and its name in `routes`."""
