"""Connections with limits, tokens, and the end of a server."""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from framepace import interrupts, load_trace
from framepace.errors import StoreError, UsageError
from framepace.serving.addresses import bound_socket, location
from framepace.serving.http import HttpApp
from framepace.serving.options import ServeOptions
from framepace.serving.server import Server
from framepace.serving.webserver import WebServer
from framepace.store.traces import row_bytes
from tests.serving.servers import SLOW, Reply, add_model, ask, ask_on, null_input, pair, port, raw, rest_of, served

INFER = "/v2/models/simple/infer"
HEAD = b"POST /v2/models/simple/infer HTTP/1.1\r\nHost: x\r\n"


def test_a_request_that_trickles_in_is_closed(tmp_path: Path) -> None:
    """After the time for a request, in the head or in the body; others are answered meanwhile."""
    with served(add_model(tmp_path), limits={"request_s": 0.2}) as server, raw(server) as one, raw(server) as other:
        one.sendall(HEAD)
        other.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
        assert ask(server, "POST", INFER, pair())[0] == 200
        assert b" 408 " in rest_of(one)
        assert b" 408 " in rest_of(other)


def test_heads_and_bodies_have_limits(tmp_path: Path) -> None:
    """Also where the length is not said, and where it lies."""
    with served(add_model(tmp_path), limits={"headers": 2000, "body": 5000}) as server:
        with raw(server) as connection:
            connection.sendall(HEAD + b"x: ")
            with suppress(OSError):  # it is closed before all was sent
                for _ in range(100):
                    connection.sendall(b"y" * 3000)
            assert b" 431 " in rest_of(connection)
        with raw(server) as connection:
            connection.sendall(HEAD + b"".join(b"x%d: 12345678\r\n" % i for i in range(200)) + b"\r\n")
            assert b" 431 " in rest_of(connection)
        with raw(server) as connection:
            connection.sendall(HEAD + b"Content-Length: 6000\r\n\r\n")
            assert b" 413 " in rest_of(connection)
        with raw(server) as connection:
            connection.sendall(
                HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"bb8\r\n" + b"x" * 3000 + b"\r\n" + b"bb8\r\n"
            )
            connection.sendall(b"x" * 3000)
            assert b" 413 " in rest_of(connection)
        assert ask(server, "POST", INFER, pair())[0] == 200


def test_all_bodies_together_have_a_limit(tmp_path: Path) -> None:
    """The body that is one too many is refused; when the others have gone there is room again."""
    part = HEAD + b"Content-Length: 4000\r\n\r\n" + b"x" * 3000
    with served(add_model(tmp_path), limits={"buffered": 5000}) as server:
        with raw(server) as one, raw(server) as other:
            one.sendall(part)
            other.sendall(part)
            readable, _, _ = select.select([one, other], [], [], 20)
            assert b" 503 " in readable[0].recv(1000)
        _until(lambda: ask(server, "POST", INFER, pair())[0] == 200)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        HEAD + b"bad header\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(tmp_path: Path, sent: bytes) -> None:
    """Two lengths, a length beside chunks: nothing can be smuggled past a proxy."""
    with served(add_model(tmp_path)) as server:
        with raw(server) as connection:
            connection.sendall(sent)
            assert b" 400 " in rest_of(connection)
        assert ask(server, "GET", "/v2/health/ready")[0] == 200


def test_there_are_only_so_many_connections(tmp_path: Path) -> None:
    """One more is told so; when one ends there is room again."""
    with served(add_model(tmp_path), limits={"connections": 2}) as server:
        with raw(server) as one, raw(server):
            for connection in (one,):
                connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
                assert b" 200 " in connection.recv(1000)
            with raw(server) as third:
                assert b" 503 " in rest_of(third)
        deadline = time.monotonic() + 10
        while ask(server, "GET", "/v2/health/live")[0] != 200 and time.monotonic() < deadline:
            pass
        assert ask(server, "GET", "/v2/health/live")[0] == 200


def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    """Two at once on one connection."""
    body = json.dumps(pair()).encode()
    head = HEAD + f"Content-Length: {len(body)}\r\n".encode()
    with served(add_model(tmp_path)) as server, raw(server) as connection:
        connection.sendall(head + b"\r\n" + body + head + b"Connection: close\r\n\r\n" + body)
        assert rest_of(connection).count(b"HTTP/1.1 200 OK") == 2


def test_a_client_that_waits_for_permission_gets_it(tmp_path: Path) -> None:
    """Expect: 100-continue, as curl sends it for large bodies."""
    body = json.dumps(pair()).encode()
    with served(add_model(tmp_path)) as server, raw(server) as connection:
        connection.sendall(
            HEAD + f"Expect: 100-continue\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
        )
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert b"HTTP/1.1 200 OK" in rest_of(connection)


def test_the_request_of_a_client_that_has_gone_does_not_run() -> None:
    """It waits behind another, and its connection is lost."""
    with served("null", {**SLOW, "option.latency_us": "300000"}) as server:
        path = "/v2/models/null/infer"
        model = server.repository.find("null")
        body = json.dumps(null_input()).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with raw(server) as first, raw(server) as second:
            first.sendall(head + body)
            _until(lambda: model.feed.unanswered == 1 and len(model.feed) == 0)
            second.sendall(head + body)
            _until(lambda: model.feed.unanswered == 2)
            second.close()
            _until(lambda: model.statistics.failed["cancelled"] == 1)
            assert b" 200 " in first.recv(1000)
        model.statistics.settle()
        assert model.statistics.executions == 1


def _until(condition: Any) -> None:
    """Wait until a state of the server is reached."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_token_is_asked_of_all_but_health(tmp_path: Path) -> None:
    """The right one opens everything; metrics are not public either."""
    with served(add_model(tmp_path), token="s3cret") as server:
        assert ask(server, "GET", "/v2/health/ready")[0] == 200
        for path in ("/v2", "/metrics", "/v2/models/simple"):
            assert ask(server, "GET", path)[0] == 401
            assert ask(server, "GET", path, headers={"Authorization": "Bearer wrong"})[0] == 401
            assert ask(server, "GET", path, headers={"Authorization": "Bearer s3cret"})[0] == 200


def test_a_body_is_not_received_without_the_token(tmp_path: Path) -> None:
    """The refusal comes by the head, before any of the body was sent."""
    with served(add_model(tmp_path), token="s3cret") as server, raw(server) as connection:
        connection.sendall(HEAD + b"Content-Length: 1000000\r\n\r\n")
        assert b" 401 " in connection.recv(1000)


def test_a_connection_that_is_silent_is_closed(tmp_path: Path) -> None:
    """After its answer and the time for which it may be idle."""
    with served(add_model(tmp_path), limits={"idle_s": 0.2}) as server, raw(server) as connection:
        connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert rest_of(connection).count(b"HTTP/1.1 200 OK") == 1


def test_an_address_that_is_taken_is_said(tmp_path: Path) -> None:
    """Before any model is loaded, for both protocols."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        for options in ({"port": number}, {"port": None, "grpc_port": number}):
            with pytest.raises(UsageError, match="choose another port"), served(add_model(tmp_path), **options):
                pass
        with taken, pytest.raises(UsageError, match="give an address of this machine"):
            served(add_model(tmp_path), host="192.0.2.1").__enter__()
        with pytest.raises(UsageError, match="another --grpc-port"):
            served(add_model(tmp_path), port=number, grpc_port=number).__enter__()


def test_an_address_that_is_taken_while_models_load_is_said(tmp_path: Path) -> None:
    """Two servers that start at the same time: both have bound the port before one of them listens."""
    with bound_socket("127.0.0.1", 0) as other:
        number = other.getsockname()[1]
        server = Server(list, ServeOptions(port=number, grpc_port=None))
        web = WebServer(HttpApp(server.service), server.options)
        other.listen()
        with pytest.raises(UsageError, match="choose another port"):
            web.start()
        web.stop(0.0)


def test_an_address_of_ipv6_has_brackets() -> None:
    """As clients write it."""
    assert location("::1", 8000) == "[::1]:8000"
    assert location("127.0.0.1", 8000) == "127.0.0.1:8000"


def test_what_keeps_a_model_from_being_served_is_told_in_full(tmp_path: Path) -> None:
    """Also where it is met by the thread of the engine: the path, and what to do."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StoreError, match="a file is where a folder should be") as caught:
        served(add_model(tmp_path), out=blocked).__enter__()
    assert str(blocked) in str(caught.value)


def test_a_plan_that_cannot_be_served_is_said(tmp_path: Path) -> None:
    """With what to do."""
    with pytest.raises(UsageError, match="strategy"), served(add_model(tmp_path), {"strategy": "processes"}):
        pass


def test_leaving_answers_what_was_accepted() -> None:
    """Readiness goes first; requests that wait are answered, later ones are refused."""
    statuses: list[int] = []
    with served("null", {**SLOW, "option.latency_us": "100000"}) as server:
        feed = server.repository.find("null").feed

        def client() -> None:
            statuses.append(ask(server, "POST", "/v2/models/null/infer", null_input())[0])

        threads = [threading.Thread(target=client) for _ in range(4)]
        for thread in threads:
            thread.start()
        _until(lambda: feed.unanswered == 4)
    for thread in threads:
        thread.join()
    assert statuses == [200] * 4


def test_ending_lasts_as_long_as_what_was_accepted() -> None:
    """It ends with the last answer, not with the time that it may take; a request that comes meanwhile is refused."""
    drain_s = 60.0
    replies: dict[str, Reply] = {}
    with served("null", {**SLOW, "option.latency_us": "500000"}, drain_s=drain_s) as server:
        feed = server.repository.find("null").feed

        def client(name: str) -> None:
            replies[name] = ask(server, "POST", "/v2/models/null/infer", null_input())

        def late() -> None:
            _until(lambda: server.repository.closing)
            client("late")

        threads = [threading.Thread(target=client, args=("early",)), threading.Thread(target=late)]
        for thread in threads:
            thread.start()
        _until(lambda: feed.unanswered == 1)
        began = time.monotonic()
    assert time.monotonic() - began < drain_s
    for thread in threads:
        thread.join()
    assert replies["early"][0] == 200
    assert replies["late"][:2] == (503, {"error": "the server is ending"})


def test_what_is_not_answered_in_time_at_the_end_gets_an_error() -> None:
    """The client is told; its connection is not just cut."""
    replies: list[Reply] = []
    with served("null", {**SLOW, "option.latency_us": "1000000"}, drain_s=0.0) as server:
        feed = server.repository.find("null").feed
        thread = threading.Thread(
            target=lambda: replies.append(ask(server, "POST", "/v2/models/null/infer", null_input()))
        )
        thread.start()
        _until(lambda: feed.unanswered == 1)
    thread.join()
    assert replies[0][:2] == (503, {"error": "the server is ending"})


@contextmanager
def process(model: str, *options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`framepace serve` in a process of its own, and its port."""
    command = [
        sys.executable,
        "-m",
        "framepace",
        "serve",
        model,
        "--port",
        "0",
        "--grpc-port",
        "-1",
        "--json",
        *options,
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "FRAMEPACE_TOKEN": "t"}
    ) as server:
        try:
            assert server.stdout is not None
            document = json.loads(server.stdout.readline())
            yield server, int(document["HTTP"].rpartition(":")[2])
        finally:
            if server.poll() is None:
                server.kill()


def test_sigterm_ends_a_server_whose_requests_are_all_answered(tmp_path: Path) -> None:
    """Those that were accepted get their answers; a connection that is idle does not hold it up."""
    with process(add_model(tmp_path)) as (server, number):
        with closing(http.client.HTTPConnection("127.0.0.1", number, timeout=30)) as connection:
            headers = {"Authorization": "Bearer t"}
            assert ask_on(connection, "POST", INFER, pair(), headers)[0] == 200
            server.send_signal(signal.SIGTERM)
            assert server.wait(20) == 143
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", number), timeout=5)


_SIGNALLED = """
import os, signal, threading
from itertools import count
from framepace.{module} import {owner}
from framepace.cli.main import main

calls = count(1)
usual = {owner}.{name}

def signalled(self, *words):
    if next(calls) == {number}:
        os.kill(os.getpid(), signal.SIGTERM)
        {waits}
    return usual(self, *words)

{owner}.{name} = signalled
main()
"""
_FOR_EVER = "threading.Event().wait()"


@pytest.mark.parametrize(
    ("place", "number", "waits"),
    [
        ("backends.null NullBackend _load", 1, _FOR_EVER),
        ("backends.null NullBackend _load", 2, _FOR_EVER),  # another model is served already
        ("serving.model ServedModel _begin", 1, "pass"),  # its workers are set up, in another thread
    ],
)
def test_sigterm_while_models_load_ends_it_without_serving(place: str, number: int, waits: str) -> None:
    """With a sentence and the exit code of the signal; what is loaded is freed, and loading is not waited for."""
    module, owner, name = place.split()
    program = _SIGNALLED.format(module=module, owner=owner, name=name, number=number, waits=waits)
    options = ["null", "null", "--backend", "null", "--port", "0", "--grpc-port", "0"]
    ended = subprocess.run([sys.executable, "-c", program, "serve", *options], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (143, "")
    assert ended.stderr == "SIGTERM: ending before anything is served (send it again to end at once)\n"


def test_the_model_that_only_takes_time_is_not_computed() -> None:
    """Asked of a backend that computes, it says with which it runs, beside other models too."""
    with pytest.raises(UsageError, match=r"null\.backend=null") as caught, served(["null", "builtin:classifier"]):
        pass
    assert "onnxruntime" in str(caught.value)
    with served(["null", "builtin:classifier"], {"null.backend": "null"}) as server:
        assert ask(server, "GET", "/v2/health/ready")[0] == 200


@pytest.mark.long
def test_sigterm_leaves_the_time_that_was_asked_for() -> None:
    """More than other commands have to end by themselves: the request that runs is answered."""
    latency_s = interrupts.GRACE_S + 1
    settings = [f"{name}={value}" for name, value in SLOW.items()] + [f"option.latency_us={latency_s * 1e6:.0f}"]
    options = [word for setting in settings for word in ("--set", setting)]
    command = process("null", "--drain-s", "60", *options)
    with command as (server, number), closing(_connection(number)) as connection:
        assert ask_on(connection, "GET", "/v2/health/live")[0] == 200
        connection.request("POST", "/v2/models/null/infer", json.dumps(null_input()), {"Authorization": "Bearer t"})
        with closing(_connection(number)) as other:
            assert ask_on(other, "GET", "/v2/health/live")[0] == 200  # what was sent before it has been read
        server.send_signal(signal.SIGTERM)
        assert connection.getresponse().status == 200
        assert server.wait(20) == 143


def _connection(number: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", number, timeout=60)


@pytest.mark.long
def test_a_killed_server_leaves_its_port_free_and_its_trace_readable(tmp_path: Path) -> None:
    """SIGKILL in the middle of requests: another one starts at once."""
    model = add_model(tmp_path)
    out = tmp_path / "traces"
    with process(model, "--out", str(out)) as (server, number):
        connection = http.client.HTTPConnection("127.0.0.1", number, timeout=30)
        for _ in range(20):
            assert ask_on(connection, "POST", INFER, pair(), {"Authorization": "Bearer t"})[0] == 200
        journal = out / "simple-1" / "load-1" / "segment-000001" / "requests.journal"
        _until(lambda: journal.exists() and journal.stat().st_size >= 20 * row_bytes("requests"))
        server.kill()
        server.wait()
        connection.close()
    trace = load_trace(out / "simple-1" / "load-1" / "segment-000001")
    assert len(trace) == 20
    with served(model, port=number, out=out) as again:
        assert ask(again, "POST", INFER, pair())[0] == 200
    assert port(again) == number
