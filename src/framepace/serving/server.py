"""A server's life: models loaded, ports opened, requests answered, and the end without a lost one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from msgspec.structs import replace

from framepace.clock.system import Clock, SystemClock
from framepace.errors import UsageError
from framepace.facts.plan import Plan
from framepace.progress import Tell, silent
from framepace.serving.addresses import location
from framepace.serving.advice import native_size
from framepace.serving.grpcserver import GrpcServer
from framepace.serving.http import HttpApp
from framepace.serving.inference import Inference
from framepace.serving.logging import Log
from framepace.serving.model import ServedModel, Surroundings
from framepace.serving.options import ServeOptions
from framepace.serving.pictures import ServedPictures
from framepace.serving.repository import Repository
from framepace.serving.service import Service
from framepace.serving.sharedmemory import SharedMemory
from framepace.serving.tls import check_for_grpc, check_pair
from framepace.serving.tracing import TraceSettings
from framepace.serving.webserver import WebServer

_END_S = 2.0  # for connections, and for each model, to end once their requests were answered
Plans = Callable[[], Sequence[Plan]]
"""Reads the plans; several that have a model of one name are its versions 1, 2, ..."""


class Server:
    """A server of plans: a context manager that listens within.

    Raises UsageError for ports that cannot be had, and whatever loading the models raises.
    """

    def __init__(
        self, plans: Plans, options: ServeOptions | None = None, *, clock: Clock | None = None, tell: Tell = silent
    ) -> None:
        self.options = check(options or ServeOptions())
        self._plans = plans
        self._surroundings = _surroundings(self.options, clock or SystemClock(), tell)
        self.repository = Repository(self._make, self.options.drain_s)
        self.service = _service(self.options, self.repository, self._surroundings)
        self.http: WebServer | None = None
        self.grpc: GrpcServer | None = None

    def __enter__(self) -> Server:
        with ExitStack() as on_error:
            on_error.callback(self._stop_transports, 0.0)
            self.http = self._web_server()
            self.grpc = self._grpc_server()
            self.repository.start()
            on_error.callback(self.repository.close, 0.0)
            for transport in self._transports:
                transport.start()
            on_error.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Readiness goes first, then accepted requests are answered, then connections end, then the models."""
        self.repository.drain(self.options.drain_s, self._surroundings.clock.now)
        self._stop_transports(_END_S)
        self.repository.close(_END_S)

    def addresses(self) -> dict[str, str]:
        """Where it listens, by protocol."""
        places = {}
        host = self.options.host
        if self.http is not None:
            scheme = "http" if self.options.certificate is None else "https"
            places["HTTP"] = f"{scheme}://{location(host, self.http.port)}"
        if self.grpc is not None:
            places["gRPC"] = location(host, self.grpc.port)
        return places

    def run_until(self, ended: threading.Event) -> None:
        """Serve until `ended` is set."""
        ended.wait()

    @property
    def _transports(self) -> Sequence[WebServer | GrpcServer]:
        return [transport for transport in (self.grpc, self.http) if transport is not None]

    def _stop_transports(self, seconds: float) -> None:
        """Of those that there are; connections have so long to end."""
        for transport in self._transports:
            transport.stop(seconds)

    def _grpc_server(self) -> GrpcServer | None:
        if self.options.grpc_port is None:
            return None
        return GrpcServer(self.service, self.options)

    def _web_server(self) -> WebServer | None:
        options = self.options
        if options.port is None:
            return None
        return WebServer(HttpApp(self.service), options)

    def _make(self) -> Mapping[str, Sequence[ServedModel]]:
        models: dict[str, list[ServedModel]] = {}
        for plan in self._plans():
            for model in plan.models:
                if model.is_native:
                    raise native_size(model, has_others=len(plan.models) > 1)
                versions = models.setdefault(model.name, [])
                alone = replace(plan, models=(model,))
                versions.append(ServedModel(alone, str(len(versions) + 1), self._surroundings))
            if self.options.pictures is not None:
                self._add_pictures(self.options.pictures, plan, models)
        return models

    def _add_pictures(self, name: str, plan: Plan, models: dict[str, list[ServedModel]]) -> None:
        """All models of a plan as one that takes pictures. Raises UsageError for a name that a model has."""
        versions = models.setdefault(name, [])
        if any(not isinstance(version, ServedPictures) for version in versions):
            fix = "choose another name for --pictures"
            raise UsageError("a model of the plan has the name of the pictures", got=name, fix=fix)
        versions.append(ServedPictures(name, plan, str(len(versions) + 1), self._surroundings))


def _surroundings(options: ServeOptions, clock: Clock, tell: Tell) -> Surroundings:
    memory = SharedMemory(options.shares_memory)
    trace = TraceSettings(options.out is not None, options.trace_rate)
    return Surroundings(clock, options.limits.waiting, memory, options.out, trace, tell)


def _service(options: ServeOptions, repository: Repository, around: Surroundings) -> Service:
    inference = Inference(repository, around.clock, options.deadline_ms)
    return Service(inference, around.memory, around.trace, Log(), options.limits, options.token)


def check(options: ServeOptions) -> ServeOptions:
    """The options; raises UsageError where they contradict each other."""
    if options.port is None and options.grpc_port is None:
        raise UsageError(
            "the server would listen nowhere", got="neither HTTP nor gRPC", fix="give --port or --grpc-port"
        )
    if options.port and options.port == options.grpc_port:
        fix = "give another --grpc-port, or -1 for none"
        raise UsageError("HTTP and gRPC cannot share a port", got=options.port, fix=fix)
    if (options.certificate is None) != (options.key is None):
        raise UsageError("TLS needs a certificate and its key", fix="give both --tls-certificate and --tls-key")
    if options.certificate is not None and options.key is not None:
        check_pair(options.certificate, options.key)
        if options.grpc_port is not None:
            check_for_grpc(options.certificate)
    return options
