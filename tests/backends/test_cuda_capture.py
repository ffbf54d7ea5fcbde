"""What is asked of CUDA and PyTorch when a request is captured, on doubles of both."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from framepace.devices.capturing import CapturingStream, LibraryGraph
from framepace.devices.cuda import CudaDevice
from framepace.devices.timeline import Timeline


class Result(int):
    """A CUresult."""

    name = "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """The driver API, whose calls succeed."""
    module = MagicMock()
    module.CUevent_record_flags.CU_EVENT_RECORD_EXTERNAL = 1
    module.CUevent_wait_flags.CU_EVENT_WAIT_EXTERNAL = 1
    for name in ("cuEventRecordWithFlags", "cuStreamWaitEvent", "cuGraphLaunch"):
        getattr(module, name).return_value = (Result(0),)
    module.CUgraphExec = int
    bindings = ModuleType("cuda.bindings")
    bindings.driver = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cuda", ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    return module


def test_events_of_a_capture_are_nodes_of_the_graph(driver: MagicMock) -> None:
    """They are recorded and awaited with the flag 'external': without, a replay would not record them."""
    stream = CapturingStream(7)
    event = SimpleNamespace(handle=5)
    stream.record(event)
    stream.wait(event)
    driver.cuEventRecordWithFlags.assert_called_once_with(5, 7, 1)
    driver.cuStreamWaitEvent.assert_called_once_with(7, 5, 1)


def test_what_the_driver_refuses_is_told_in_its_words(driver: MagicMock) -> None:
    """With the name and number of the error."""
    driver.cuEventRecordWithFlags.return_value = (Result(901),)
    with pytest.raises(RuntimeError, match=r"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED \(901\)"):
        CapturingStream(7).record(SimpleNamespace(handle=5))


def test_a_graph_of_a_library_is_launched_by_its_handle_and_freed_once(driver: MagicMock) -> None:
    """Closing twice frees it once."""
    freed: list[int] = []
    graph = LibraryGraph(11, lambda: freed.append(1))
    graph.launch(SimpleNamespace(handle=3))
    driver.cuGraphLaunch.assert_called_once_with(11, 3)
    graph.close()
    graph.close()
    assert freed == [1]


def test_the_thread_of_the_devices_clock_breaks_no_capture_of_another(driver: MagicMock) -> None:
    """Before it waits for its first event it lets go of the mode in which that is forbidden."""
    order = MagicMock()
    driver.cuThreadExchangeStreamCaptureMode = order.mode
    ending = MagicMock()
    ending.wait.side_effect = lambda seconds: order.wait() and True
    order.wait.return_value = True
    Timeline(MagicMock())._loop(ending, MagicMock(), MagicMock())
    assert [call[0] for call in order.mock_calls] == ["mode", "wait"]


def test_after_its_first_launch_a_graph_is_launched_with_the_lock_held(driver: MagicMock) -> None:
    """The first one is the bindings'; one that the driver then refuses is told in the words of the bindings."""
    codes = iter([0, 0, 719])
    launched = MagicMock(side_effect=lambda *given: next(codes))
    graph = LibraryGraph(11, lambda: None, SimpleNamespace(cuGraphLaunch=launched))
    for _ in range(3):
        graph.launch(SimpleNamespace(handle=3))
    assert (driver.cuGraphLaunch.call_count, launched.call_args_list) == (1, [((11, 3),)] * 2)
    driver.cuGraphLaunch.return_value = (Result(719),)
    with pytest.raises(RuntimeError, match=r"\(719\)"):
        graph.launch(SimpleNamespace(handle=3))


@pytest.mark.parametrize("breaks", ["work", "end"])
def test_a_capture_that_breaks_is_ended_and_its_stream_is_not_used_again(driver: MagicMock, breaks: str) -> None:
    """By the driver itself: cuda-core refuses to end what was invalidated. The next capture has another stream."""
    device: Any = object.__new__(CudaDevice)
    streams = [SimpleNamespace(handle=handle, core=MagicMock()) for handle in (7, 8)]
    device._driver, device._capture_stream, device.stream = driver, None, iter(streams).__next__

    def work(stream: Any) -> None:
        if breaks == "work":
            raise RuntimeError("not permitted")

    if breaks == "end":
        streams[0].core.create_graph_builder().end_building.side_effect = RuntimeError("not permitted")
    with pytest.raises(RuntimeError, match="not permitted"):
        device.capture(work)
    driver.cuStreamEndCapture.assert_called_once_with(7)
    device.capture(lambda stream: None)
    assert device._capture_stream is streams[1]
    device.capture(lambda stream: None)
    driver.cuStreamEndCapture.assert_called_once_with(7)


class TorchGraph:
    """A graph of PyTorch that notes what is asked of it."""

    def __init__(self, noted: list[str]) -> None:
        self.noted = noted

    def capture_begin(self, pool: Any, capture_error_mode: str) -> None:
        """See torch.cuda.CUDAGraph."""
        self.noted.append(f"begin {pool} {capture_error_mode}")

    def capture_end(self) -> None:
        """See torch.cuda.CUDAGraph."""
        self.noted.append("end")

    def raw_cuda_graph_exec(self) -> int:
        """See torch.cuda.CUDAGraph."""
        return 11

    def reset(self) -> None:
        """See torch.cuda.CUDAGraph."""
        self.noted.append("reset")


@pytest.fixture
def noted(driver: MagicMock, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of PyTorch."""
    torch = pytest.importorskip("torch")
    calls: list[str] = []
    pools = iter(range(9))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: TorchGraph(calls))
    monkeypatch.setattr(torch.cuda, "ExternalStream", MagicMock())
    monkeypatch.setattr(torch.cuda, "stream", MagicMock())
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: next(pools))
    return calls


def graphs() -> Any:
    """The captures of a worker."""
    from framepace.backends.torch.cudagraph import CudaGraphs

    device = MagicMock()
    device.stream.return_value = SimpleNamespace(handle=7)
    return CudaGraphs(device, "cuda:0")


def test_pytorch_captures_after_warm_up_and_frees_what_it_captured(noted: list[str], driver: MagicMock) -> None:
    """Three runs on a plain stream, one within the capture, whose events are the graph's; closing resets it."""
    graph = graphs().capture(lambda stream: noted.append(type(stream).__name__))
    assert noted == [*["SimpleNamespace"] * 3, "begin 0 thread_local", "CapturingStream", "end"]
    graph.launch(SimpleNamespace(handle=3))
    driver.cuGraphLaunch.assert_called_once_with(11, 3)
    graph.close()
    assert noted[-1] == "reset"


def test_after_a_capture_that_fails_pytorch_can_capture_again(noted: list[str]) -> None:
    """The capture is ended, what broke it is raised, and the next one has a memory pool of its own."""

    def broken(stream: Any) -> None:
        if isinstance(stream, CapturingStream):
            raise RuntimeError("operation not permitted when stream is capturing")

    capturing = graphs()
    with pytest.raises(RuntimeError, match="not permitted"):
        capturing.capture(broken)
    assert noted == ["begin 0 thread_local", "end"]
    capturing.capture(lambda stream: None)
    assert noted[2] == "begin 1 thread_local"
