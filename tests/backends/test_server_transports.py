"""The backend 'server' against framepace's own server: HTTP, gRPC, and shared memory beside both."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from framepace import api
from framepace.backends.base import Session, get_backend
from framepace.clock.system import SystemClock
from framepace.errors import FramepaceError, ModelError
from framepace.facts.plan import Batching, ModelPlan
from framepace.facts.workload import Stop
from framepace.serving.options import Limits, ServeOptions

MODEL = "builtin:classifier"
WAYS = [("HTTP", False), ("HTTP", True), ("gRPC", False), ("gRPC", True)]


@pytest.fixture(scope="module")
def addresses() -> Iterator[dict[str, str]]:
    """A server of a small network, and where it listens."""
    pytest.importorskip("grpc")
    settings = {"batch": 4, "threads": 1}
    with api.serve(MODEL, options=ServeOptions(port=0, grpc_port=0), settings=settings) as server:
        places = server.addresses()
        yield {"HTTP": places["HTTP"], "gRPC": f"grpc://{places['gRPC']}"}


def location(address: str) -> str:
    """The address of the model."""
    return f"{address}/v2/models/classifier"


def outputs(session: Session, count: int) -> dict[str, np.ndarray]:
    """What the model says of `count` random pictures, the same each time."""
    worker = session.worker()
    rng = np.random.default_rng(1)
    for array in worker.staging(0).values():
        array[...] = rng.random(array.shape)
    worker.enqueue(0, count)
    answers = {name: np.array(value[:count]) for name, value in worker.wait(0).items()}
    worker.close()
    return answers


@pytest.mark.parametrize(("transport", "shared"), WAYS)
@pytest.mark.parametrize("count", [1, 3])
def test_answers_are_those_of_the_file(addresses: dict[str, str], transport: str, shared: bool, count: int) -> None:
    """Whichever way tensors travel, the outputs are what the network computes here."""
    batch = Batching(max=4)
    file = ModelPlan(name="classifier", model=MODEL, batch=batch, threads=1)
    options: dict[str, str | int | float | bool] = {"shared_memory": shared}
    remote = ModelPlan(
        name="classifier", model=location(addresses[transport]), backend="server", batch=batch, options=options
    )
    expected = outputs(get_backend("onnxruntime").load(file, SystemClock()), count)
    found = outputs(get_backend("server").load(remote, SystemClock()), count)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("transport", ["HTTP", "gRPC"])
def test_a_model_that_is_not_there_is_told_with_those_there_are(addresses: dict[str, str], transport: str) -> None:
    """Both transports list the models."""
    with pytest.raises(ModelError, match="expected: one of classifier"):
        api.bench(f"{addresses[transport]}/v2/models/nix", fps=None, scope="model", stop=Stop(count=1))


@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_nobody_there_is_a_sentence(transport: str) -> None:
    """A port on which nobody listens."""
    pytest.importorskip("grpc")
    with pytest.raises(FramepaceError, match="cannot be reached"):
        api.bench(f"{transport}://127.0.0.1:1/v2/models/x", fps=None, scope="model", stop=Stop(count=1))


@pytest.mark.parametrize("transport", ["HTTP", "gRPC"])
def test_the_servers_statistics_are_read(addresses: dict[str, str], transport: str) -> None:
    """Its queue and its computation, beside what is left for the way."""
    trace = api.bench(location(addresses[transport]), fps=50, scope="model", stop=Stop(count=60))
    [row] = api.summary(trace).served
    assert row.parts["compute"] > 0
    assert row.parts["network"] > 0
    assert row.requests <= row.asked + 20


def test_a_server_is_held_against_the_file(addresses: dict[str, str]) -> None:
    """`accuracy FILE ADDRESS` compares the answers of both on the same frames."""
    check = api.accuracy(MODEL, location(addresses["HTTP"]))
    assert check.agreement.passed


def compressing(folder: Path) -> str:
    """A file of a model: y has the columns 0, 1 and 3 of x, and its file leaves open how many; z is x."""
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
        for name, size in (("x", 4), ("y", "n"), ("z", 4))
    ]
    kept = helper.make_tensor("kept", TensorProto.BOOL, [4], [True, True, False, True])
    nodes = [
        helper.make_node("Compress", ["x", "kept"], ["y"], axis=1),
        helper.make_node("Identity", ["x"], ["z"]),
    ]
    graph = helper.make_graph(nodes, "compressing", tensors[:1], tensors[1:], [kept])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path = folder / "compressing.onnx"
    onnx.save(model, str(path))
    return str(path)


@pytest.mark.parametrize("transport", ["HTTP", "gRPC"])
@pytest.mark.parametrize("batch", [1, 3])
def test_an_output_of_open_size_comes_in_the_answer(tmp_path: Path, transport: str, batch: int) -> None:
    """Shared memory holds the others: nobody knows before the answer how much room it needs."""
    pytest.importorskip("grpc")
    settings = {"batch": batch, "threads": 1}
    with api.serve(compressing(tmp_path), options=ServeOptions(port=0, grpc_port=0), settings=settings) as server:
        places = server.addresses()
        address = places["HTTP"] if transport == "HTTP" else f"grpc://{places['gRPC']}"
        remote = ModelPlan(
            name="compressing",
            model=f"{address}/v2/models/compressing",
            backend="server",
            batch=Batching(max=batch),
            options={"shared_memory": True},
        )
        found = outputs(get_backend("server").load(remote, SystemClock()), batch)
    assert found["z"].shape == (batch, 4)
    np.testing.assert_array_equal(found["y"], found["z"][:, [0, 1, 3]])


@pytest.fixture
def encrypted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A server whose certificate nobody trusts yet, and the file of it in the variable `SSL_CERT_FILE`."""
    pytest.importorskip("grpc")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, str(certificate), "-days", "1", *names], check=True, capture_output=True)
    options = ServeOptions(port=0, grpc_port=0, certificate=certificate, key=key)
    with api.serve("null", options=options, settings={"backend": "null"}) as server:
        places = server.addresses()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        yield {"HTTP": places["HTTP"], "gRPC": f"grpcs://{places['gRPC']}"}


@pytest.mark.parametrize("transport", ["HTTP", "gRPC"])
def test_a_certificate_is_trusted_as_the_environment_says(
    encrypted: dict[str, str], transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By both transports alike; else it is said that it is not trusted, and what to do."""
    remote = ModelPlan(name="null", model=f"{encrypted[transport]}/v2/models/null", backend="server")
    assert outputs(get_backend("server").load(remote, SystemClock()), 1)
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(FramepaceError, match=r"no encrypted connection(.|\n)*SSL_CERT_FILE"):
        get_backend("server").load(remote, SystemClock())


def test_a_client_that_does_not_encrypt_is_told_so(encrypted: dict[str, str]) -> None:
    """A server that wants encryption closes the connection: the error names the other protocols."""
    for address in (encrypted["HTTP"].replace("https:", "http:"), encrypted["gRPC"].replace("grpcs:", "grpc:")):
        remote = ModelPlan(name="null", model=f"{address}/v2/models/null", backend="server")
        with pytest.raises(FramepaceError, match=r"closed the connection(.|\n)*grpcs://"):
            get_backend("server").load(remote, SystemClock())


def test_a_request_that_is_too_large_for_grpc_is_told_as_that() -> None:
    """Its code is that of a queue that is full, which fewer requests per second would help."""
    pytest.importorskip("grpc")
    options = ServeOptions(port=None, grpc_port=0, limits=Limits(body=1000))
    with api.serve("null", options=options, settings={"backend": "null"}) as server:
        address = f"grpc://{server.addresses()['gRPC']}/v2/models/null"
        session = get_backend("server").load(ModelPlan(name="null", model=address, backend="server"), SystemClock())
        with pytest.raises(FramepaceError, match="larger than the server allows"):
            outputs(session, 1)
