"""Sessions of ONNX Runtime on a GPU, on doubles of device and stream: in which order they are freed."""

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

from framepace.backends.onnxruntime.cuda import WorkerSession, WorkerSessions


def freed(device: MagicMock) -> list[str]:
    """What happened, in order, when a session on that device was freed."""
    happened: list[str] = []

    class Session:
        def __del__(self) -> None:
            happened.append("session")

    event = device.event.return_value
    event.sync.side_effect = lambda: happened.append("stream")
    device.close.side_effect = lambda: happened.append("device")
    sessions: Any = WorkerSessions(MagicMock(), MagicMock(), MagicMock())
    sessions.free[0] = WorkerSession(device, MagicMock(), Session())
    sessions.close()
    return happened


def test_a_session_is_freed_after_the_work_on_its_stream() -> None:
    """A callback of the library on the stream holds its allocator, and must not be the last one that does."""
    assert freed(MagicMock()) == ["stream", "session", "device"]


def test_a_session_of_a_lost_device_is_freed_all_the_same() -> None:
    """Its stream can no longer be waited for."""
    device = MagicMock()
    device.event.side_effect = RuntimeError("CUDA_ERROR_ILLEGAL_ADDRESS")
    assert freed(device) == ["session", "device"]
