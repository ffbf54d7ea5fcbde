"""Sessions of ONNX Runtime on a GPU, on doubles of device and stream: in which order they are freed."""

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

from msgspec.structs import replace

from framepace.backends.onnxruntime.cuda import WorkerSession, WorkerSessions
from framepace.facts.plan import ModelPlan
from framepace.models.spec import inspect, resolve


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
