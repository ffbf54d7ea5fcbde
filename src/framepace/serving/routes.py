"""Paths of the protocol over HTTP, and the calls that they name."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

_MODEL = r"/models/(?P<name>[^/]+)(?:/versions/(?P<version>[^/]+))?"
_PATTERNS = {
    "server": r"/?",
    "live": r"/health/live",
    "ready": r"/health/ready",
    "stats": rf"(?:{_MODEL})?/stats|/models/stats",
    "metadata": _MODEL,
    "infer": rf"{_MODEL}/infer",
    "model ready": rf"{_MODEL}/ready",
    "config": rf"{_MODEL}/config",
    "index": r"/repository(?:/[^/]+)?/index",
    "load": r"/repository(?:/[^/]+)?/models/(?P<name>[^/]+)/load",
    "unload": r"/repository(?:/[^/]+)?/models/(?P<name>[^/]+)/unload",
    "memory status": r"/systemsharedmemory(?:/region/(?P<name>[^/]+))?/status",
    "memory register": r"/systemsharedmemory/region/(?P<name>[^/]+)/register",
    "memory unregister": r"/systemsharedmemory(?:/region/(?P<name>[^/]+))?/unregister",
    "cuda status": r"/cudasharedmemory(?:/region/(?P<name>[^/]+))?/status",
    "cuda register": r"/cudasharedmemory/region/(?P<name>[^/]+)/register",
    "cuda unregister": r"/cudasharedmemory(?:/region/(?P<name>[^/]+))?/unregister",
    "trace": rf"(?:{_MODEL})?/trace/setting",
    "logging": r"/logging",
}
_COMPILED = [(call, re.compile(f"/v2(?:{pattern})")) for call, pattern in _PATTERNS.items()]


class Route(NamedTuple):
    """A call, and the model or region that it is about."""

    call: str
    name: str = ""
    version: str = ""


@lru_cache(maxsize=1024)
def route(path: str) -> Route | None:
    """The call that a path names (as it was sent, still quoted); None for none."""
    if path == "/metrics":
        return Route("metrics")
    for call, pattern in _COMPILED:
        match = pattern.fullmatch(path)
        if match is not None:
            parts = match.groupdict()
            return Route(call, unquote(parts.get("name") or ""), unquote(parts.get("version") or ""))
    return None
