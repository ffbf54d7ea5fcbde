"""Serves the dashboard over HTTP, on a thread of its own, for as long as a run lasts."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from framepace.errors import UsageError
from framepace.facts.running import RunStatus

if TYPE_CHECKING:
    from framepace.watching.dashboard import Newest

LOOPBACK = "127.0.0.1"
_LARGEST_PORT = 65_535
_NEEDED = ("uvicorn", "prometheus_client")
_CONNECTIONS = 256
_IDLE_S = 15  # a connection that asks for nothing is closed
_FAREWELL_S = 1  # for answers that are under way when the run ends


@dataclass(frozen=True)
class Endpoint:
    """Where it listens; port 0 is any free one."""

    host: str
    port: int

    @property
    def is_local(self) -> bool:
        """Whether only programs on this machine reach it."""
        return self.host == "localhost" or ip_address(self.host).is_loopback


def endpoint(text: str) -> Endpoint:
    """'8080', '0.0.0.0:8080', '[::]:8080' as an endpoint, on loopback where only a port is named. Raises UsageError."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or LOOPBACK
    if not (port.isascii() and port.isdigit() and int(port) <= _LARGEST_PORT and _is_host(host)):
        raise UsageError(
            "not an address to serve the dashboard at",
            got=text,
            expected="a port, or the address of a network card and a port: 8080, 0.0.0.0:8080, [::1]:8080",
            fix="--dashboard 8080",
        )
    return Endpoint(host, int(port))


class Listener:
    """A port that is taken; requests wait there until it is `serving`. A context manager that frees it.

    Raises UsageError where the port is taken or the extra 'serve' is not installed.
    """

    def __init__(self, at: Endpoint) -> None:
        _require()
        self.at = at
        self.socket = _listen(at)
        self.url = _url(at, self.socket.getsockname()[1])

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *ended: object) -> None:
        self.socket.close()


@contextmanager
def serving(
    listener: Listener, status: Callable[[], RunStatus], newest: Newest, token: str | None = None
) -> Iterator[None]:
    """Inside, the dashboard is served.

    Args:
        newest: see watching.dashboard.Newest.
        token: see watching.dashboard.Access.
    """
    from framepace.watching.dashboard import Access, Dashboard

    server = _server(Dashboard(status, newest, Access(token, listener.at.is_local)))
    thread = threading.Thread(target=server.run, args=([listener.socket],), name="dashboard", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


def exposure(at: Endpoint, token: str | None) -> str:
    """A sentence where others can see the pictures; '' where they cannot."""
    if at.is_local or token:
        return ""
    return (
        f"whoever reaches this machine at port {at.port} sees the dashboard and its pictures: "
        "FRAMEPACE_TOKEN=... asks for a token"
    )


def _is_host(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return text == "localhost"
    return True


def _require() -> None:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        fix = "install it: pip install 'framepace[serve]', or leave --dashboard out"
        raise UsageError("the dashboard needs packages that are not installed", got=", ".join(missing), fix=fix)


def _listen(at: Endpoint) -> socket.socket:
    family = socket.AF_INET6 if ":" in at.host else socket.AF_INET
    try:
        return socket.create_server((at.host, at.port), family=family)
    except OSError as error:
        reason = error.strerror or str(error)
        fix = "name another port, or 0 for any that is free"
        raise UsageError(f"the dashboard cannot listen at port {at.port}", got=reason, fix=fix) from None


def _server(application: Any) -> Any:
    import uvicorn

    config = uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=_FAREWELL_S,
    )
    return uvicorn.Server(config)


def _url(at: Endpoint, port: int) -> str:
    host = at.host
    if ip_address("127.0.0.1" if host == "localhost" else host).is_unspecified:
        host = socket.gethostname()
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
