"""Connections: what comes in one piece or in many, refusals before the body, and what follows on a connection."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from framepace.serving.bodies import DroppedBody, KeptBody
from framepace.serving.connections import Connection, connection_class
from framepace.serving.mailbox import Mailbox
from framepace.serving.options import Limits
from framepace.serving.server import Server
from framepace.units import NS_PER_S
from tests.serving.servers import SLOW, add_model, ask, null_input, pair, port, raw, rest_of, served

INFER = "/v2/models/null/infer"
TENSOR = bytes(3 * 64 * 64 * 4)
LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of a model that takes 20 ms, and that has learnt so."""
    with served("null", {**SLOW, "option.latency_us": "20000"}) as running:
        for _ in range(3):
            assert ask(running, "POST", INFER, null_input())[0] == 200
        yield running


def head(*lines: str) -> bytes:
    """The head of a request whose body is a tensor alone."""
    first = (
        f"POST {INFER} HTTP/1.1",
        "Host: x",
        "Inference-Header-Content-Length: 0",
        f"Content-Length: {len(TENSOR)}",
    )
    return "\r\n".join((*first, *lines, "", "")).encode()


HOPELESS = "framepace-deadline-ms: 5"


def status(connection: socket.socket) -> int:
    """The status of the next answer, which is read to its end."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    answer, _, body = data.partition(b"\r\n\r\n")
    length = int(answer.rpartition(b"\r\ncontent-length: ")[2])
    while len(body) < length:
        body += connection.recv(length - len(body))
    assert len(body) == length
    return int(answer.split()[1])


def test_a_request_that_cannot_be_met_is_refused_by_its_head(server: Server) -> None:
    """Its body is dropped as it comes, and the connection goes on."""
    with raw(server) as connection:
        connection.sendall(head(HOPELESS))
        assert status(connection) == 503
        connection.sendall(TENSOR[:1000])
        connection.sendall(TENSOR[1000:] + head() + TENSOR)
        assert status(connection) == 200


def test_a_refused_request_and_one_behind_it_are_answered_in_order(server: Server) -> None:
    """Though both came in one piece; one behind another that runs waits, and is refused when it is its turn."""
    with raw(server) as connection:
        last = head(HOPELESS, "Connection: close")
        connection.sendall(head(HOPELESS) + TENSOR + head() + TENSOR + last + TENSOR)
        answers = rest_of(connection)
    assert re.findall(rb"HTTP/1.1 (\d+) ", answers) == [b"503", b"200", b"503"]


def test_a_client_that_asks_first_sends_no_body_in_vain(server: Server) -> None:
    """It is refused in place of '100 Continue'. It might send the body all the same, so nothing follows."""
    with raw(server) as connection:
        connection.sendall(head(HOPELESS, "Expect: 100-continue"))
        assert status(connection) == 503
        assert connection.recv(1) == b""


def test_a_refusal_is_counted_and_keeps_no_body(server: Server) -> None:
    """As one after the body is."""
    statistics = server.repository.find("null").statistics
    before = statistics.failed["exhausted"]
    with raw(server) as connection:
        connection.sendall(head(HOPELESS) + TENSOR)
        assert status(connection) == 503
    assert statistics.failed["exhausted"] == before + 1


@pytest.mark.parametrize("size", [1000, 7000, 100_000])
def test_a_large_body_in_pieces_is_whole(tmp_path: Path, size: int) -> None:
    """Larger than what is allocated at first, in pieces of any size."""
    body = json.dumps({**pair(), "parameters": {"text": "x" * 700_000}}).encode()
    with served(add_model(tmp_path)) as server, raw(server) as connection:
        lines = f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        connection.sendall(f"POST /v2/models/simple/infer HTTP/1.1\r\nHost: x\r\n{lines}".encode())
        for start in range(0, len(body), size):
            connection.sendall(body[start : start + size])
        answer = rest_of(connection)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"data":[3.0,3.0,3.0,3.0]' in answer


def test_hundreds_of_requests_at_once_are_all_answered(server: Server) -> None:
    """One after the other, and no deeper than one."""
    with raw(server) as connection:
        connection.sendall(LIVE + b"\r\n" + (LIVE + b"\r\n") * 2000 + LIVE + b"Connection: close\r\n\r\n")
        assert rest_of(connection).count(b"HTTP/1.1 200 OK") == 2002


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (b"HEAD /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b" 405 "),
        (LIVE + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\n\r\n", b" 200 "),
        (b"GET /v2/health/live HTTP/1.0\r\n\r\n", b" 200 "),
        (b"GET http://x/v2/health/live?a=b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b" 200 "),
        (b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", b" 404 "),
        (LIVE + b"Connection: close\r\n\r\nno HTTP at all\r\n\r\n", b" 200 "),
    ],
)
def test_rare_requests_are_answered_once_and_closed(server: Server, request_: bytes, says: bytes) -> None:
    """HEAD without a body, upgrades that nobody offers, old and absolute forms, and what follows the last request."""
    with raw(server) as connection:
        connection.sendall(request_)
        answer = rest_of(connection)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert says in answer.splitlines()[0]
    if request_.startswith(b"HEAD"):
        assert answer.endswith(b"\r\n\r\n")


def test_what_stands_behind_a_body_in_chunks_is_no_header(tmp_path: Path) -> None:
    """A trailer says nothing of its request, which is complete by then (RFC 9110, 6.5.1)."""
    body = json.dumps(pair()).encode()
    chunks = b"%x\r\n%b\r\n0\r\nContent-Encoding: gzip\r\nframepace-timing: 1\r\n\r\n" % (len(body), body)
    lines = b"Host: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    with served(add_model(tmp_path)) as server, raw(server) as connection:
        connection.sendall(b"POST /v2/models/simple/infer HTTP/1.1\r\n" + lines + chunks)
        answer = rest_of(connection)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"framepace-timing" not in answer


@pytest.mark.parametrize("endless", [b"0\r\nx: ", b"1;"], ids=["a trailer", "an extension"])
def test_what_has_no_end_behind_a_body_in_chunks_is_refused(server: Server, endless: bytes) -> None:
    """As a head is: it would be kept, and copied with every piece."""
    with raw(server) as connection:
        connection.sendall(LARGE + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n" + endless)
        with suppress(OSError):  # it is closed before all was sent
            for _ in range(64):
                connection.sendall(b"x" * 16_384)
        assert b" 431 " in rest_of(connection)


def test_a_body_in_chunks_that_is_dropped_is_answered_once() -> None:
    """Its request was refused by its head; what follows is the next one."""
    chunk = b"4000\r\n%b\r\n" % bytes(0x4000)
    with served("null", SLOW, token="t") as server, raw(server) as connection:
        connection.sendall(LARGE + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 20 + b"0\r\n\r\n")
        connection.sendall(LIVE + b"Connection: close\r\n\r\n")
        answers = rest_of(connection)
    assert re.findall(rb"HTTP/1.1 (\d+) ", answers) == [b"401", b"200"]


def test_a_body_in_the_smallest_of_chunks_is_taken(server: Server) -> None:
    """However much more their sizes are than the body."""
    with raw(server) as connection:
        connection.sendall(LARGE + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(100):
            connection.sendall(b"0000000001\r\n \r\n" * 1000)
        connection.sendall(b"0\r\n\r\n")
        assert rest_of(connection).startswith(b"HTTP/1.1 400 ")  # it is no JSON


def test_a_long_head_that_comes_in_small_pieces_is_taken(server: Server) -> None:
    """Its bytes count once against the limit."""
    with raw(server) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(LIVE)
        for _ in range(20):
            connection.sendall(b"x-part: " + b"x" * 990 + b"\r\n")
        connection.sendall(b"Connection: close\r\n\r\n")
        assert rest_of(connection).startswith(b"HTTP/1.1 200 ")


def test_a_server_with_a_certificate_answers_over_tls(tmp_path: Path) -> None:
    """With the same connections."""
    files = [str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", files[0], "-out", files[1]]
    subprocess.run([*command, "-days", "1", "-subj", "/CN=localhost"], check=True, capture_output=True)
    body = json.dumps(pair()).encode()
    context = ssl.create_default_context(cafile=files[1])
    with (
        served(add_model(tmp_path), certificate=Path(files[1]), key=Path(files[0])) as server,
        socket.create_connection(("127.0.0.1", port(server)), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        lines = f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        connection.sendall(f"POST /v2/models/simple/infer HTTP/1.1\r\nHost: x\r\n{lines}".encode() + body)
        assert rest_of(connection).startswith(b"HTTP/1.1 200 OK")


def test_a_body_takes_no_more_room_than_twice_what_came() -> None:
    """Whatever its sender promises."""
    body = KeptBody(1 << 40)
    for _ in range(5):
        room = len(body.room())
        body.received(room)
        assert len(body.data) <= max(256 << 10, 2 * ((1 << 40) - body.missing))


def test_a_dropped_body_is_counted_to_its_end() -> None:
    """So that what follows it is a request."""
    body = DroppedBody(1_000_000)
    body.add(bytes(10))
    while body.missing:
        body.received(len(body.room()))
    assert body.missing == 0


def test_a_mailbox_rings_once_for_all_that_came() -> None:
    """And loses nothing that is put meanwhile."""

    class Ringing(asyncio.SelectorEventLoop):
        """Counts how often it is woken."""

        rings = 0

        def call_soon_threadsafe(self, *args: Any, **named: Any) -> asyncio.Handle:  # type: ignore[override]
            """See AbstractEventLoop."""
            self.rings += 1
            return super().call_soon_threadsafe(*args, **named)

    loop = Ringing()
    mailbox = Mailbox(loop)
    made: list[int] = []
    threads = [threading.Thread(target=lambda n=n: mailbox.put(lambda: made.append(n))) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert (sorted(made), loop.rings) == (list(range(20)), 1)
    mailbox.put(lambda: None)  # the loop has ended: nobody waits


LARGE = b"POST /v2/models/null/infer HTTP/1.1\r\nHost: x\r\n"
TOO_LARGE = 1 << 20


def answered_after_sending(server: Server, head: bytes, parts: Iterable[bytes]) -> bytes:
    """All that comes to a client that sends everything before it reads anything, as most do."""
    with raw(server) as connection:
        connection.sendall(head)
        for part in parts:
            connection.sendall(part)
        return connection.makefile("rb").read()  # a reset is an error here


@pytest.mark.parametrize(
    ("lines", "parts"),
    [
        (b"Content-Length: 67108864\r\n\r\n", [bytes(1 << 20)] * 64),
        (b"Transfer-Encoding: chunked\r\n\r\n", [b"100000\r\n" + bytes(1 << 20) + b"\r\n"] * 64 + [b"0\r\n\r\n"]),
    ],
    ids=["length", "chunks"],
)
def test_a_body_that_is_too_large_is_told_so_though_all_of_it_is_sent(lines: bytes, parts: list[bytes]) -> None:
    """What comes behind the answer is dropped as it comes, and the client reads its answer when it has sent all."""
    with served("null", SLOW, limits={"body": TOO_LARGE}) as server:
        answer = answered_after_sending(server, LARGE + lines, parts)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert b"exceeds maximum of 1048576 bytes" in answer


def test_a_refusal_by_the_head_is_read_though_the_body_is_sent_and_the_connection_ends() -> None:
    """Without the token, too."""
    with served("null", SLOW, token="t") as server:
        lines = b"Connection: close\r\nContent-Length: 33554432\r\n\r\n"
        answer = answered_after_sending(server, LARGE + lines, [bytes(1 << 20)] * 32)
    assert answer.startswith(b"HTTP/1.1 401 ")


def test_the_last_answer_is_read_though_more_is_sent_behind_its_request(server: Server) -> None:
    """Which said that it is the last."""
    with raw(server) as connection:
        connection.sendall(head("Connection: close") + TENSOR)
        connection.sendall(bytes(4 << 20))
        answers = connection.makefile("rb").read()
    assert re.findall(rb"HTTP/1.1 (\d+) ", answers) == [b"200"]


def test_a_request_that_is_no_http_is_answered_behind_the_one_before(server: Server) -> None:
    """Which runs meanwhile: answers keep the order of their requests."""
    with raw(server) as connection:
        connection.sendall(head() + TENSOR)
        connection.sendall(b"no HTTP at all\r\n\r\n" + bytes(1 << 20))
        answers = connection.makefile("rb").read()
    assert re.findall(rb"HTTP/1.1 (\d+) ", answers) == [b"200", b"400"]


class Sent(asyncio.Transport):
    """A transport whose other side never closes."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_aborted = False

    def write(self, data: Any) -> None:
        """See WriteTransport."""
        self.written += bytes(data)

    def can_write_eof(self) -> bool:
        """See WriteTransport."""
        return False

    def is_closing(self) -> bool:
        """See BaseTransport."""
        return self.is_aborted

    def abort(self) -> None:
        """See WriteTransport."""
        self.is_aborted = True


@pytest.mark.parametrize(
    ("every_s", "for_s", "is_closed"), [(60, 4, False), (60, 6, True), (1, 29, False), (1, 31, True)]
)
def test_a_client_that_goes_on_after_its_refusal_is_closed(every_s: int, for_s: int, is_closed: bool) -> None:
    """It may be silent for five seconds, or send for thirty, but no longer."""
    clock = [0]
    state = SimpleNamespace(connections=set(), default_headers=[])
    kind = connection_class(Limits(body=1), now=lambda: clock[0])
    connection = kind(SimpleNamespace(loaded_app=None), state, None)
    transport = Sent()
    connection.connection_made(transport)
    send_to(connection, LARGE + b"Content-Length: 99\r\n\r\n")
    assert transport.written.startswith(b"HTTP/1.1 413 ")
    for second in range(1, for_s + 1):
        clock[0] += NS_PER_S
        if second % every_s == 0:
            send_to(connection, bytes(100))
        connection.expire(clock[0])
    assert transport.is_aborted == is_closed


def send_to(connection: Connection, data: bytes) -> None:
    """What a loop does with bytes that came."""
    room = connection.get_buffer(len(data))
    room[: len(data)] = data
    connection.buffer_updated(len(data))
