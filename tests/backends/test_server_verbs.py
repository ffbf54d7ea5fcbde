"""The verbs with a server's model: sweep, capacity, explain, replays, and servers that end in the middle."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from framepace import api
from framepace.explaining.causes import CAUSES
from framepace.explaining.draft import Draft
from framepace.explaining.served import causes_for
from framepace.facts.workload import Poisson, Replay, Stop
from tests.doubles.kserve import KServe, kserve


@pytest.fixture
def server() -> Iterator[KServe]:
    """A server with a model that says the mean of a picture."""
    with kserve() as running:
        yield running


@pytest.mark.long
def test_a_sweep_tells_the_servers_numbers(server: KServe) -> None:
    """A cell per setting, with what the server says of each."""
    found = api.sweep(server.location, {"workers": ["1", "2"]}, fps=200, scope="model", stop=Stop(count=200))
    assert [cell.error for cell in found.cells] == [None, None]
    assert all(cell.summary is not None and cell.summary.served[0].parts["queue"] == 1e6 for cell in found.cells)


def test_recorded_arrivals_are_replayed_against_a_server(server: KServe, tmp_path: Path) -> None:
    """The gaps of a trace come again, whatever was measured in it."""
    load = Poisson(fps=100)
    first = api.bench(server.location, load=load, scope="model", stop=Stop(count=60), out=tmp_path / "a")
    again = api.bench(server.location, load=Replay(trace=str(tmp_path / "a")), scope="model", stop=Stop(count=60))
    gaps = [np.diff(np.sort(trace.requests["due"]))[:50] for trace in (first, again)]
    assert gaps[0].tolist() == gaps[1].tolist()


def test_a_server_that_breaks_in_the_middle_leaves_the_rest_of_the_run(server: KServe) -> None:
    """Requests that it refused are failed rows in its words; those before are measured."""

    def model(inputs: dict[str, Any]) -> dict[str, Any]:
        if len(server.items) > 150:
            server.fault = (500, "the model broke")
        return {"y": np.zeros((1, 1), np.float32)}

    server.model = model
    trace = api.bench(server.location, fps=200, scope="model", stop=Stop(count=300))
    summary = api.summary(trace)
    assert 0 < summary.failed < 1
    assert summary.failure is not None
    assert "the model broke" in summary.failure.reason


def test_an_open_load_does_not_wait_for_slow_answers(server: KServe) -> None:
    """Requests are sent when they are due though each answer takes ten of their periods."""
    lock = threading.Lock()
    at_once = []
    inside = 0

    def model(inputs: dict[str, Any]) -> dict[str, Any]:
        nonlocal inside
        with lock:
            inside += 1
            at_once.append(inside)
        time.sleep(0.05)  # the server's work, which is what is tested
        with lock:
            inside -= 1
        return {"y": np.zeros((1, 1), np.float32)}

    server.model = model
    api.bench(server.location, fps=100, scope="model", stop=Stop(seconds=1.0))
    assert max(at_once) >= 4


def test_causes_within_the_model_are_not_tried(server: KServe) -> None:
    """Threads, precision and clocks are the server's; queues, hooks and the way are the client's."""
    draft = Draft()
    kept = {cause.code for cause in causes_for(api.make_case(server.location).plan, CAUSES, draft)}
    assert {"FP018", "FP024", "FP031"} <= kept
    assert not {"FP001", "FP008", "FP016", "FP020", "FP028"} & kept
    assert "the server loads it" in draft.notes[0]


@pytest.mark.long
def test_explain_says_what_the_servers_numbers_say(server: KServe) -> None:
    """Where the time goes there, and what that asks for."""

    def slow(inputs: dict[str, Any]) -> dict[str, Any]:
        time.sleep(0.004)
        return {"y": np.zeros((inputs["x"].shape[0], 1), np.float32)}

    server.model = slow
    explanation = api.explain(server.location, fps=50, p99_ms=100, time_limit=20)
    told = [note for note in explanation.notes if note.startswith("server, mean:")]
    assert len(told) == 1
    assert "per execution" in told[0]
