"""The dashboard's server: who may see what, what it answers, and that nothing it sends has a secret."""

from __future__ import annotations

import asyncio
import json
import socket
from base64 import b64decode
from collections.abc import Iterator, Mapping, MutableMapping
from http.client import HTTPConnection
from io import BytesIO
from typing import Any
from urllib.parse import quote, urlsplit

import av
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framepace.errors import UsageError
from framepace.facts.answers import Answer, Classes, Detections, Regions, Tensors, Text
from framepace.facts.running import Result, RunStatus
from framepace.watching import server
from framepace.watching.dashboard import Access, Dashboard
from framepace.watching.pictures import WIDEST, picture_document
from framepace.watching.server import Endpoint, endpoint, exposure
from tests.doubles.cameras import SECRET, ScriptedRun, result
from tests.doubles.dashboards import served
from tests.doubles.sinks import crops

TOKEN = "open sesame"
LOCAL = (b"localhost", b"127.0.0.1", b"[::1]")
PATHS = ("/", "/dashboard.js", "/dashboard.css", "/view", "/status", "/metrics", "/healthz", "/picture?source=gate")


@pytest.fixture
def run() -> ScriptedRun:
    """Three cameras, of which the second is lost."""
    run = ScriptedRun(3)
    run.step(3)
    return run


@pytest.fixture
def url(run: ScriptedRun) -> Iterator[str]:
    """Where its dashboard is."""
    with served(run) as url:
        yield url


def ask(
    url: str, path: str, headers: Mapping[str, str] | None = None, method: str = "GET"
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one request."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        connection.request(method, path, headers=dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def picture(url: str, source: str) -> dict[str, Any]:
    """What is answered for the picture of a source."""
    found: dict[str, Any] = json.loads(ask(url, f"/picture?source={quote(source)}")[2])
    return found


def decoded(document: Mapping[str, Any]) -> av.VideoFrame:
    """The JPEG of a picture document, decoded."""
    with av.open(BytesIO(b64decode(document["jpeg"])), "r") as container:
        return next(container.decode(video=0))


def test_the_status_is_the_fact(url: str, run: ScriptedRun) -> None:
    """/status reads back as RunStatus, but for the secrets."""
    read = msgspec.json.decode(ask(url, "/status")[2], type=RunStatus)
    assert repr(read) == repr(run.status())


def test_the_view_is_what_the_terminal_says(url: str) -> None:
    """/view has the same sentence and texts."""
    view = json.loads(ask(url, "/view")[2])
    assert view["sentence"] == "2 of 3 sources are live, 1 lost"
    assert view["sources"][1]["trouble"] == "bad"


def test_a_picture_is_a_jpeg_with_boxes_and_captions(url: str) -> None:
    """It decodes to the picture that was given; boxes are left, top, width, height in its pixels."""
    found = picture(url, "gate")
    shown = decoded(found).to_ndarray(format="rgb24")
    given = result("gate").picture
    assert np.abs(shown.astype(int) - given).mean() < 3
    assert found["boxes"] == [{"box": [12.8, 14.4, 38.4, 43.2], "label": "person 0.92 #7"}]
    assert found["captions"] == ["classifier: night 0.50"]
    assert found["ago_s"] >= 0.3


def test_pictures_are_asked_for_only_when_they_are_looked_at(url: str, run: ScriptedRun) -> None:
    """Neither the page nor the numbers touch a picture."""
    for path in PATHS[:-1]:
        assert ask(url, path)[0] == 200
    assert run.asked == []
    picture(url, "gate")
    assert run.asked == ["gate"]


def test_a_source_without_a_picture_says_so(url: str) -> None:
    """One that is lost has none; one that does not exist is an error."""
    assert picture(url, "yard") == {"source": "yard"}
    assert ask(url, "/picture?source=nobody")[0] == 404
    assert ask(url, "/picture")[0] == 404


def test_no_answer_has_a_secret() -> None:
    """Whatever is asked: the address of a camera is shown without its password, also where it is its name."""
    run = ScriptedRun(1)
    run.names[0] = f"rtsp://admin:{SECRET}@10.0.0.1/stream"
    with served(run) as url:
        bodies = [ask(url, path)[2] for path in (*PATHS, f"/picture?source={quote('rtsp://***@10.0.0.1/stream')}")]
        assert b"jpeg" in bodies[-1]
    assert [body for body in bodies if SECRET.encode() in body] == []


def test_with_a_token_only_the_empty_page_and_the_pulse_are_open(run: ScriptedRun) -> None:
    """Numbers, pictures and metrics need it; a wrong one is none."""
    with served(run, TOKEN) as url:
        without = [path for path in PATHS if ask(url, path)[0] == 401]
        assert without == ["/view", "/status", "/metrics", "/picture?source=gate"]
        for header in ("Bearer wrong", TOKEN, "Basic " + TOKEN, "Bearer"):
            assert ask(url, "/view", {"Authorization": header})[0] == 401
        assert ask(url, "/view", {"Authorization": f"Bearer {TOKEN}"})[0] == 200


def test_a_foreign_name_for_this_machine_is_refused(run: ScriptedRun, url: str) -> None:
    """A page whose name was turned to 127.0.0.1 learns nothing; with a token, a proxy may use any name."""
    port = urlsplit(url).port
    assert ask(url, "/view", {"Host": f"evil.example:{port}"})[0] == 403
    assert ask(url, "/view", {"Host": f"localhost:{port}"})[0] == 200
    with served(run, TOKEN) as guarded:
        assert ask(guarded, "/view", {"Host": "cameras.example", "Authorization": f"Bearer {TOKEN}"})[0] == 200


def test_every_answer_forbids_what_a_page_does_not_need(url: str) -> None:
    """A policy without anything from outside, no framing, no guessing of types, nothing kept."""
    for path in (*PATHS, "/nothing"):
        headers = ask(url, path)[1]
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


def test_nothing_can_be_changed(url: str) -> None:
    """Only GET and HEAD are answered, and HEAD has no body."""
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert ask(url, "/status", method=method)[0] == 405
    status, headers, body = ask(url, "/status", method="HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 0


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("8080", ("127.0.0.1", 8080)),
        (":8080", ("127.0.0.1", 8080)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("[::1]:0", ("::1", 0)),
        ("localhost:9", ("localhost", 9)),
    ],
)
def test_an_endpoint_is_local_unless_it_says_otherwise(text: str, where: tuple[str, int]) -> None:
    """A port alone is on loopback."""
    found = endpoint(text)
    assert (found.host, found.port) == where
    assert found.is_local == (where[0] != "0.0.0.0")


@pytest.mark.parametrize("text", ["", "http://localhost:8080", "80 80", "cameras.example:80", "-1", "65536", "٨٠"])
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    """With what would be one."""
    with pytest.raises(UsageError, match="a port, or the address"):
        endpoint(text)


def test_an_open_door_is_told() -> None:
    """Beyond this machine and without a token."""
    assert "FRAMEPACE_TOKEN" in exposure(Endpoint("0.0.0.0", 80), None)
    assert exposure(Endpoint("0.0.0.0", 80), TOKEN) == exposure(Endpoint("127.0.0.1", 80), None) == ""


def test_a_taken_port_is_a_sentence(run: ScriptedRun) -> None:
    """It says which, why, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        at = Endpoint("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(UsageError, match=f"port {at.port}"), served(run, at=at):
            pass


def test_without_the_packages_it_says_what_to_install(run: ScriptedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"framepace\[serve\]"), served(run):
        pass


def test_the_port_is_free_again_after_the_run(run: ScriptedRun) -> None:
    """Also where a connection is still open."""
    with served(run) as url:
        port = urlsplit(url).port or 0
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b"ok\n"
    with served(run, at=Endpoint("127.0.0.1", port)) as again:
        assert ask(again, "/healthz")[0] == 200
    connection.close()


def captions(answer: Answer) -> list[str]:
    """What is said of one model's answer."""
    found: list[str] = picture_document(Result("gate", 0, 0.0, 1.0, False, {"m": answer}))["captions"]
    return found


def test_answers_without_a_place_in_the_picture_are_captions() -> None:
    """Classes, texts, regions, crops and plain tensors; long lists are cut, and unnamed classes have their number."""
    text = Text("AB 123", 0.9)
    regions = Regions(np.array([[0, 0], [0, 1]]), ("road",))
    classes = Classes(np.array([3, 4, 5, 6]), np.array([0.4, 0.3, 0.2, 0.1]))
    assert captions(text) == ["m: AB 123 0.90"]
    assert captions(regions) == ["m: road 75%, 1 25%"]
    assert captions(classes) == ["m: 3 0.40, 4 0.30, 5 0.20"]
    assert captions(crops(*[text] * 5)) == ["m: AB 123 0.90; AB 123 0.90; AB 123 0.90 and 2 more"]
    assert captions(Tensors({"logits": np.zeros((1, 10))})) == ["m: logits [1, 10]"]


def test_broken_boxes_are_left_out() -> None:
    """A model that answers NaN makes no invalid page."""
    boxes = np.array([[np.nan, 0, 1, 1], [0, 0, 1, 1]], np.float32)
    points = np.array([[[1, 2, 0.9], [np.nan, 2, 0.9], [3, 4, 0.1]]] * 2, np.float32)
    found = Detections(boxes, np.array([0.5, 0.5]), np.array([0, 0]), keypoints=points)
    document = picture_document(Result("gate", 0, 0.0, 1.0, False, {"m": found}))
    assert [box["box"] for box in document["boxes"]] == [[0, 0, 1, 1]]
    assert document["points"] == [(1.0, 2.0)] * 2
    json.dumps(document, allow_nan=False)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "rgb24", "gray", "nv12", "yuv444p10le"])
def test_a_large_frame_of_any_format_becomes_a_small_jpeg(pixel_format: str) -> None:
    """Of WIDEST pixels; its boxes stay in pixels of the frame, whose size is told."""
    frame = av.VideoFrame.from_ndarray(np.full((2160, 3840, 3), 90, np.uint8), format="rgb24")
    frame = frame.reformat(format=pixel_format)
    document = picture_document(Result("gate", 0, 0.0, 1.0, False, {}, picture=frame))
    shown = decoded(document)
    assert (document["width"], document["height"]) == (3840, 2160)
    assert (shown.width, shown.height) == (WIDEST, 540)
    assert abs(int(shown.to_ndarray(format="rgb24")[200, 300, 0]) - 90) < 6


def answered(dashboard: Dashboard, path: str, query: bytes, headers: list[tuple[bytes, bytes]]) -> tuple[int, bytes]:
    """Status and body of a request that some server has parsed."""
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "query_string": query, "headers": headers}
    asyncio.run(dashboard(scope, receive, send))
    return sent[0]["status"], sent[1]["body"]


@given(
    path=st.one_of(st.sampled_from(["/", "/view", "/status", "/picture", "/metrics", "/healthz"]), st.text()),
    query=st.one_of(st.binary(max_size=200), st.binary(max_size=50).map(lambda value: b"source=" + value)),
    host=st.one_of(st.sampled_from([b"localhost", b"127.0.0.1:80", b"[::1]:80"]), st.binary(max_size=50)),
    authorization=st.one_of(st.just(b"Bearer open sesame"), st.binary(max_size=50)),
    token=st.sampled_from([None, TOKEN]),
)
@settings(max_examples=300, deadline=None)
def test_whatever_is_asked_is_answered(
    path: str, query: bytes, host: bytes, authorization: bytes, token: str | None
) -> None:
    """No request raises, and what is guarded is given only to localhost without a token, or to who has it."""
    run = ScriptedRun(1)
    headers = [(b"host", host), (b"authorization", authorization), (b"accept", authorization)]
    status, body = answered(Dashboard(run.status, run.newest, Access(token)), path, query, headers)
    assert status in (200, 401, 403, 404)
    guarded = path not in ("/", "/dashboard.js", "/dashboard.css", "/healthz")
    if status == 200 and guarded:
        assert authorization == b"Bearer open sesame" if token else host.split(b":80")[0] in LOCAL
    assert SECRET.encode() not in body
