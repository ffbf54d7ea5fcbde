"""The control socket of a run: questions and orders as JSON lines over a Unix socket that only its user may open.

    {"do": "add", "source": {"name": "door", "address": "rtsp://..."}}   and "change": fields it lacks have defaults
    {"do": "change", "name": "door", "fields": {"every": 4}}             its other fields stay
    {"do": "remove", "name": "door"}
    {"do": "status"}, {"do": "record"}, {"do": "stop"}

Each is answered by one line: {"ok": true, ...} or {"ok": false, "error": {"what": ..., "fix": ...}}.
"""

from __future__ import annotations

import os
import socket
import socketserver
import stat
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from framepace.errors import FramepaceError, UsageError, unknown
from framepace.facts.address import without_secrets
from framepace.facts.running import RunStatus, SourceSpec
from framepace.running.specs import made, no_such_source
from framepace.values import shown

_LONGEST_LINE = 1 << 20
_IDLE_S = 60.0  # without a line, after which a connection is closed
_MOST_CONNECTIONS = 32
_FIELD = "say what: framepace control change PATH NAME --field every=4"
Reply = dict[str, Any]


class Controllable(Protocol):
    """What is controlled (see running.run.Run)."""

    @property
    def sources(self) -> Sequence[SourceSpec]:
        """See Run."""

    def add(self, spec: SourceSpec) -> None:
        """See Run."""

    def remove(self, name: str) -> None:
        """See Run."""

    def change(self, spec: SourceSpec) -> None:
        """See Run."""

    def status(self) -> RunStatus:
        """See Run."""

    def record(self, why: str) -> Path:
        """See Run."""

    def stop(self) -> None:
        """See Run."""


def answer(run: Controllable, line: bytes) -> Reply:
    """The answer to one line; errors are answers too."""
    try:
        order = _order(line)
        do = str(order.pop("do", None))
        if do not in _ORDERS:
            raise unknown("order", shown(do), _ORDERS)
        return {"ok": True, **_ORDERS[do](run, order)}
    except FramepaceError as error:
        parts = {"what": error.what, "got": error.got, "expected": error.expected, "fix": error.fix}
        said = {name: str(part) for name, part in parts.items() if part is not None}
        return {"ok": False, "error": without_secrets(said)}


def _order(line: bytes) -> dict[str, Any]:
    try:
        order = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise UsageError(
            "the line is no JSON", got=shown(error), expected='such as {"do": "status"}', fix=""
        ) from error
    if not isinstance(order, dict):
        raise UsageError("the line is no order", got=type(order).__name__, expected='such as {"do": "status"}', fix="")
    return order


def _add(run: Controllable, order: Mapping[str, Any]) -> Reply:
    run.add(_source(order))
    return {}


def _change(run: Controllable, order: Mapping[str, Any]) -> Reply:
    spec = _with_fields(run, order) if "fields" in order else _source(order)
    run.change(spec)
    return {}


def _remove(run: Controllable, order: Mapping[str, Any]) -> Reply:
    run.remove(str(order.get("name")))
    return {}


def _status(run: Controllable, order: Mapping[str, Any]) -> Reply:
    return {"status": msgspec.to_builtins(run.status())}


def _record(run: Controllable, order: Mapping[str, Any]) -> Reply:
    return {"recording": str(run.record("it was asked for"))}


def _stop(run: Controllable, order: Mapping[str, Any]) -> Reply:
    run.stop()
    return {}


_ORDERS: Mapping[str, Callable[[Controllable, Mapping[str, Any]], Reply]] = {
    "add": _add,
    "change": _change,
    "remove": _remove,
    "status": _status,
    "record": _record,
    "stop": _stop,
}


def _source(order: Mapping[str, Any]) -> SourceSpec:
    fields = order.get("source")
    if not isinstance(fields, dict):
        expected = '{"do": "add", "source": {"name": ..., "address": ...}}'
        raise UsageError("the order names no source", got=fields, expected=expected, fix="add it")
    return made(fields)


def _with_fields(run: Controllable, order: Mapping[str, Any]) -> SourceSpec:
    """A source that there is, with some of its fields changed."""
    specs = {spec.name: spec for spec in run.sources}
    name = str(order.get("name"))
    if name not in specs:
        raise no_such_source(name, list(specs))
    fields = order["fields"]
    if not isinstance(fields, dict) or not fields:
        raise UsageError("the order changes nothing", got=fields, expected='fields, such as {"every": 4}', fix=_FIELD)
    return made({**msgspec.to_builtins(specs[name]), **fields})


class _Connection(socketserver.StreamRequestHandler):
    """One client: a line, an answer, as often as it likes."""

    timeout = _IDLE_S
    server: _Server

    def handle(self) -> None:
        """Answer until the client leaves, is silent, or sends too much."""
        try:
            while line := self.rfile.readline(_LONGEST_LINE):
                if not line.endswith(b"\n"):
                    return
                self.wfile.write(msgspec.json.encode(answer(self.server.run, line)) + b"\n")
        except OSError:
            return


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = _MOST_CONNECTIONS

    def __init__(self, path: Path, run: Controllable) -> None:
        self.run = run
        super().__init__(str(path), _Connection)

    def server_bind(self) -> None:
        """Bind; nobody else may connect, before anybody can."""
        super().server_bind()
        os.chmod(str(self.server_address), stat.S_IRUSR | stat.S_IWUSR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that breaks off is no error of the run."""


class ControlSocket:
    """Listens at `path` while it is entered; the socket is removed at the end.

    Raises UsageError where another run listens, or the path is no place for a socket.
    """

    def __init__(self, path: Path, run: Controllable) -> None:
        self._path = path
        _make_room(path)
        try:
            self._server = _Server(path, run)
        except OSError as error:
            got = f"{path}: {error.strerror or error}"
            expected = "a path of at most 107 bytes in a folder that may be written"
            raise UsageError(
                "there can be no control socket", got=got, expected=expected, fix="name another"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="control", daemon=True)

    def __enter__(self) -> ControlSocket:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._path.unlink(missing_ok=True)


def _make_room(path: Path) -> None:
    """Remove a socket that nobody listens at any more."""
    if not path.exists():
        return
    if not path.is_socket():
        raise UsageError("there is a file in the place of the control socket", got=path, fix="name another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise UsageError("another run listens at the control socket", got=path, fix="name another path, or stop that run")


def _exchange(path: Path, order: Mapping[str, Any]) -> Reply:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_IDLE_S)
        connection.connect(str(path))
        connection.sendall(msgspec.json.encode(order) + b"\n")
        with connection.makefile("rb") as answers:
            reply: Reply = msgspec.json.decode(answers.readline())
    return reply


def ask(path: Path, order: Mapping[str, Any]) -> Reply:
    """The answer of the run that listens at `path`.

    Raises UsageError where nobody listens, or for what the run refused.
    """
    try:
        reply = _exchange(path, order)
    except (OSError, msgspec.DecodeError) as error:
        got = f"{path}: {getattr(error, 'strerror', None) or error}"
        fix = "name the path that was given to `framepace run --control`"
        raise UsageError("no run answers there", got=got, fix=fix) from error
    if not reply.get("ok"):
        error_parts = reply.get("error", {})
        raise UsageError(error_parts.pop("what", "the run refused"), **error_parts)
    return reply
