"""framepace serve."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from framepace import values
from framepace.cli import options as o
from framepace.cli.standardstreams import answering
from framepace.errors import UsageError

if TYPE_CHECKING:
    from framepace.serving.options import ServeOptions
    from framepace.serving.server import Server

TOKEN = "FRAMEPACE_TOKEN"
"""Name of the environment variable with the token that clients must send."""
_PLANS = "a plan (.yaml), or models as `bench` takes them; several plans are versions 1, 2, ... of their models"
_HIGHEST_PORT = 65_535
_WIDTH = 80
Plans = Annotated[list[str], typer.Argument(metavar="PLAN...", help=_PLANS, show_default=False)]
Host = Annotated[
    str, typer.Option("--host", metavar="ADDRESS", help="address to listen on; as it is, only this machine can call")
]
Port = Annotated[
    int,
    o.number_option("--port", least=-1, most=_HIGHEST_PORT, whole=True, help="port for HTTP; 0: a free one, -1: none"),
]
GrpcPort = Annotated[
    int,
    o.number_option(
        "--grpc-port", least=-1, most=_HIGHEST_PORT, whole=True, help="port for gRPC; 0: a free one, -1: none"
    ),
]
_DEADLINE = "time for requests that bring no deadline, in ms (default: as long as it takes)"
DeadlineMs = Annotated[
    float | None, o.number_option("--deadline-ms", least=values.SHORTEST_MS, most=values.LONGEST_MS, help=_DEADLINE)
]
Drain = Annotated[
    float,
    o.number_option(
        "--drain-s", least=0.0, most=3600.0, help="seconds at the end in which accepted requests are still answered"
    ),
]
MaxBody = Annotated[
    int, o.number_option("--max-body-mb", least=1, most=1 << 20, whole=True, help="largest body of a request, MiB")
]
MaxJson = Annotated[
    int, o.number_option("--max-json-mb", least=1, most=1 << 20, whole=True, help="largest JSON in a request, MiB")
]
MaxConnections = Annotated[
    int,
    o.number_option("--max-connections", least=1, most=1_000_000, whole=True, help="most connections at the same time"),
]
MaxWaiting = Annotated[
    int, o.number_option("--max-waiting", least=1, most=1_000_000, whole=True, help="most items that wait, per model")
]
_SHARED = "let clients pass tensors in shared memory (default: where only this machine can call)"
SharedMemory = Annotated[bool | None, typer.Option("--shared-memory/--no-shared-memory", help=_SHARED)]
_RATE = "one of so many requests is recorded in --out"
TraceRate = Annotated[int, o.number_option("--trace-rate", least=1, most=1_000_000, whole=True, help=_RATE)]
Traces = Annotated[
    Path | None,
    o.path_option("--out", help="folder for traces, of which the last ten segments are kept (default: none)"),
]
_PICTURES = "also serve all models of the plan as one of this name, which takes JPEG, PNG, WebP or BMP"
Pictures = Annotated[str | None, typer.Option("--pictures", metavar="NAME", help=_PICTURES, show_default=False)]
Certificate = Annotated[
    Path | None,
    o.path_option(
        "--tls-certificate",
        help="file of the certificate (PEM): connections are then encrypted, by HTTPS and gRPC with TLS",
    ),
]
Key = Annotated[Path | None, o.path_option("--tls-key", help="file of its private key (PEM)")]


def command(
    plans: Plans,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    grpc_port: GrpcPort = 8001,
    deadline_ms: DeadlineMs = None,
    drain_s: Drain = 5.0,
    max_body_mb: MaxBody = 64,
    max_json_mb: MaxJson = 16,
    max_connections: MaxConnections = 10_000,
    max_waiting: MaxWaiting = 10_000,
    shared_memory: SharedMemory = None,
    pictures: Pictures = None,
    out: Traces = None,
    trace_rate: TraceRate = 1,
    tls_certificate: Certificate = None,
    tls_key: Key = None,
    p99_ms: o.P99 = None,
    size: o.Size = None,
    shape: o.Shape = [],
    layout: o.Layout = None,
    input_: o.Input = [],
    image: o.Image = [],
    window: o.Window = None,
    set_: o.Settings = [],
    backend: o.Backend = None,
    device: o.DeviceName = None,
    json: o.Json = False,
) -> None:
    """Answer requests of the Open Inference Protocol (KServe v2) until it is stopped; readiness at /v2/health/ready.

    Clients must send the token in the environment variable FRAMEPACE_TOKEN, if it is set.
    """
    from framepace.serving.options import Limits, ServeOptions

    limits = Limits(body=max_body_mb << 20, json=max_json_mb << 20, connections=max_connections, waiting=max_waiting)
    options = ServeOptions(
        host=host, port=_port(port), grpc_port=_port(grpc_port), token=_token(), certificate=tls_certificate,
        key=tls_key, drain_s=drain_s, deadline_ms=deadline_ms, shared_memory=shared_memory,
        pictures=_name(pictures), out=out,
        trace_rate=trace_rate, limits=limits,
    )  # fmt: skip
    settings = o.changes(set_, size=size, layout=layout, backend=backend, device=device)
    named = o.named_inputs(input_, image, [], [], window)
    _serve(plans, options, json, p99_ms=p99_ms, settings=settings, shapes=o.parse_shapes(shape), **named)


def _name(pictures: str | None) -> str | None:
    return None if pictures is None else values.name(pictures, "--pictures")


def _port(number: int) -> int | None:
    return None if number < 0 else number


def _serve(plans: list[str], options: ServeOptions, json: bool, **case: Any) -> None:
    from framepace import api
    from framepace.interrupts import GRACE_S, check, stopped_by
    from framepace.reporting.terminal.progress import Progress

    ended = threading.Event()
    models: Any = plans[0] if len(plans) == 1 else plans
    with stopped_by(ended.set, "answering what was accepted", options.drain_s + GRACE_S):
        with Progress() as progress, stopped_by(check, "ending before anything is served"):
            server = api.serve(models, options, tell=progress, **case)
            server.__enter__()
        try:
            _show(server, json)
            server.run_until(ended)
        finally:
            server.__exit__()


def _show(server: Server, json: bool) -> None:
    """Say where it listens, at once, for whoever waits for it to be ready."""
    document = {"schema": "framepace.serve/1", **server.addresses(), "models": server.repository.index()}
    text = "\n".join(
        listening_lines([(model.name, model.version) for model in server.repository.all()], server.addresses())
    )
    if json:
        text = msgspec.json.encode(document).decode()  # on one line: whoever waits for it reads a line
    with answering():
        print(text, flush=True)


def listening_lines(models: Sequence[tuple[str, str]], addresses: Mapping[str, str]) -> list[str]:
    """What is served, and where."""
    names = ", ".join(f"{name} version {version}" for name, version in models)
    places = " and ".join(f"{kind} {address}" for kind, address in addresses.items())
    return [
        *wrap(f"serving {names}", _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False),
        f"  {places} (Ctrl-C ends)",
    ]


def _token() -> str | None:
    """The token that clients must send. Raises UsageError for one that no header can hold."""
    token = os.environ.get(TOKEN)
    if token is not None and not token.strip():
        fix = f"put the token there, or unset {TOKEN}: then anyone may call"
        raise UsageError(f"{TOKEN} is set, and has no token", got=repr(token), fix=fix)
    if token is not None and not (token.isascii() and token.isprintable()):
        raise UsageError(f"{TOKEN} is no token", got="characters that no header can hold", fix="use printable ASCII")
    return token
