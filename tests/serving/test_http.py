"""The protocol over HTTP, against a server on the loopback interface."""

from __future__ import annotations

import gzip
import http.client
import json
import threading
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from framepace.openinference import rest
from framepace.serving.server import Server
from tests.serving.servers import SLOW, add_model, ask, ask_on, null_input, numbers, pair, port, served

INFER = "/v2/models/simple/infer"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a model that adds, in batches of up to 4."""
    with served(add_model(tmp_path_factory.mktemp("model")), {"batch": 4, "threads": 1}) as running:
        yield running


def outputs(answer: Any) -> dict[str, list[float]]:
    """Data by the name of the output."""
    return {output["name"]: output["data"] for output in answer["outputs"]}


def test_health_and_metadata(server: Server) -> None:
    """Live, ready, who it is, what the model takes and gives."""
    for path in (
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/simple/ready",
        "/v2/models/simple/versions/1/ready",
    ):
        assert ask(server, "GET", path)[0] == 200
    assert ask(server, "GET", "/v2/health/ready")[1] == {"ready": True}
    assert ask(server, "GET", "/v2")[1]["name"] == "framepace"
    document = ask(server, "GET", "/v2/models/simple")[1]
    assert document["inputs"][0] == {"name": "INPUT0", "datatype": "FP32", "shape": [-1, 4]}
    assert document["versions"] == ["1"]
    config = ask(server, "GET", "/v2/models/simple/config")[1]
    assert (config["max_batch_size"], config["input"][0]["dims"]) == (4, [4])


def test_an_inference_in_json(server: Server) -> None:
    """Numbers in, numbers out, with the id of the request."""
    status, answer, _ = ask(server, "POST", INFER, {"id": "7", **pair(1, 2)})
    assert (status, answer["id"], answer["model_version"]) == (200, "7", "1")
    assert outputs(answer) == {"OUTPUT0": [3.0] * 4, "OUTPUT1": [-1.0] * 4}


def test_an_inference_in_bytes(server: Server) -> None:
    """The header says where the JSON ends, in both directions."""
    a, b = np.arange(8, dtype=np.float32).reshape(2, 4), np.ones((2, 4), np.float32)
    inputs = [
        {"name": n, "datatype": "FP32", "shape": [2, 4], "parameters": {"binary_data_size": 32}}
        for n in ("INPUT0", "INPUT1")
    ]
    document = {"inputs": inputs, "outputs": [{"name": "OUTPUT1", "parameters": {"binary_data": True}}]}
    header = json.dumps(document).encode()
    body = header + a.tobytes() + b.tobytes()
    length = {"Inference-Header-Content-Length": str(len(header))}
    status, data, headers = ask(server, "POST", INFER, body, length)
    assert status == 200
    end = int(headers["inference-header-content-length"])
    assert json.loads(data[:end])["outputs"][0]["parameters"] == {"binary_data_size": 32}
    np.testing.assert_array_equal(np.frombuffer(data[end:], np.float32).reshape(2, 4), a - b)


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_bodies(server: Server, encoding: str, pack: Any) -> None:
    """In both directions."""
    many = {"inputs": [numbers("INPUT0", 1, 2, 3, 4), numbers("INPUT1", 1, 1, 1, 1)]}
    body = pack(json.dumps(many).encode())
    headers = {"Content-Encoding": encoding, "Accept-Encoding": encoding}
    status, data, answered = ask(server, "POST", INFER, body, headers)
    assert (status, answered["content-encoding"]) == (200, encoding)
    plain = gzip.decompress(data) if encoding == "gzip" else zlib.decompress(data)
    assert outputs(json.loads(plain))["OUTPUT0"][:4] == [2.0] * 4


@pytest.mark.parametrize("path", ["/v2", "/v2/models/simple", "/v2/models/simple/config", "/v2/models/simple/stats"])
def test_what_is_told_of_models_is_not_compressed(server: Server, path: str) -> None:
    """Whoever accepts it: Triton's client for coroutines does so in every request, and unpacks inferences alone."""
    status, document, answered = ask(server, "GET", path, headers={"Accept-Encoding": "gzip, deflate"})
    assert (status, answered.get("content-encoding")) == (200, None)
    assert isinstance(document, dict)


def test_metrics_are_compressed(server: Server) -> None:
    """For Prometheus, which accepts it."""
    status, data, answered = ask(server, "GET", "/metrics", headers={"Accept-Encoding": "gzip"})
    assert (status, answered["content-encoding"]) == (200, "gzip")
    assert b"nv_inference_count" in gzip.decompress(data)


def test_chunked_bodies(server: Server) -> None:
    """Byte by byte."""
    body = json.dumps(pair()).encode()
    chunks = (bytes([byte]) for byte in body)
    status, answer, _ = ask(server, "POST", INFER, chunks, {"Transfer-Encoding": "chunked"})
    assert (status, outputs(answer)["OUTPUT0"]) == (200, [3.0] * 4)


def test_several_items_are_several_frames_and_come_back_together(server: Server) -> None:
    """More than one batch holds are refused, as Triton does."""
    request = {"inputs": [numbers("INPUT0", 1, 2, 3), numbers("INPUT1", 1, 1, 1)]}
    assert outputs(ask(server, "POST", INFER, request)[1])["OUTPUT0"] == [2.0] * 4 + [3.0] * 4 + [4.0] * 4
    request = {"inputs": [numbers("INPUT0", *range(5)), numbers("INPUT1", *range(5))]}
    status, answer, _ = ask(server, "POST", INFER, request)
    assert (status, answer["error"]) == (400, "inference request batch-size must be <= 4 for 'simple'")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("POST", "/v2/models/none/infer", pair(), 404, "Request for unknown model: 'none' is not found"),
        ("POST", "/v2/models/simple/versions/9/infer", pair(), 404, "version 9 is not found"),
        ("GET", INFER, None, 405, "Method Not Allowed"),
        ("GET", "/v2/nothing", None, 404, "no such path"),
        ("GET", "/v2/models/none", None, 404, "unknown model"),
        ("POST", INFER, {"inputs": [numbers("INPUT0", 1)]}, 400, "missing required input(s) ['INPUT1']"),
        ("POST", INFER, {"inputs": [numbers("X", 1)]}, 400, "unexpected inference input 'X' for model 'simple'"),
        ("POST", INFER, {**pair(), "outputs": [{"name": "Y"}]}, 400, "unexpected inference output 'Y'"),
        (
            "POST",
            INFER,
            {"inputs": [{**numbers("INPUT0", 1), "datatype": "INT32", "data": [1] * 4}]},
            400,
            "expects 'FP32'",
        ),
        ("POST", INFER, {"inputs": [{**numbers("INPUT0", 1), "shape": [2, 2]}]}, 400, "Expected [-1,4], got [2,2]"),
        (
            "POST",
            INFER,
            {"inputs": [numbers("INPUT0", 1), numbers("INPUT1", 1, 2)]},
            400,
            "does not match other inputs",
        ),
        ("POST", INFER, b"{", 400, "failed to parse the request JSON buffer"),
        ("POST", INFER, {**pair(), "parameters": {"timeout": -1}}, 400, "Unable to parse 'timeout'"),
        ("POST", INFER, {**pair(), "parameters": {"priority": "x"}}, 400, "Unable to parse 'priority'"),
        ("POST", "/v2/repository/models/none/load", {}, 400, "failed to load 'none'"),
        ("POST", "/v2/repository/models/simple/load", {"parameters": {"config": "{}"}}, 501, "the plan alone"),
        ("POST", "/v2/repository/index", [], 400, "expected an object"),
        ("POST", "/v2/cudasharedmemory/region/r/register", {}, 400, "has no 'raw_handle' field"),
        ("GET", "/v2/cudasharedmemory/region/r/status", None, 404, "Unable to find cuda shared memory region: 'r'"),
    ],
)
def test_what_is_wrong_is_said(server: Server, method: str, path: str, body: Any, status: int, says: str) -> None:
    """With the status and the words that servers of the protocol use."""
    got, answer, _ = ask(server, method, path, body)
    assert got == status
    assert says in answer["error"]


def test_a_wrong_method_is_told_the_right_ones(server: Server) -> None:
    """As HTTP asks for."""
    assert ask(server, "PUT", "/v2/logging", {})[2]["allow"] == "GET, POST"
    assert ask(server, "GET", INFER)[2]["allow"] == "POST"


def test_no_memory_of_a_gpu_is_registered(server: Server) -> None:
    """Which clients that clean up at first find out without an error."""
    assert ask(server, "GET", "/v2/cudasharedmemory/status")[:2] == (200, [])
    assert ask(server, "POST", "/v2/cudasharedmemory/unregister")[0] == 200


def test_statistics_count_what_was_answered(server: Server) -> None:
    """Requests, items and batches, and the time of each stage."""
    before = ask(server, "GET", "/v2/models/simple/stats")[1]["model_stats"][0]
    request = {"inputs": [numbers("INPUT0", 1, 2), numbers("INPUT1", 1, 1)]}
    for _ in range(3):
        assert ask(server, "POST", INFER, request)[0] == 200
    after = ask(server, "GET", "/v2/models/stats")[1]["model_stats"][0]
    assert after["inference_count"] - before["inference_count"] == 6
    assert after["execution_count"] - before["execution_count"] == 3
    stages = after["inference_stats"]
    parts = ("queue", "compute_input", "compute_infer", "compute_output")
    assert sum(stages[part]["ns"] for part in parts) == stages["success"]["ns"]


def test_the_answer_says_where_the_time_went(server: Server) -> None:
    """On request, stage by stage, and how many shared the batch."""
    _, _, headers = ask(server, "POST", INFER, pair(), {"framepace-timing": "1"})
    timing = headers["framepace-timing"]
    assert [part.split(";")[0] for part in timing.split(", ")] == [
        "queue",
        "prepare",
        "infer",
        "finish",
        "total",
        "batch",
    ]
    assert timing.endswith("batch;desc=1")


def test_the_highest_classes_come_as_texts(server: Server) -> None:
    """The classification extension: value and index, the highest first."""
    first = {**numbers("INPUT0", 0), "data": [1.0, 4.0, 2.0, 3.0]}
    request = {
        "inputs": [first, numbers("INPUT1", 0)],
        "outputs": [{"name": "OUTPUT0", "parameters": {"classification": 2}}],
    }
    [output] = ask(server, "POST", INFER, request)[1]["outputs"]
    assert (output["datatype"], output["shape"]) == ("BYTES", [1, 2])
    assert output["data"] == ["4.000000:1", "3.000000:3"]


def test_metrics_have_tritons_names(server: Server) -> None:
    """With counts that agree with the statistics."""
    ask(server, "POST", INFER, pair())
    text = ask(server, "GET", "/metrics")[1].decode()
    count = ask(server, "GET", "/v2/models/simple/stats")[1]["model_stats"][0]["inference_stats"]["success"]["count"]
    assert f'nv_inference_request_success{{model="simple",version="1"}} {count}' in text
    assert f'framepace_request_stage_seconds_count{{model="simple",version="1",stage="queue"}} {count}' in text


def test_settings_of_traces_and_logs_are_kept_and_checked(server: Server) -> None:
    """Traces need a folder, which this server does not have."""
    assert ask(server, "POST", "/v2/trace/setting", {"trace_rate": "10"})[1]["trace_rate"] == "10"
    assert ask(server, "POST", "/v2/trace/setting", {"trace_level": ["TIMESTAMPS"]})[0] == 501
    assert ask(server, "POST", "/v2/logging", {"log_info": False})[1]["log_info"] is False
    assert ask(server, "POST", "/v2/logging", {"log_info": 1})[0] == 400


def test_many_connections_get_their_own_answers(server: Server) -> None:
    """Requests of many share batches, and nobody gets another's numbers."""
    wrong: list[Any] = []

    def client(number: int) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", port(server), timeout=30)) as connection:
            for i in range(20):
                _, answer, _ = ask_on(connection, "POST", INFER, pair(number, i))
                if outputs(answer) != {"OUTPUT0": [number + i] * 4, "OUTPUT1": [number - i] * 4}:
                    wrong.append(answer)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_versions_and_loading_anew_lose_no_request(tmp_path: Path) -> None:
    """Two plans are two versions; while one is loaded again, every request is answered by a whole model."""
    plans = []
    for number, offset in enumerate((0.0, 10.0)):
        (tmp_path / str(number)).mkdir()
        model = add_model(tmp_path / str(number), offset=offset)
        path = tmp_path / f"{number}.yaml"
        path.write_text(f"models:\n- name: simple\n  model: {model}\n  threads: 1\n")
        plans.append(str(path))
    with served(plans) as server:
        assert ask(server, "GET", "/v2/models/simple")[1]["versions"] == ["1", "2"]
        assert outputs(ask(server, "POST", INFER, pair())[1])["OUTPUT0"] == [13.0] * 4
        old = ask(server, "POST", "/v2/models/simple/versions/1/infer", pair())[1]
        assert outputs(old)["OUTPUT0"] == [3.0] * 4
        statuses: list[int] = []
        ended = threading.Event()

        def client() -> None:
            with closing(http.client.HTTPConnection("127.0.0.1", port(server), timeout=30)) as connection:
                while not ended.is_set():
                    statuses.append(ask_on(connection, "POST", INFER, pair())[0])

        threads = [threading.Thread(target=client) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            assert ask(server, "POST", "/v2/repository/models/simple/load")[0] == 200
        ended.set()
        for thread in threads:
            thread.join()
        assert set(statuses) == {200}
        assert ask(server, "POST", "/v2/repository/models/simple/unload")[0] == 200
        index = ask(server, "POST", "/v2/repository/index")[1]
        assert [(entry["version"], entry["state"]) for entry in index] == [("1", "UNAVAILABLE"), ("2", "UNAVAILABLE")]


def test_unloading_ends_readiness_and_loading_brings_it_back(tmp_path: Path) -> None:
    """Unknown models are 404 meanwhile, and the index knows it."""
    with served(add_model(tmp_path)) as server:
        assert ask(server, "POST", "/v2/repository/models/simple/unload")[0] == 200
        assert ask(server, "GET", "/v2/health/ready")[0] == 400
        assert ask(server, "POST", INFER, pair())[0] == 404
        [entry] = ask(server, "POST", "/v2/repository/index")[1]
        assert entry["state"] == "UNAVAILABLE"
        assert ask(server, "POST", "/v2/repository/index", {"ready": True})[1] == []
        assert ask(server, "POST", "/v2/repository/models/simple/load")[0] == 200
        assert ask(server, "POST", INFER, pair())[0] == 200


def test_a_request_that_cannot_be_met_is_refused_with_numbers() -> None:
    """By the header and by the parameter; the queue's state is told."""
    with served("null", {**SLOW, "option.latency_us": "20000"}) as server:
        path = "/v2/models/null/infer"
        for _ in range(3):
            assert ask(server, "POST", path, null_input())[0] == 200
        status, answer, headers = ask(server, "POST", path, null_input(), {"framepace-deadline-ms": "5"})
        assert (status, headers["retry-after"]) == (503, "1")
        assert answer["predicted_ms"] > 15
        assert (answer["waiting"], answer["running"]) == (0, 0)
        timed = {**null_input(), "parameters": {"timeout": 5000}}
        assert ask(server, "POST", path, timed)[0] == 503
        assert ask(server, "POST", path, null_input(), {"framepace-deadline-ms": "2000"})[0] == 200
        assert ask(server, "POST", path, null_input(), {"framepace-deadline-ms": "soon"})[0] == 400


def test_a_failing_model_fails_its_requests_alone() -> None:
    """An inference that fails is an error of its request; the server goes on."""
    with served("null", {**SLOW, "option.fail_at": "1"}) as server:
        path = "/v2/models/null/infer"
        assert [ask(server, "POST", path, null_input())[0] for _ in range(4)] == [200, 500, 200, 200]
        assert ask(server, "GET", "/v2/health/ready")[0] == 200


def test_a_request_that_found_the_old_model_is_taken_by_the_new_one(tmp_path: Path) -> None:
    """It was loaded anew between the two."""
    with served(add_model(tmp_path)) as server:
        old = server.repository.find("simple")
        server.repository.load("simple")
        request = rest.decode(json.dumps(pair()).encode(), None, "simple")
        done = threading.Event()
        inference = server.service.inference
        model, ticket = inference.submit(old, request, "", inference.now(), None, lambda _: done.set())
        model.feed.wake()
        assert done.wait(20)
        assert (ticket.error, model is old) == (None, False)
