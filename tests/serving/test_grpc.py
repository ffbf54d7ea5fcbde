"""The protocol over gRPC, against a server on the loopback interface, with bare messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from framepace.openinference.protos import HEALTH, INFERENCE, message
from framepace.serving.server import Server
from tests.serving.servers import SLOW, add_model, served


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a model that adds, in batches of up to 4."""
    folder = tmp_path_factory.mktemp("model")
    with served(add_model(folder), {"batch": 4, "threads": 1}, port=None, grpc_port=0) as running:
        yield running


def call(server: Server, name: str, request: Any, service: str = INFERENCE, **options: Any) -> bytes:
    """One call; the bytes of its response."""
    assert server.grpc is not None
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc.port}") as channel:
        data = request if isinstance(request, bytes) else request.SerializeToString()
        answer: bytes = channel.unary_unary(f"/{service}/{name}")(data, timeout=20, **options)
        return answer


def request(first: float = 1.0, second: float = 2.0, **fields: Any) -> Any:
    """One item for the model that adds."""
    made = message("ModelInferRequest")(model_name="simple", **fields)
    for name, value in (("INPUT0", first), ("INPUT1", second)):
        made.inputs.add(name=name, datatype="FP32", shape=[1, 4])
        made.raw_input_contents.append(np.full(4, value, np.float32).tobytes())
    return made


def sums(response: Any) -> list[float]:
    """The first output."""
    values: list[float] = np.frombuffer(response.raw_output_contents[0], np.float32).tolist()
    return values


def test_an_inference_and_what_is_told_of_the_model(server: Server) -> None:
    """Raw contents in and out; metadata, readiness and statistics beside them."""
    response = message("ModelInferResponse").FromString(call(server, "ModelInfer", request(id="7")))
    assert (response.id, sums(response)) == ("7", [3.0] * 4)
    named = message("ModelMetadataRequest")(name="simple")
    metadata = message("ModelMetadataResponse").FromString(call(server, "ModelMetadata", named))
    assert [tensor.name for tensor in metadata.inputs] == ["INPUT0", "INPUT1"]
    assert message("ServerReadyResponse").FromString(call(server, "ServerReady", b"")).ready
    health = message("grpc.health.v1.HealthCheckResponse").FromString(call(server, "Check", b"", HEALTH))
    assert health.status == 1


def test_a_stream_is_answered_in_its_order_and_goes_on_after_an_error(server: Server) -> None:
    """An error is an answer."""
    assert server.grpc is not None
    wrong = request()
    wrong.model_name = "none"
    sent = [request(1, 1), wrong, request(2, 2)]
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc.port}") as channel:
        method = channel.stream_stream(f"/{INFERENCE}/ModelStreamInfer")
        answers = list(method(iter([each.SerializeToString() for each in sent]), timeout=20))
    read = [message("ModelStreamInferResponse").FromString(answer) for answer in answers]
    assert [answer.error_message for answer in read] == ["", "Request for unknown model: 'none' is not found", ""]
    assert [sums(read[0].infer_response), sums(read[2].infer_response)] == [[2.0] * 4, [4.0] * 4]


@pytest.mark.parametrize(
    ("name", "sent", "code"),
    [
        ("ModelInfer", b"\xff\xff\xff", grpc.StatusCode.INVALID_ARGUMENT),
        ("ModelInfer", message("ModelInferRequest")(model_name="none"), grpc.StatusCode.NOT_FOUND),
        ("ModelInfer", message("ModelInferRequest")(model_name="simple"), grpc.StatusCode.INVALID_ARGUMENT),
        ("ModelMetadata", message("ModelMetadataRequest")(name="none"), grpc.StatusCode.NOT_FOUND),
        ("CudaSharedMemoryRegister", b"\x0a\x01r\x20\x01", grpc.StatusCode.UNIMPLEMENTED),
        ("Nothing", b"", grpc.StatusCode.UNIMPLEMENTED),
    ],
)
def test_what_is_wrong_has_its_status(server: Server, name: str, sent: Any, code: grpc.StatusCode) -> None:
    """Bytes that are no message too: grpcio's own reader keeps such calls for ever."""
    with pytest.raises(grpc.RpcError) as caught:
        call(server, name, sent)
    assert caught.value.code() == code


def test_a_deadline_that_cannot_be_met_is_refused_with_numbers() -> None:
    """As metadata behind the error."""
    made = message("ModelInferRequest")(model_name="null")
    made.inputs.add(name="x", datatype="FP32", shape=[1, 3, 64, 64])
    made.raw_input_contents.append(bytes(4 * 3 * 64 * 64))
    with served("null", {**SLOW, "option.latency_us": "20000"}, port=None, grpc_port=0) as server:
        for _ in range(3):
            call(server, "ModelInfer", made)
        made.parameters["timeout"].int64_param = 5000
        with pytest.raises(grpc.RpcError) as caught:
            call(server, "ModelInfer", made)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    told = dict(caught.value.trailing_metadata())
    assert float(told["framepace-predicted-ms"]) > 15
