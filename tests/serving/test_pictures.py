"""Encoded pictures as requests: decoded and prepared by the plan, and what is no picture runs nothing."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

from framepace.openinference.errors import RequestError
from framepace.openinference.rest import LENGTH_HEADER
from framepace.serving.request import Item, Ticket
from framepace.serving.server import Server
from tests.serving.servers import Reply, ask, served
from tests.serving.test_feed import Desk

INFER = "/v2/models/photos/infer"
TORN = b"\xff\xd8\xff\xe0 and then nothing of a JPEG"


def encoded(codec: str = "png", layout: str = "rgb24") -> bytes:
    """A picture as bytes."""
    context: Any = av.CodecContext.create(codec, "w")
    context.width, context.height = 80, 60
    context.pix_fmt = layout
    context.time_base = Fraction(1)
    frame = av.VideoFrame(80, 60, layout)
    frame.pts = 0
    return b"".join(bytes(packet) for part in (frame, None) for packet in context.encode(part))


def send(server: Server, *elements: bytes, behind: Sequence[int] = ()) -> Reply:
    """One request with so many pictures; `behind` are further sizes of its shape."""
    data = b"".join(struct.pack("<I", len(element)) + element for element in elements)
    tensor = {"name": "picture", "datatype": "BYTES", "shape": [len(elements), *behind]}
    document = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": len(data)}}]}).encode()
    return ask(server, "POST", INFER, document + data, {LENGTH_HEADER.decode(): str(len(document))})


def executions(server: Server) -> int:
    """How many batches of pictures ran."""
    statistics = server.repository.find("photos").statistics
    statistics.settle()
    return statistics.executions


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A model behind pictures, up to four in a batch."""
    with served("null", {"backend": "null", "batch": 4}, pictures="photos", grpc_port=0) as running:
        yield running


@pytest.mark.parametrize(
    ("codec", "layout"),
    [("png", layout) for layout in ("gray", "ya8", "pal8", "rgb24", "rgba", "gray16be", "rgba64be")]
    + [("mjpeg", layout) for layout in ("yuvj420p", "yuvj444p")]
    + [("bmp", layout) for layout in ("bgr24", "bgra", "gray", "rgb555le")]
    + [("libwebp", layout) for layout in ("yuv420p", "bgra")],
)
def test_pictures_of_all_kinds_are_answered(server: Server, codec: str, layout: str) -> None:
    """Grey, of a palette, with an alpha channel, of 16 bits."""
    status, answer, _ = send(server, encoded(codec, layout))
    assert status == 200, answer


@pytest.mark.parametrize("count", [1, 3])
def test_pictures_may_come_as_a_column(server: Server, count: int) -> None:
    """As Triton's ensembles take them, [batch, 1]: each is one item; another shape is none."""
    pictures = [encoded()] * count
    status, answer, _ = send(server, *pictures, behind=[1])
    assert (status, answer["outputs"][0]["shape"]) == (200, [count, 1])
    for behind in ([2], [1, 1], [0]):
        assert send(server, *pictures, behind=behind)[0] == 400
    assert send(server, *[encoded()] * 5, behind=[1])[0] == 400


@pytest.mark.parametrize("broken", [b"", b"no picture", TORN, encoded()[:60]], ids=["empty", "text", "JPEG", "PNG"])
def test_what_is_no_picture_is_refused_and_runs_nothing(server: Server, broken: bytes) -> None:
    """The answer says which element it is, and the other elements of that request do not run either."""
    before = executions(server)
    for place, elements in enumerate([(broken, encoded()), (encoded(), broken)]):
        status, answer, _ = send(server, *elements)
        assert status == 400
        assert f"element {place} of input 'picture'" in answer["error"]
    assert executions(server) == before


def test_what_is_no_picture_is_an_invalid_argument_over_grpc(server: Server) -> None:
    """With the same words."""
    import grpc

    from framepace.openinference.protos import message

    assert server.grpc is not None
    request = message("ModelInferRequest")(model_name="photos")
    request.inputs.add(name="picture", datatype="BYTES", shape=[1]).contents.bytes_contents.append(TORN)
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc.port}") as channel:
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=message("ModelInferRequest").SerializeToString,
            response_deserializer=message("ModelInferResponse").FromString,
        )
        with pytest.raises(grpc.RpcError) as caught:
            infer(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "element 0 of input 'picture'" in caught.value.details()


def test_others_are_answered_beside_what_is_no_picture(server: Server) -> None:
    """Many at the same time, every third of them broken."""
    answers: dict[int, int] = {}

    def call(number: int) -> None:
        answers[number] = send(server, TORN if number % 3 == 0 else encoded())[0]

    threads = [threading.Thread(target=call, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: 400 if number % 3 == 0 else 200 for number in range(24)}


def unfit_named(ticket: Ticket) -> RequestError | None:
    """A request is unfit by its id."""
    return RequestError("unfit") if ticket.id.startswith("bad") else None


@pytest.mark.parametrize("deadline_rule", [False, True])
@pytest.mark.parametrize("ids", [["bad", "b", "c"], ["a", "bad", "c"], ["a", "b", "bad"]])
def test_a_batch_goes_on_without_requests_that_are_unfit(ids: Sequence[str], deadline_rule: bool) -> None:
    """Whichever place they have; they are answered with what is wrong, and the others as ever."""
    desk = Desk(size=3, deadline_rule=deadline_rule, unfit=unfit_named)
    for id in ids:
        desk.put(id=id)
    assert desk.run(1) == [id for id in ids if id != "bad"]
    assert {ticket.id: ticket.error and ticket.error.message for ticket in desk.done} == {
        id: "unfit" if id == "bad" else None for id in ids
    }
    assert desk.feed.unanswered == 0


def test_no_item_of_an_unfit_request_runs_and_it_is_answered_once() -> None:
    """Though it fills several batches, which two workers take."""
    desk = Desk(size=2, workers=2, unfit=unfit_named)
    desk.put(id="bad", items=5)
    desk.put(id="good")
    assert desk.run(1) == ["good"]
    assert [ticket.id for ticket in desk.done] == ["bad", "good"]
    assert (desk.feed.unanswered, len(desk.feed)) == (0, 0)


def test_a_batch_of_unfit_requests_alone_leaves_nothing_in_flight() -> None:
    """What comes later is predicted and answered as if they had never been."""
    desk = Desk(size=2, unfit=unfit_named)
    desk.learn(10)
    desk.put(id="bad")
    assert desk.take() == []
    desk.put(id="good", within_ms=12)
    assert desk.run(10) == ["good"]


def test_texts_that_are_no_utf_8_run_nothing() -> None:
    """And what another worker made a text before is one."""
    from framepace.serving.sessions import unfit_texts

    array: Any = np.empty((1, 2), object)
    array[:] = [[b"a", "ä".encode("latin-1")]]
    ticket = Ticket({"text": array}, 1, (), lambda done: None)
    error = unfit_texts(ticket)
    assert error is not None
    assert "'text' is not UTF-8" in error.message
    array[0, 1] = "ä".encode()
    assert unfit_texts(ticket) is unfit_texts(ticket) is None
    assert Item(ticket, 0).ticket.arrays["text"].tolist() == [["a", "ä"]]  # type: ignore[union-attr]
