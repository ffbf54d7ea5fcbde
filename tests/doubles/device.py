"""A double of the device layer: streams in virtual time, memory that holds bytes, copies of known length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.devices.protocol import Event
from framepace.errors import BackendError, DeviceLost, DeviceMemoryError, FramepaceError
from framepace.testing import FakeClock
from tests.doubles.painter import HostKernel


class ScriptedEvent:
    """A point in device time; reached when the host's clock is there."""

    def __init__(self, device: ScriptedDevice, blocking: bool) -> None:
        self.device, self.blocking, self.time = device, blocking, 0

    def sync(self) -> None:
        """Spin until it is reached."""
        if self.device.lost:
            raise RuntimeError("CUDA_ERROR_LAUNCH_FAILED")
        self.device.syncs += 1
        self.device.clock.spin_until(self.time)


class ScriptedStream:
    """Work in order: `free` is when the last of it ends."""

    def __init__(self, device: ScriptedDevice, handle: int) -> None:
        self.device, self.handle, self.free = device, handle, 0

    def run(self, duration: int, work: Callable[[], object] = lambda: None) -> None:
        """Enqueue work of `duration` ns."""
        self.device.calls.append("run")
        self.free = max(self.free, self.device.clock.now()) + duration
        work()

    def record(self, event: Any) -> None:
        """See Stream."""
        self.device.calls.append("record")
        event.time = self.free = max(self.free, self.device.clock.now())

    def wait(self, event: Any) -> None:
        """See Stream."""
        self.device.calls.append("wait")
        self.free = max(self.free, event.time)


class ScriptedStamps:
    """See Stamps: moments that are noted as events are."""

    def __init__(self, device: ScriptedDevice, count: int) -> None:
        self._moments = [ScriptedEvent(device, blocking=False) for _ in range(count)]

    def note(self, place: int, stream: Any) -> None:
        """See Stamps."""
        stream.record(self._moments[place])

    def end(self, event: Any, stream: Any) -> None:
        """See Stamps."""
        stream.record(event)

    def read(self) -> list[int]:
        """See Stamps."""
        return [moment.time for moment in self._moments]


class CapturingStream:
    """Notes the work, and does none of it."""

    handle = 0

    def __init__(self) -> None:
        self.nodes: list[Callable[[ScriptedStream], None]] = []

    def run(self, duration: int, work: Callable[[], object] = lambda: None) -> None:
        """See ScriptedStream."""
        self.nodes.append(lambda stream: stream.run(duration, work))

    def record(self, event: Any) -> None:
        """See Stream."""
        self.nodes.append(lambda stream: stream.record(event))

    def wait(self, event: Any) -> None:
        """See Stream."""
        self.nodes.append(lambda stream: stream.wait(event))


class ScriptedMemory:
    """Device memory as an array of bytes."""

    def __init__(self, device: ScriptedDevice, size: int) -> None:
        device.held += size
        self._device, self.size, self.data = device, size, np.zeros(size, np.uint8)
        self.pointer = self.data.ctypes.data
        device.addresses[self.pointer] = self.data

    def close(self) -> None:
        """See Memory."""
        self._device.held -= self.size
        self.size = 0


class ScriptedGraph:
    """Work that was captured: what its nodes do counts as no call of the host's."""

    def __init__(self, device: ScriptedDevice, nodes: list[Callable[[ScriptedStream], None]]) -> None:
        self._device, self.nodes, self.launches, self.closed = device, nodes, 0, False

    def launch(self, stream: Any) -> None:
        """See Graph."""
        assert not self.closed
        self.launches += 1
        calls = [*self._device.calls, "launch"]
        for node in self.nodes:
            node(stream)
        self._device.calls[:] = calls

    def close(self) -> None:
        """See Graph."""
        self.closed = True


@dataclass
class ScriptedDevice:
    """See Device. `upload_ns` and `download_ns` are taken a copy; more than `room` bytes cannot be held.

    `calls` are those of the host that enqueue something; captures of `refused` kinds of work fail.
    """

    clock: FakeClock
    upload_ns: int = 0
    download_ns: int = 0
    room: int = 1 << 40
    index: int = 0
    sms: int = 8
    held: int = 0
    syncs: int = 0
    hosts: int = 0
    lost: bool = False
    closed: bool = False
    refused: str = ""
    stamped: int = 0
    calls: list[str] = field(default_factory=list)
    streams: list[ScriptedStream] = field(default_factory=list)
    uploads: list[int] = field(default_factory=list)
    downloads: list[int] = field(default_factory=list)
    graphs: list[ScriptedGraph] = field(default_factory=list)
    addresses: dict[int, NDArray[np.uint8]] = field(default_factory=dict)
    memories: list[ScriptedMemory] = field(default_factory=list)
    kernels: list[HostKernel] = field(default_factory=list)

    def stream(self) -> ScriptedStream:
        """See Device."""
        self.streams.append(ScriptedStream(self, len(self.streams) + 1))
        return self.streams[-1]

    def shared_stream(self) -> ScriptedStream:
        """See Device."""
        return self.stream() if not self.streams else self.streams[0]

    def event(self, blocking: bool = False) -> ScriptedEvent:
        """See Device."""
        return ScriptedEvent(self, blocking)

    def is_reached(self, event: Any) -> bool:
        """See Device."""
        return not self.lost and self.clock.now() >= event.time

    def host(self, shape: tuple[int, ...], dtype: str, pinned: bool) -> NDArray[Any]:
        """See Device."""
        self.hosts += 1
        return np.zeros(shape, dtype)

    def memory(self, size: int) -> ScriptedMemory:
        """See Device."""
        if self.held + size > self.room:
            raise DeviceMemoryError("too little memory", got=size)
        self.memories.append(ScriptedMemory(self, size))
        return self.memories[-1]

    def upload(self, memory: Any, array: NDArray[Any], size: int, stream: Any) -> None:
        """See Device."""

        def work() -> None:
            memory.data[:size] = np.ascontiguousarray(array).view(np.uint8).reshape(-1)[:size]
            self.uploads.append(size)

        self._refuse("copy", stream)
        stream.run(self.upload_ns, work)

    def download(self, array: NDArray[Any], memory: Any, size: int, stream: Any) -> None:
        """See Device."""
        source = self.addresses[memory.pointer]

        def work() -> None:
            array.view(np.uint8).reshape(-1)[:size] = source[:size]
            self.downloads.append(size)

        self._refuse("copy", stream)
        stream.run(self.download_ns, work)

    def _refuse(self, kind: str, stream: Any) -> None:
        if self.refused == kind and isinstance(stream, CapturingStream):
            raise RuntimeError("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED (900)")

    def elapsed(self, first: Event, second: Event) -> float:
        """See Device."""
        return float(second.time - first.time)  # type: ignore[attr-defined]

    def at(self, event: Event) -> int:
        """See Device."""
        return int(event.time)  # type: ignore[attr-defined]

    def capture(self, work: Callable[[Any], object]) -> ScriptedGraph:
        """See Device."""
        stream = CapturingStream()
        work(stream)
        self.graphs.append(ScriptedGraph(self, stream.nodes))
        return self.graphs[-1]

    def stamps(self, count: int) -> ScriptedStamps | None:
        """See Device."""
        if self.refused == "stamp":
            return None
        self.stamped += 1
        return ScriptedStamps(self, count)

    def compile(self, text: str, name: str) -> HostKernel:
        """See Device."""
        self.kernels.append(HostKernel(text))
        return self.kernels[-1]

    def await_decoder(self, stream: Any, event: Any) -> None:
        """See Device."""
        self.calls.append("await decoder")

    def error(self, error: Exception, doing: str) -> FramepaceError:
        """See Device."""
        if isinstance(error, FramepaceError):
            return error
        kind = DeviceLost if "LAUNCH_FAILED" in str(error) else BackendError
        return kind(str(error))

    def sm_clock(self) -> int:
        """See Device."""
        return 1980

    def close(self) -> None:
        """See Device."""
        self.closed = True
        for memory in self.memories:
            memory.close()
