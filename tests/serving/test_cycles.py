"""What requests leave behind: nothing that waits for Python to look for cycles, which it does seldom."""

from __future__ import annotations

import gc
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress

import grpc
import pytest

from framepace.openinference.protos import INFERENCE, message
from framepace.serving.server import Server
from tests.serving.servers import SLOW, ask, port, served

BODY = bytes(3 * 64 * 64 * 4)
RAW = {"Inference-Header-Content-Length": "0"}
INFER = "/v2/models/null/infer"
HEAD = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nInference-Header-Content-Length: 0\r\nContent-Length: {len(BODY)}\r\n\r\n"
KEPT = ("_Connection", "HttpCall", "Ticket", "Pending", "KeptBody", "RequestError")
COUNT = 20


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A model that takes a millisecond."""
    with served("null", {**SLOW, "option.latency_us": "1000"}, grpc_port=0) as running:
        yield running


@pytest.fixture
def without_collector() -> Iterator[None]:
    """Inside, Python does not look for cycles."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def answered(server: Server) -> None:
    """A request of which all goes well."""
    assert ask(server, "POST", INFER, BODY, RAW)[0] == 200


def late(server: Server) -> None:
    """One whose time passes while it waits, or before."""
    assert ask(server, "POST", INFER, BODY, {**RAW, "framepace-deadline-ms": "0.001"})[0] == 503


def wrong(server: Server) -> None:
    """One that does not fit the model."""
    assert ask(server, "POST", INFER, BODY[:8], RAW)[0] == 400


def gone(server: Server) -> None:
    """One whose client does not wait for the answer."""
    _sent(server, HEAD.encode() + BODY)


def torn(server: Server) -> None:
    """One whose client goes while it sends."""
    _sent(server, HEAD.encode() + BODY[:1000])


def _sent(server: Server, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port(server)), timeout=30) as connection:
        connection.sendall(data)


def over_grpc(server: Server) -> None:
    """A call."""
    _call(server, BODY)


def wrong_over_grpc(server: Server) -> None:
    """A call that does not fit the model."""
    with suppress(grpc.RpcError):
        _call(server, BODY[:8])


def _call(server: Server, body: bytes) -> None:
    assert server.grpc is not None
    request = message("ModelInferRequest")(model_name="null")
    request.inputs.add(name="x", datatype="FP32", shape=[1, 3, 64, 64])
    request.raw_input_contents.append(body)
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc.port}") as channel:
        channel.unary_unary(f"/{INFERENCE}/ModelInfer")(request.SerializeToString(), timeout=20)


@pytest.mark.usefixtures("without_collector")
@pytest.mark.parametrize("ask_once", [answered, late, wrong, gone, torn, over_grpc, wrong_over_grpc])
def test_a_request_and_its_connection_are_let_go_at_once(server: Server, ask_once: Callable[[Server], None]) -> None:
    """However it ends: bodies are large, and those that wait for the collector are memory that grows."""
    for _ in range(COUNT):
        ask_once(server)
    answered(server)  # so that those before it have arrived
    deadline = time.monotonic() + 20
    while _kept().total() >= COUNT and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _kept().total() < COUNT


def _kept() -> Counter[str]:
    """Objects of requests that are still there; a few may be on their way."""
    return Counter(type(one).__name__ for one in gc.get_objects() if type(one).__name__ in KEPT)
