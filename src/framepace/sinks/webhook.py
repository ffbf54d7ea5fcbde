"""HTTP webhook: batches of results as the JSON body of a POST.

At least once: a batch whose answer never came is posted again.
"""

from __future__ import annotations

import base64
import http.client
import ssl
from collections.abc import Sequence
from urllib.parse import SplitResult, quote, unquote, urlsplit

import msgspec

from framepace.errors import SinkError, SinkUnavailable, UsageError
from framepace.facts.running import Result
from framepace.sinks.base import ResultSink
from framepace.sinks.records import record
from framepace.sinks.sinktext import SinkText, is_host

LIMIT_S = 10.0  # without a byte from the server
_BATCH = 100
_LINGER_S = 1.0
_LONGEST_ANSWER = 65_536  # bytes that are read so that the connection can be used again
_LATER = frozenset({408, 425, 429})  # beside all from 500 on
_OF_ADDRESSES = "!#$%&'()*+,/:;=?@[]~"  # letters that mean something, or are quoted already
_CORRECT = "correct the address, or look at the server's log"


class Webhook(ResultSink):
    """Posts `{"results": [...]}`; a 2xx status takes the batch, 5xx, 408 and 429 put it off, all others refuse it.

    A user and password of the address become basic authentication; `token` a bearer's.
    """

    def __init__(self, text: SinkText) -> None:
        text.check_options(("batch", "wait", "limit", "token"))
        self.name = text.name
        self.batch = text.whole("batch", _BATCH)
        self.linger_s = text.seconds("wait", _LINGER_S)
        self._limit_s = text.seconds("limit", LIMIT_S)
        self._address = _split(text)
        self._headers = {"Content-Type": "application/json", "User-Agent": "framepace"}
        authorization = _authorization(self._address, text.options.get("token"))
        if authorization:
            self._headers["Authorization"] = authorization
        self._connection: http.client.HTTPConnection | None = None

    def open(self) -> None:
        """Nothing yet: the first batch connects, since nothing else shows that the server takes one."""

    def write(self, results: Sequence[Result]) -> None:
        """Post all results in one request. Raises SinkUnavailable, SinkError."""
        body = msgspec.json.encode({"results": [record(result) for result in results]})
        status, reason = self._post(body)
        if 200 <= status < 300:
            return
        got = f"{self.name} answered {status} {reason}".rstrip()
        if status >= 500 or status in _LATER:
            raise SinkUnavailable("the webhook cannot take results now", got=got, fix="look at the server's log")
        raise SinkError("the webhook refuses the results", got=got, expected="a status of 2xx", fix=_CORRECT)

    def close(self) -> None:
        """Close the connection."""
        connection = self._connection
        self._connection = None
        if connection is not None:
            connection.close()

    def _post(self, body: bytes) -> tuple[int, str]:
        """The status of a request on the kept connection, or on a new one where the server has closed it meanwhile."""
        kept = self._connection is not None
        try:
            return self._request(body)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
            self.close()
            if not kept:
                raise self._unavailable(error) from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._unavailable(error) from error
        return self._post(body)

    def _request(self, body: bytes) -> tuple[int, str]:
        if self._connection is None:
            self._connection = self._connect()
        connection = self._connection
        connection.request("POST", _path(self._address), body, self._headers)
        response = connection.getresponse()
        response.read(_LONGEST_ANSWER)
        if response.will_close or not response.isclosed():
            self.close()
        return response.status, response.reason

    def _connect(self) -> http.client.HTTPConnection:
        host = str(self._address.hostname)
        port = self._address.port
        if self._address.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, port, timeout=self._limit_s, context=context)
        return http.client.HTTPConnection(host, port, timeout=self._limit_s)

    def _unavailable(self, error: Exception) -> SinkError:
        if isinstance(error, ssl.SSLCertVerificationError):
            return SinkError("the webhook's certificate is not trusted", got=f"{self.name}: {error}", fix=_CORRECT)
        got = f"{self.name}: {_reason(error, self._limit_s)}"
        return SinkUnavailable("the webhook is not reached", got=got, fix="start the server, or correct the address")


def _split(text: SinkText) -> SplitResult:
    try:
        address = urlsplit(text.place)
        has_host = is_host(address.hostname) and address.port != 0
    except ValueError:  # a port that is no number
        has_host = False
    if not has_host:
        raise UsageError(
            "the webhook's address has no host, or a port that cannot be",
            got=text.name,
            expected="http://host/path or https://host:port/path",
            fix="correct the address",
        )
    return address


def _path(address: SplitResult) -> str:
    query = f"?{address.query}" if address.query else ""
    return quote((address.path or "/") + query, safe=_OF_ADDRESSES)


def _authorization(address: SplitResult, token: str | None) -> str | None:
    if token is not None:
        if not (token.isascii() and token.isprintable()):
            expected = "printable ASCII letters, which is what a header can have"
            raise UsageError("the webhook's token cannot be sent", expected=expected, fix="correct #token")
        return f"Bearer {token}"
    if address.username is None:
        return None
    user = f"{unquote(address.username)}:{unquote(address.password or '')}"
    return "Basic " + base64.b64encode(user.encode()).decode("ascii")


def _reason(error: Exception, limit_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer in {limit_s:g} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
