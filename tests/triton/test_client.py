"""framepace's client of servers against the real Triton: answers, batches, shared memory, statistics, its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from framepace import api
from framepace.backends.base import Session, get_backend
from framepace.clock.system import SystemClock
from framepace.errors import BackendError, ModelError
from framepace.facts.plan import Batching, ModelPlan
from framepace.facts.workload import Stop
from framepace.models.builtin import model_bytes
from tests.triton.models import ONNX, write_model
from tests.triton.server import Triton, triton

CONFIGURATION = """max_batch_size: 8
input [{ name: "images" data_type: TYPE_FP32 dims: [3, 224, 224] }]
output [{ name: "y0" data_type: TYPE_FP32 dims: [100] }]
instance_group [{ count: 1 kind: KIND_CPU }]
dynamic_batching { max_queue_delay_microseconds: 3000 }
"""
WAYS = [("http", False), ("http", True), ("grpc", False), ("grpc", True)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Triton]:
    """A Triton with a built-in network behind its python backend, which waits 3 ms for company."""
    repository = tmp_path_factory.mktemp("client") / "repository"
    write_model(repository, "classifier", CONFIGURATION, ONNX, model_bytes("classifier"))
    with triton(repository) as running:
        yield running


def location(server: Triton, transport: str) -> str:
    """The address of the model."""
    url = server.url if transport == "http" else f"grpc://{server.grpc_url}"
    return f"{url}/v2/models/classifier"


def _outputs(session: Session, count: int) -> np.ndarray:
    """What the network says of `count` pictures, the same each time."""
    worker = session.worker()
    rng = np.random.default_rng(3)
    for array in worker.staging(0).values():
        array[...] = rng.random(array.shape)
    worker.enqueue(0, count)
    answer: np.ndarray = np.array(next(iter(worker.wait(0).values()))[:count])
    worker.close()
    return answer


@pytest.mark.long
@pytest.mark.parametrize(("transport", "shared"), WAYS)
def test_answers_are_those_of_the_file(server: Triton, transport: str, shared: bool) -> None:
    """For one picture and for three, whichever way tensors travel."""
    batch = Batching(max=4)
    file = ModelPlan(name="c", model="builtin:classifier", batch=batch)
    options: dict[str, str | int | float | bool] = {"shared_memory": shared}
    remote = ModelPlan(name="c", model=location(server, transport), backend="server", batch=batch, options=options)
    for count in (1, 3):
        here = _outputs(get_backend("onnxruntime").load(file, SystemClock()), count)
        there = _outputs(get_backend("server").load(remote, SystemClock()), count)
        np.testing.assert_allclose(there, here, rtol=1e-4, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_its_statistics_are_split_into_network_queue_and_computation(server: Triton, transport: str) -> None:
    """The queue holds the 3 ms for which Triton waits for company; the parts add up to the client's inference."""
    trace = api.bench(location(server, transport), fps=30, scope="model", stop=Stop(count=60))
    [row] = api.summary(trace).served
    assert row.parts["queue"] > 2_500_000
    assert row.parts["compute"] > 0
    infer = next(stage.mean for stage in api.summary(trace).frames.stages if stage.name == "infer")
    assert sum(row.parts.values()) == pytest.approx(infer)


@pytest.mark.long
def test_requests_in_flight_share_batches_there(server: Triton) -> None:
    """Eight at once: what waits 3 ms for company finds it."""
    stop = Stop(count=200)
    trace = api.bench(location(server, "http"), fps=None, scope="model", settings={"workers": 8}, stop=stop)
    [row] = api.summary(trace).served
    assert row.batch > 1.5


@pytest.mark.long
@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_unknown_models_are_told_with_those_there_are(server: Triton, transport: str) -> None:
    """As Triton lists them."""
    with pytest.raises(ModelError, match="one of classifier"):
        api.bench(location(server, transport).replace("classifier", "nix"), scope="model", stop=Stop(count=1))


@pytest.mark.long
def test_a_triton_that_ends_is_a_sentence(tmp_path: Path) -> None:
    """A request after its end fails with what happened."""
    write_model(tmp_path / "r", "classifier", CONFIGURATION, ONNX, model_bytes("classifier"))
    with triton(tmp_path / "r") as running:
        plan = ModelPlan(name="c", model=location(running, "http"), backend="server")
        worker = get_backend("server").load(plan, SystemClock()).worker()
        running.stop()
        with pytest.raises(BackendError, match=r"cannot be reached|closed the connection"):
            worker.enqueue(0, 1)
