"""The protocol over gRPC, answered by threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.json_format import ParseDict

from framepace.errors import UsageError
from framepace.openinference.errors import RequestError
from framepace.openinference.grpccodec import parsed
from framepace.openinference.protos import HEALTH, INFERENCE, message, methods
from framepace.serving import grpcinfer
from framepace.serving.addresses import check_free, location
from framepace.serving.grpccalls import CALLS
from framepace.serving.grpccontext import Caller
from framepace.serving.options import ServeOptions
from framepace.serving.service import Service
from framepace.serving.tls import not_for_grpc

_SERVING = 1
_NOT_SERVING = 2
_LOOK_S = 1.0


class GrpcServer:
    """A service on a port. Raises UsageError for an address that cannot be had."""

    def __init__(self, service: Service, options: ServeOptions) -> None:
        assert options.grpc_port is not None
        self._service = service
        self._ended = threading.Event()
        self._server = grpc.server(
            ThreadPoolExecutor(options.limits.streams, "grpc"),
            handlers=[self._handlers(INFERENCE, self._handler), self._handlers(HEALTH, self._health_handler)],
            options=_channel_options(options),
            maximum_concurrent_rpcs=options.limits.streams,
        )
        self.port = self._bound(options)

    def start(self) -> None:
        """Listen."""
        self._server.start()

    def stop(self, seconds: float) -> None:
        """Take no more calls, and let those that run end within `seconds`."""
        self._ended.set()
        self._server.stop(seconds).wait()

    def _bound(self, options: ServeOptions) -> int:
        assert options.grpc_port is not None
        check_free(options.host, options.grpc_port)  # what gRPC itself says of one that is taken helps nobody
        address = location(options.host, options.grpc_port)
        if options.certificate is not None and options.key is not None:
            return self._bound_with_tls(address, options.certificate, options.key)
        try:
            return int(self._server.add_insecure_port(address))
        except RuntimeError as error:
            fix = "choose another port, or 0 for any that is free"
            raise UsageError(f"{address} cannot be had for gRPC", got=error, fix=fix) from error

    def _bound_with_tls(self, address: str, certificate: Path, key: Path) -> int:
        """See _bound: the certificate and its key are right, but gRPC may not take what OpenSSL does."""
        pair = (key.read_bytes(), certificate.read_bytes())
        try:
            return int(self._server.add_secure_port(address, grpc.ssl_server_credentials([pair])))
        except RuntimeError as error:
            raise not_for_grpc(certificate, "its server refuses it or its key") from error

    def _handlers(self, service: str, make: Callable[[Any], Callable[[Any, Any], Any]]) -> Any:
        """The handlers of all methods of a service that are answered."""
        handlers = {method.name: _rpc(method, make(method)) for method in methods(service)}
        return grpc.method_handlers_generic_handler(service, handlers)

    def _handler(self, method: Any) -> Callable[[Any, Any], Any]:
        request = message(method.input_type.full_name)
        if method.name == "ModelInfer":
            return self._guarded(request, grpcinfer.infer)
        if method.name == "ModelStreamInfer":
            return self._guarded_stream
        call = CALLS.get(method.name)
        response = message(method.output_type.full_name)

        def answer(service: Service, request: Any, caller: Caller) -> Any:
            if call is None:
                raise RequestError(f"{method.name} is not supported", "unsupported")
            return ParseDict(call(service, request), response())

        return self._guarded(request, answer)

    def _guarded(self, request: Any, answer: Callable[[Service, Any, Caller], Any]) -> Callable[[Any, Any], Any]:
        """The handler whose RequestErrors become the status of the call; `request` is the class of its message."""

        def handle(data: bytes, context: Any) -> Any:
            caller = Caller(context)
            try:
                caller.check_authorised(self._service.token)
                return answer(self._service, parsed(request, data), caller)
            except RequestError as error:
                return caller.fail(error)

        return handle

    def _guarded_stream(self, requests: Iterator[bytes], context: Any) -> Iterator[Any]:
        caller = Caller(context)
        try:
            caller.check_authorised(self._service.token)
        except RequestError as error:
            caller.fail(error)
        yield from grpcinfer.stream(self._service, requests, caller)

    def _health_handler(self, method: Any) -> Callable[[Any, Any], Any]:
        return self._watch if method.server_streaming else self._health

    def _health(self, data: bytes, context: Any) -> Any:
        """The state of the server, or of the model that is named."""
        try:
            request = parsed(message("grpc.health.v1.HealthCheckRequest"), data)
        except RequestError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)
        response = message("grpc.health.v1.HealthCheckResponse")
        ready = self._service.repository.ready
        if request.service not in ("", INFERENCE):
            try:
                ready = self._service.repository.is_ready(request.service)
            except RequestError as error:
                context.abort(grpc.StatusCode.NOT_FOUND, error.message)
        return response(status=_SERVING if ready else _NOT_SERVING)

    def _watch(self, data: bytes, context: Any) -> Iterator[Any]:
        """The state of the server whenever it changes."""
        last = None
        while context.is_active() and not self._ended.is_set():
            state = self._health(data, context)
            if state != last:
                yield state
            last = state
            self._ended.wait(_LOOK_S)


def _channel_options(options: ServeOptions) -> list[tuple[str, int]]:
    limits = options.limits
    return [
        ("grpc.max_receive_message_length", limits.body),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", limits.headers),
        ("grpc.so_reuseport", 0),
        ("grpc.http2.max_ping_strikes", 0),
    ]


def _rpc(method: Any, handle: Callable[[Any, Any], Any]) -> Any:
    """The handler of a method. It takes bytes: grpcio keeps every call whose message its own reader cannot read."""
    kinds = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    make = kinds[method.client_streaming, method.server_streaming]
    return make(handle, response_serializer=message(method.output_type.full_name).SerializeToString)
