"""The address of a model that a server runs: 'http://127.0.0.1:8000/v2/models/detector'."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from framepace.errors import UsageError

_PORTS = {"http": 8000, "https": 443, "grpc": 8001, "grpcs": 443}
_ADDRESS = re.compile(rf"({'|'.join(_PORTS)})://", re.IGNORECASE)
_PATH = re.compile(r"/v2/models/(?P<name>[^/]+)(/versions/(?P<version>[^/]+))?/?")
_LOCATION = re.compile(rf"\w+://[^/]+{_PATH.pattern}")
EXAMPLE = "http://127.0.0.1:8000/v2/models/NAME"
_EXPECTED = f"{EXAMPLE}, or grpc://127.0.0.1:8001/v2/models/NAME"


@dataclass(frozen=True)
class Server:
    """Where a server is: `scheme` is http, https, grpc or grpcs."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """Host and port as one text."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_grpc(self) -> bool:
        """Whether it is asked by gRPC."""
        return self.scheme.startswith("grpc")

    @property
    def is_encrypted(self) -> bool:
        """Whether the connection is."""
        return self.scheme.endswith("s")


@dataclass(frozen=True)
class ServedModel:
    """A model of a server; `version` '' leaves the choice to the server."""

    server: Server
    name: str
    version: str = ""

    def __str__(self) -> str:
        return f"{self.server}{self.path}"

    @property
    def path(self) -> str:
        """The path under which the server answers for it."""
        version = f"/versions/{quote(self.version, safe='')}" if self.version else ""
        return f"/v2/models/{quote(self.name, safe='')}{version}"


def is_address(location: str) -> bool:
    """Whether a model's location is the address of a server, and no file."""
    return _ADDRESS.match(location) is not None


def served_name(location: str) -> str:
    """The name of the model in an address; '' where the address names none."""
    named = _LOCATION.fullmatch(location)
    return "" if named is None else unquote(named["name"])


def server_at(address: str) -> Server:
    """The server of an address; whatever path it has is left out. Raises UsageError."""
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        scheme = parts.scheme.lower()
        port = parts.port or _PORTS[scheme]
        host = parts.hostname or ""
    except (ValueError, KeyError):
        host = ""
    if not host:
        fix = "name the host and its port, such as --server http://127.0.0.1:8000"
        raise UsageError("not the address of a server", got=address, expected=_EXPECTED, fix=fix)
    return Server(scheme, host, port)


def served_model(location: str) -> ServedModel:
    """The model of an address. Raises UsageError for one that names no server, or no model of it."""
    server = server_at(location)
    path = _PATH.fullmatch(urlsplit(location).path)
    if path is None:
        fix = f"name the model: {server}/v2/models/NAME"
        raise UsageError("the address names no model of the server", got=location, expected=_EXPECTED, fix=fix)
    return ServedModel(server, unquote(path["name"]), unquote(path["version"] or ""))


def location_at(server: str, name: str) -> str:
    """The location of a server's model: 'NAME', or 'NAME/versions/2'. Raises UsageError for what is no server."""
    name, _, version = name.partition("/versions/")
    return str(ServedModel(server_at(server), name, version))
