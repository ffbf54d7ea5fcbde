"""The webhook against a server on this machine that does what a test wants."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from framepace.clock.system import SystemClock
from framepace.errors import SinkError, SinkUnavailable, UsageError
from framepace.sinks.named import queued_sink
from framepace.sinks.sinktext import parse
from framepace.sinks.webhook import Webhook
from tests.doubles.sinks import result


class Server(ThreadingHTTPServer):
    """Keeps the posts, and answers with `status`, or what `answer` writes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.posts: list[tuple[str, dict[str, str], Any]] = []
        self.connections = 0
        self.statuses: list[int] = []
        self.answer: Callable[[Handler], None] | None = None
        self.answered = threading.Semaphore(0)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def host(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.server_address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Count connections."""
        self.connections += 1
        super().process_request(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        """Keep the post and answer."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.append((self.path, dict(self.headers), json.loads(body)))
        self.server.answered.release()
        if self.server.answer is not None:
            self.server.answer(self)
            return
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    """A running server."""
    with Server() as running:
        yield running
        running.shutdown()


def webhook(address: str) -> Webhook:
    """A webhook that waits half a second for bytes."""
    return Webhook(parse(f"{address}#limit=500ms", {}))


def test_results_are_posted_in_one_body_on_one_connection(server: Server) -> None:
    """As JSON, to the path and query of the address."""
    sink = webhook(f"http://{server.host}/hook?site=3")
    for first in (0, 2):
        sink.write([result(first), result(first + 1)])
    sink.close()
    assert [path for path, _, _ in server.posts] == ["/hook?site=3"] * 2
    assert [item["number"] for _, _, body in server.posts for item in body["results"]] == [0, 1, 2, 3]
    assert server.posts[0][1]["Content-Type"] == "application/json"
    assert server.connections == 1


@pytest.mark.parametrize(
    ("user", "options", "expected"),
    [
        ("anna:pass%40word@", "", "Basic " + base64.b64encode(b"anna:pass@word").decode()),
        ("", "#token=abc", "Bearer abc"),
        ("", "", None),
    ],
)
def test_secrets_of_the_address_authorise(server: Server, user: str, options: str, expected: str | None) -> None:
    """A user and password as basic authentication, a token as a bearer's."""
    Webhook(parse(f"http://{user}{server.host}/{options}", {})).write([result()])
    assert server.posts[0][1].get("Authorization") == expected


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_a_server_that_cannot_now_is_offered_the_results_again(server: Server, status: int) -> None:
    """The queue keeps the batch, and what was refused for now is taken by the next attempt."""
    server.statuses = [status, status, 200]
    with pytest.raises(SinkUnavailable, match=str(status)):
        webhook(f"http://{server.host}/").write([result(0)])
    assert server.answered.acquire(timeout=20)
    queued = queued_sink(f"http://{server.host}/#wait=0", SystemClock(), {})
    queued.put(result(1))
    queued.start()
    assert server.answered.acquire(timeout=20)
    assert queued.close(limit_s=20).written == 1
    assert [body["results"][0]["number"] for _, _, body in server.posts] == [0, 1, 1]


@pytest.mark.parametrize("status", [301, 400, 401, 404, 413])
def test_a_refused_batch_is_told_and_not_offered_again(server: Server, status: int) -> None:
    """The next is posted at once."""
    server.statuses = [status]
    sink = webhook(f"http://anna:hunter2@{server.host}/hook")
    with pytest.raises(SinkError, match=f"answered {status}") as error:
        sink.write([result(0)])
    assert not isinstance(error.value, SinkUnavailable)
    assert "hunter2" not in str(error.value)
    sink.write([result(1)])
    assert len(server.posts) == 2


def test_a_server_that_hangs_is_given_up(server: Server) -> None:
    """No byte within the limit: the batch is offered again on a new connection."""
    done = threading.Event()

    def hang(_: Handler) -> None:
        done.wait(20)

    server.answer = hang
    sink = webhook(f"http://{server.host}/")
    with pytest.raises(SinkUnavailable, match=r"no answer in 0\.5 s"):
        sink.write([result(0)])
    done.set()
    server.answer = None
    sink.write([result(0)])
    assert server.connections == 2


def test_a_connection_that_the_server_has_closed_is_opened_again(server: Server) -> None:
    """Servers close idle connections without a word: nothing is lost and nothing told."""
    sink = webhook(f"http://{server.host}/")
    closed = threading.Event()

    def answer_and_close(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)
        closed.set()

    server.answer = answer_and_close
    sink.write([result(0)])
    assert closed.wait(20)
    server.answer = None
    sink.write([result(1)])
    assert [body["results"][0]["number"] for _, _, body in server.posts] == [0, 1]


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 2", b"no http\r\n\r\n"])
def test_an_answer_that_is_none_is_no_success(server: Server, answer: bytes) -> None:
    """Nothing, a half line, another protocol."""

    def write(handler: Handler) -> None:
        handler.wfile.write(answer)
        handler.close_connection = True

    server.answer = write
    with pytest.raises(SinkUnavailable):
        webhook(f"http://{server.host}/").write([result(0)])


def test_a_server_that_is_gone_is_told_with_its_reason() -> None:
    """Nobody listens; a name that does not resolve."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(SinkUnavailable, match="Connection refused"):
        webhook(f"http://127.0.0.1:{port}/").write([result(0)])
    with pytest.raises(SinkUnavailable, match="not reached"):
        webhook("http://no-such-host.invalid/").write([result(0)])


def test_letters_that_no_request_has_are_quoted(server: Server) -> None:
    """Spaces and umlauts of a path and its parameters; what is quoted already stays."""
    hook = Webhook(parse(f"http://{server.host}/a b/\u00e4%20?x=\u00fc&y=1", {}))
    hook.write([result()])
    hook.close()
    assert server.posts[0][0] == "/a%20b/%C3%A4%20?x=%C3%BC&y=1"


@pytest.mark.parametrize(
    "text", ["http://a..b/x", f"http://{'a' * 70}.com/x", "http://x/y#token=a\nb", "mqtt://a..b/t"]
)
def test_what_no_request_can_be_sent_to_is_refused_at_once(text: str) -> None:
    """And not batch by batch, while results are lost."""
    with pytest.raises(UsageError) as error:
        queued_sink(text, SystemClock())
    assert error.value.fix
