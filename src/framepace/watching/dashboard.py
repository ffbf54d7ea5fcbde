"""The dashboard: an ASGI application with one page, and what it shows as JSON, pictures and metrics."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs

import msgspec

from framepace.facts.address import redacted, without_secrets
from framepace.facts.running import Result, RunStatus, SourceStatus
from framepace.reporting.page.document import asset
from framepace.reporting.views.running import run_view
from framepace.watching.metrics import exposition, registry_of
from framepace.watching.pictures import picture_document

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Newest = Callable[[str], Result | None]
"""The newest result of a source with its picture, by name; None where there is none."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": _POLICY,
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_PAGE = {"/": "dashboard.html", "/dashboard.js": "dashboard.js", "/dashboard.css": "dashboard.css"}
_MEDIA = {"html": "text/html", "js": "text/javascript", "css": "text/css"}
_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
_WITH_PICTURE = ("live", "ended")
_JSON = "application/json"


@dataclass(frozen=True)
class Access:
    """Who may see it.

    Attributes:
        token: what a request has to bring as 'Authorization: Bearer TOKEN'; None: everybody may.
        local: it is reached as localhost only. Another name in a request is that of a foreign page whose name was
            turned to this machine, so that it could read what is shown here.
    """

    token: str | None = field(default=None, repr=False)
    local: bool = True


@dataclass(frozen=True)
class Response:
    """What a request is answered with."""

    body: bytes
    media: str = "text/plain; charset=utf-8"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class Dashboard:
    """The application, for any ASGI server.

    Args:
        status: how the run stands.
        newest: see Newest; called on a thread of its own.
    """

    def __init__(self, status: Callable[[], RunStatus], newest: Newest, access: Access) -> None:
        self._status = status
        self._newest = newest
        self._access = access
        self._registry = registry_of(status)
        self._encoding = asyncio.Semaphore(1)  # pictures take a core each

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        response = await self._response(scope)
        headers = {**_HEADERS, **response.headers, "content-type": response.media}
        headers["content-length"] = str(len(response.body))
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": response.status, "headers": encoded})
        body = b"" if scope["method"] == "HEAD" else response.body
        await send({"type": "http.response.body", "body": body})

    async def _response(self, scope: Scope) -> Response:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        path = scope["path"]
        refusal = _refusal(self._access, scope["method"], path, headers)
        if refusal is not None:
            return refusal
        if path in _PAGE:
            return _file(_PAGE[path])
        if path == "/picture":
            return await self._picture(scope["query_string"].decode("latin-1"))
        return self._data(path, headers)

    def _data(self, path: str, headers: Mapping[str, str]) -> Response:
        match path:
            case "/view":
                return Response(msgspec.json.encode(run_view(self._status())), _JSON)
            case "/status":
                return Response(msgspec.json.encode(without_secrets(self._status())), _JSON)
            case "/metrics":
                return Response(*exposition(self._registry, headers.get("accept", "")))
            case "/healthz":
                self._status()
                return Response(b"ok\n")
        return Response(b"there is nothing here; the dashboard is at /\n", status=404)

    async def _picture(self, query: str) -> Response:
        wanted = parse_qs(query).get("source", [""])[0]
        source = next((source for source in self._status().sources if redacted(source.name) == wanted), None)
        if source is None:
            return Response(b"there is no such source: /picture?source=NAME\n", status=404)
        async with self._encoding:
            document = await asyncio.to_thread(self._document, source)
        return Response(msgspec.json.encode(without_secrets(document)), _JSON)

    def _document(self, source: SourceStatus) -> dict[str, Any]:
        """The picture of a source; of one without a connection the last would look as if it were of now."""
        result = self._newest(source.name) if source.state in _WITH_PICTURE else None
        if result is None:
            return {"source": source.name}
        return {**picture_document(result), "ago_s": max(time.time() - result.time, 0.0)}


def _refusal(access: Access, method: str, path: str, headers: Mapping[str, str]) -> Response | None:
    """Why a request is not answered; None where it is."""
    if method not in ("GET", "HEAD"):
        return Response(b"only GET and HEAD\n", status=405, headers={"allow": "GET, HEAD"})
    if access.token is None:
        host = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
        if access.local and host not in _LOCAL_NAMES:
            return Response(b"this address answers to localhost only; a token (FRAMEPACE_TOKEN) opens it\n", status=403)
        return None
    if path in _PAGE or path == "/healthz" or _has_token(access.token, headers):
        return None
    return Response(b"a token is needed\n", status=401, headers={"www-authenticate": "Bearer"})


def _has_token(token: str, headers: Mapping[str, str]) -> bool:
    kind, _, brought = headers.get("authorization", "").partition(" ")
    return kind.lower() == "bearer" and hmac.compare_digest(brought.strip().encode(), token.encode())


@lru_cache(maxsize=len(_PAGE))
def _file(name: str) -> Response:
    text = (files("framepace.watching") / "assets" / name).read_text(encoding="utf-8")
    if name.endswith(".css"):
        text = asset("report.css") + text
    return Response(text.encode(), f"{_MEDIA[name.rpartition('.')[2]]}; charset=utf-8")
