"""The backend 'server': models that a KServe v2 server runs, with everything that a server may do to a client."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from framepace import api
from framepace.backends.base import Session, get_backend
from framepace.clock.system import SystemClock
from framepace.errors import BackendError, FramepaceError, ModelError, UsageError
from framepace.facts.plan import Batching, ModelPlan
from framepace.facts.workload import Stop
from framepace.models.spec import inspect
from tests.doubles.kserve import KServe, kserve

_SHORT = Stop(count=20)


@pytest.fixture
def server() -> Iterator[KServe]:
    """A server with a model that says the mean of a picture."""
    with kserve() as running:
        yield running


def load(location: str, batch: int = 1, **options: str | float | bool) -> Session:
    """The model, loaded."""
    plan = ModelPlan(name="mean", model=location, backend="server", batch=Batching(max=batch), options=options)
    return get_backend("server").load(plan, SystemClock())


def answers(session: Session, count: int, value: float = 0.5) -> dict[str, object]:
    """The outputs for `count` pictures of one value."""
    worker = session.worker()
    for array in worker.staging(0).values():
        array[...] = value
    worker.enqueue(0, count)
    outputs = {name: output.tolist() for name, output in worker.wait(0).items()}
    worker.close()
    return outputs


def test_the_model_is_what_the_server_says(server: KServe) -> None:
    """Inputs and outputs come from the metadata, and the batch from the configuration."""
    spec = inspect(server.location)
    assert [(t.name, t.dtype, t.shape) for t in spec.inputs] == [("x", "float32", ("batch", 3, 8, 8))]
    assert [(t.name, t.dtype, t.shape) for t in spec.outputs] == [("y", "float32", ("batch", 1))]


def test_tensors_travel_there_and_back(server: KServe) -> None:
    """What the server computes of the inputs comes back, for one item and for several."""
    session = load(server.location, batch=4)
    assert answers(session, 1) == {"y": [[0.5]]}
    assert answers(session, 3, 2.0) == {"y": [[2.0]] * 3}


def test_a_worker_keeps_its_connection(server: KServe) -> None:
    """Requests of one worker share a connection."""
    session = load(server.location)
    before = server.connections
    worker = session.worker()
    for _ in range(5):
        worker.enqueue(0, 1)
        worker.wait(0)
    assert server.connections == before + 1


def test_a_connection_that_the_server_closed_is_opened_again(server: KServe) -> None:
    """A kept connection that is gone costs no request, and a server that closes again is an error."""
    worker = load(server.location).worker()
    worker.prime()
    server.fault = "close"
    worker.enqueue(0, 1)
    with pytest.raises(BackendError, match="closed the connection"):
        worker.wait(0)
    server.fault = None
    worker.enqueue(0, 1)
    assert worker.wait(0)["y"].shape == (1, 1)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ((503, "Exceeds maximum queue size"), "no room now"),
        ((400, "unexpected shape for input 'x'"), "does not take a request"),
        ((401, "who are you"), "FRAMEPACE_TOKEN"),
        ((500, "model broke"), "model broke"),
        ((413, "too large"), "larger than the server allows"),
        ("garbage", "does not answer with outputs"),
        ("short", "contradicts itself in output 'y'"),
        ("close", "closed the connection"),
    ],
)
def test_what_a_server_does_to_an_inference_is_a_sentence(
    server: KServe, fault: tuple[int, str] | str, words: str
) -> None:
    """Refusals, damaged answers and closed connections are BackendErrors that say what happened."""
    worker = load(server.location).worker()
    server.fault = fault
    worker.enqueue(0, 1)
    with pytest.raises(BackendError, match=words):
        worker.wait(0)


def test_another_model_in_its_place_is_told(server: KServe) -> None:
    """An answer without the outputs that the model had names both."""
    worker = load(server.location).worker()
    server.model = lambda inputs: {"other": np.zeros((1, 1), np.float32)}
    worker.enqueue(0, 1)
    with pytest.raises(BackendError, match=r"left out outputs\n  got: other\n  expected: y"):
        worker.wait(0)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("{url}/v2/models/nix", "has no model 'nix' that is ready\n.*\n  expected: one of mean\n"),
        ("{url}", "names no model of the server"),
        ("http://127.0.0.1:1/v2/models/mean", "cannot be reached"),
        ("http:///v2/models/mean", "not the address of a server"),
    ],
)
def test_addresses_without_a_model_are_sentences(server: KServe, address: str, words: str) -> None:
    """Unknown models are told with those there are; what is no address says how one looks."""
    with pytest.raises(FramepaceError, match=words):
        inspect(address.format(url=server.url))


def test_a_token_is_sent(server: KServe, monkeypatch: pytest.MonkeyPatch) -> None:
    """FRAMEPACE_TOKEN goes into each request."""
    monkeypatch.setenv("FRAMEPACE_TOKEN", "xyz")
    answers(load(server.location), 1)
    assert server.headers["authorization"] == "Bearer xyz"


def test_larger_batches_than_the_server_takes_are_refused(server: KServe) -> None:
    """Before anything runs, with the largest that it takes."""
    with pytest.raises(UsageError, match="at most 8"):
        load(server.location, batch=9)


def test_settings_of_who_loads_the_model_are_refused(server: KServe) -> None:
    """Precision and threads are the server's."""
    plan = ModelPlan(name="mean", model=server.location, backend="server", precision="int8")
    with pytest.raises(UsageError, match="precision is a setting of who loads the model"):
        get_backend("server").load(plan, SystemClock())


def test_open_sizes_are_asked_for() -> None:
    """A server that leaves sizes open is asked as a file is: with the option that gives them."""
    with kserve(shape=[-1, 3, -1, -1]) as server, pytest.raises(ModelError, match="--size 640x480"):
        load(server.location)


def test_a_server_without_extensions_will_do() -> None:
    """Without configuration, statistics and index a model runs, and has no account of the server."""
    with kserve(has_more=False) as server:
        trace = api.bench(server.location, fps=None, scope="model", stop=_SHORT)
        assert not trace.meta.served
        with pytest.raises(ModelError, match="a model that is ready"):
            inspect(f"{server.url}/v2/models/nix")


def test_the_servers_own_numbers_stand_beside_the_clients(server: KServe) -> None:
    """Its parts and what it does not account for add up to the client's inference."""
    trace = api.bench(server.location, fps=200, scope="model", stop=Stop(count=200))
    [row] = api.summary(trace).served
    assert row.parts["queue"] == row.parts["compute"] == row.parts["other"] == 1_000_000
    infer = next(stage.mean for stage in api.summary(trace).frames.stages if stage.name == "infer")
    assert sum(row.parts.values()) == pytest.approx(infer)
    assert row.batch == 1
    assert not row.busy_with_others


def test_requests_are_in_flight_side_by_side(server: KServe) -> None:
    """An open load does not wait for answers: its plan has workers enough, a closed one as many as it asks for."""
    assert api.make_case(server.location, fps=30).plan.engine.workers == 16
    assert api.make_case(server.location, fps=None).plan.engine.workers == 1
    assert api.make_case(server.location, fps=30, settings={"workers": 3}).plan.engine.workers == 3


def test_a_server_that_refuses_everything_fails_the_run_in_its_words(server: KServe) -> None:
    """The first request is part of the set-up, so the run does not begin."""
    server.fault = (503, "Exceeds maximum queue size")
    with pytest.raises(BackendError, match="Exceeds maximum queue size"):
        api.bench(server.location, fps=100, scope="model", stop=_SHORT)


def test_a_server_without_room_for_a_moment_is_asked_again(server: KServe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its answer counts: in the first request, and when answers are compared."""
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        server.fault = None if len(pauses) % 3 == 0 else server.fault

    monkeypatch.setattr("framepace.patience.sleep", pause)
    worker = load(server.location).worker()
    server.fault = (503, "Exceeds maximum queue size")
    worker.prime()
    assert len(pauses) == 3
    server.fault = (503, "Exceeds maximum queue size")
    assert api.accuracy(server.location, server.location, frames=1).agreement.passed
    assert len(pauses) > 3
