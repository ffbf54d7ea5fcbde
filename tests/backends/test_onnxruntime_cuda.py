"""Sessions of ONNX Runtime on a GPU, on doubles of the device: how they are freed, what is told when one fails."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from msgspec.structs import replace

from framepace.backends.onnxruntime.cuda import WorkerSession, WorkerSessions
from framepace.devices import cuda
from framepace.errors import BackendError, FramepaceError
from framepace.facts.plan import Batching, ModelPlan
from framepace.models.spec import inspect, resolve
from framepace.testing import FakeClock
from tests.doubles.device import ScriptedDevice


def freed(device: MagicMock, graph: bool = False) -> list[str]:
    """What happened, in order, when a session on that device was freed."""
    happened: list[str] = []

    class Session:
        def run(self, *given: Any) -> list[Any]:
            happened.append("awaited run")
            return []

        def get_outputs(self) -> list[Any]:
            return []

        def __del__(self) -> None:
            happened.append("session")

    event = device.event.return_value
    event.sync.side_effect = lambda: happened.append("stream")
    device.close.side_effect = lambda: happened.append("device")
    plan = replace(ModelPlan(name="m", model="builtin:classifier"), graph=graph)
    sessions: Any = WorkerSessions(plan, resolve(inspect(plan.model), plan), MagicMock())
    sessions.free[0] = WorkerSession(device, MagicMock(), Session())
    sessions.close()
    return happened


def test_a_session_is_freed_after_it_has_given_back_its_pinned_memory() -> None:
    """An awaited run makes it do so, in a callback on the stream: else that callback may be the last to hold it."""
    assert freed(MagicMock()) == ["awaited run", "stream", "session", "device"]


def test_a_session_with_a_graph_leaves_no_callback() -> None:
    """And is not run again: a run beside its graph needs memory of its own."""
    assert freed(MagicMock(), graph=True) == ["session", "device"]


def test_a_session_of_a_lost_device_is_freed_all_the_same() -> None:
    """Its stream can no longer be waited for."""
    device = MagicMock()
    device.event.side_effect = RuntimeError("CUDA_ERROR_ILLEGAL_ADDRESS")
    assert freed(device) == ["awaited run", "session", "device"]


class Failing:
    """A session of a network with one output, whose runs on bound memory fail with these words from the `at`-th on."""

    def __init__(self, words: str, at: int = 1) -> None:
        self.words, self.at, self.runs = words, at, 0
        self.io_binding = MagicMock()
        self.released: list[int] = []

    def get_inputs(self) -> list[Any]:
        """See InferenceSession."""
        return []

    def get_outputs(self) -> list[Any]:
        """See InferenceSession."""
        return [SimpleNamespace(name="y", shape=(4, 2))]

    def run(self, *given: Any) -> list[Any]:
        """See InferenceSession."""
        return [np.zeros((4, 2), np.float32)]

    def run_with_iobinding(self, *given: Any) -> None:
        """See InferenceSession."""
        self.runs += 1
        if self.runs >= self.at:
            raise RuntimeError(self.words)

    def release_captured_graph(self, number: int) -> None:
        """See InferenceSession."""
        self.released.append(number)


def failure(session: Failing, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> FramepaceError:
    """What a request on that session is told to have failed with."""
    device: Any = ScriptedDevice(FakeClock())
    monkeypatch.setattr(cuda, "open_device", lambda *_: device)
    plan = ModelPlan(**{"name": "m", "model": "builtin:classifier", "batch": Batching(max=4), **fields})
    sessions = WorkerSessions(plan, resolve(inspect(plan.model), plan), MagicMock())
    sessions.free[0] = WorkerSession(device, device.stream(), session)
    worker = sessions.worker(0, (4,), lambda text: None)
    with pytest.raises(FramepaceError) as raised:
        worker.enqueue(0, 4)
    return raised.value


FAULTS = ("Failed to create CUDA event", "CUDNN_BACKEND_API_FAILED", "CUBLAS failure 14")


@pytest.mark.parametrize("at", [1, 2])  # the first run, and that which captures it
@pytest.mark.parametrize("words", FAULTS)
def test_what_fails_while_a_graph_is_captured_is_told_in_the_librarys_words(
    words: str, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No setting is blamed for it, and no half of a graph is left."""
    session = Failing(words, at)
    error = failure(session, monkeypatch, graph=True)
    assert isinstance(error, BackendError)
    assert words in str(error.got)
    assert error.fix is None
    assert len(session.released) == 1


def test_wrong_inputs_are_no_fault_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the same settings, with a path of the library's own source in its words."""
    words = "/onnxruntime/core/providers/cuda/tensor/reshape.cc:1 the input tensor cannot be reshaped"
    error = failure(Failing(words), monkeypatch, graph=True)
    assert "cannot be reshaped" in str(error.got)
    assert "heuristic" not in str(error.fix)
