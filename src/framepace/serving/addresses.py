"""Addresses to listen on: taken, written as clients write them, and what is said of those that cannot be had."""

from __future__ import annotations

import errno
import socket

from framepace.errors import UsageError

_FIXES = {
    errno.EADDRINUSE: "choose another port, or 0 for any that is free",
    errno.EACCES: "choose a port from 1024 on",
    errno.EADDRNOTAVAIL: "give an address of this machine: --host 127.0.0.1, or 0.0.0.0 for all of them",
}
_OTHER_FIX = "choose another address or port: --host, --port, --grpc-port"


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that is bound and does not listen yet. Raises UsageError where the address cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        got = f"{host}: {error.strerror}" if isinstance(error, OSError) else host
        raise UsageError("there is no such address to listen on", got=got, fix=_FIXES[errno.EADDRNOTAVAIL]) from error
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise not_had(host, port, error) from error
    bound.setblocking(False)
    return bound


def check_free(host: str, port: int) -> None:
    """Raise UsageError where nobody could listen on an address now."""
    with bound_socket(host, port) as trial:
        try:
            trial.listen()
        except OSError as error:
            raise not_had(host, port, error) from error


def not_had(host: str, port: int, error: OSError) -> UsageError:
    """What is said where the system does not give an address."""
    fix = _FIXES.get(error.errno or 0, _OTHER_FIX)
    return UsageError(f"port {port} of {host} cannot be had", got=error.strerror, fix=fix)


def location(host: str, port: int) -> str:
    """HOST:PORT, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
