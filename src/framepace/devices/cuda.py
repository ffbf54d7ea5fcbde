"""The device layer on CUDA, through cuda-core: streams, events, buffers, copies, graphs, green contexts.

Nothing waits for the whole device. Clocks are read through NVML.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.devices import stamps
from framepace.devices.capturing import CapturingStream, LibraryGraph, check
from framepace.devices.eventreader import EventReader
from framepace.devices.kernels import await_decoder, compiled
from framepace.devices.protocol import Event, Kernel, Stream
from framepace.devices.stamps import CudaStamps, DeviceClock
from framepace.devices.timeline import Timeline
from framepace.errors import BackendError, DeviceLost, DeviceMemoryError, FramepaceError, UsageError
from framepace.facts.smshare import sm_count
from framepace.units import format_bytes

# Errors after which no call in this process's context succeeds any more (CUDA driver API, "CUresult": each of these
# "leaves the process in an inconsistent state").
_LOST = (
    "ILLEGAL_ADDRESS", "LAUNCH_FAILED", "LAUNCH_TIMEOUT", "HARDWARE_STACK_ERROR", "ILLEGAL_INSTRUCTION", "ASSERT",
    "MISALIGNED_ADDRESS", "INVALID_ADDRESS_SPACE", "INVALID_PC", "ECC_UNCORRECTABLE", "DEVICE_UNAVAILABLE", "CONTAINED",
    "NVLINK_UNCORRECTABLE", "UNKNOWN", "EXTERNAL_DEVICE", "TENSOR_IPC_LEAK", "MPS_CLIENT_TERMINATED",
)  # fmt: skip
_STAMP_BYTES = 8
_CAPTURING = threading.RLock()  # captures and the set-up of workers: one at a time in a process


def require_cuda() -> Any:
    """The module cuda.core. Raises UsageError naming the extra where it is not installed."""
    try:
        from cuda import core
    except ImportError as error:
        fix = "install it: pip install 'framepace[cuda]'"
        raise UsageError("running on a GPU needs cuda-core, which is not installed", got=error, fix=fix) from error
    return core


def translate(error: Exception, doing: str) -> FramepaceError:
    """The error of ours for one of CUDA or of a library that passes CUDA's words on."""
    if isinstance(error, FramepaceError):
        return error
    words = " ".join(str(error).split()) or type(error).__name__
    if any(word in words.lower() for word in _TOO_LITTLE):
        return DeviceMemoryError(f"the device has too little memory for {doing}", got=words, fix=_LESS)
    if any(f"CUDA_ERROR_{name}" in words for name in _LOST):
        fix = "look at `nvidia-smi` and the kernel log; start again, in a new process"
        return DeviceLost(f"the device was lost while {doing}", got=words, fix=fix)
    return BackendError(f"CUDA failed while {doing}", got=words, fix=advice(words))


# CUDA's, PyTorch's and TensorRT's words, and those of ONNX Runtime's arena at its limit.
_TOO_LITTLE = (
    "out_of_memory",
    "out of memory",
    "outofmemory",
    "smaller than requested bytes",
    "failed to allocate memory",
)
_LESS = "use a smaller batch, fewer workers or slots, or a lower precision; `nvidia-smi` says who else holds memory"


def advice(words: str) -> str | None:
    """What to do about a failure of CUDA that has a well-known remedy."""
    if "INSUFFICIENT_DRIVER" in words or "driver version is insufficient" in words or "SYSTEM_DRIVER_MISMATCH" in words:
        return "install a newer NVIDIA driver, or libraries built for the CUDA version that `nvidia-smi` shows"
    if "NO_DEVICE" in words or "libcuda" in words or "NOT_INITIALIZED" in words:
        return "`framepace doctor` says what is missing; --set device=cpu runs without a GPU"
    if "cluster misconfiguration" in words:  # seen on an H200 with driver 580: such kernels captured in a green context
        return "--set graph=off: kernels of this network cannot be captured for a part of the SMs; or leave out `sms`"
    return None


def lock_setup() -> Any:
    """Held while a worker is set up: a capture in one thread may not meet an allocation in another."""
    return _CAPTURING


def ordinal(device: str | None) -> int:
    """The CUDA ordinal of 'cuda' or 'cuda:N'."""
    return int((device or "cuda").partition(":")[2] or 0)


@lru_cache
def _physical(index: int) -> Any:
    """The GPU, initialised. Raises BackendError when there is none of that number."""
    core = require_cuda()
    try:
        device = core.Device(index)
        device.set_current()
    except Exception as error:  # no driver, no such device: cuda-core raises several kinds
        count = _count(core)
        if index >= count > 0:
            raise UsageError(f"there is no device cuda:{index}", expected=f"cuda:0 to cuda:{count - 1}") from error
        words = " ".join(str(error).split()) or type(error).__name__
        fix = advice(words) or "`framepace doctor` says what is missing; --set device=cpu runs without a GPU"
        raise BackendError("no CUDA device can be used", got=words, fix=fix) from error
    return device


def _count(core: Any) -> int:
    try:
        return len(core.Device.get_all_devices())
    except Exception:  # no driver
        return 0


def identity(device: str | None) -> dict[str, str]:
    """'name', 'pci_bus_id' and 'compute_capability' ('9.0') of a device, for caches and telemetry."""
    physical = _physical(ordinal(device))
    capability = physical.compute_capability
    return {
        "name": str(physical.name),
        "pci_bus_id": str(physical.pci_bus_id),
        "compute_capability": f"{capability.major}.{capability.minor}",
    }


def free_memory() -> tuple[int, int]:
    """Free and total bytes of the current device; zeros where it does not answer."""
    from cuda.bindings import driver

    error, free, total = driver.cuMemGetInfo()
    if int(error) != 0:
        return 0, 0
    return int(free), int(total)


def open_device(device: str | None, sms: int | str | None = None, index: int = 0) -> CudaDevice:
    """A device for one worker, current in the calling thread.

    With `sms` (a number, or a share: '50%'), worker `index` gets so many SMs of its own; there are as many partitions
    as fit, shared in turn.
    """
    number = ordinal(device)
    physical = _physical(number)
    physical.set_current()  # contexts are current per thread
    context = None
    if sms is not None:
        context = _partition(number, sms, index)
    return CudaDevice(number, physical, context)


@lru_cache
def _groups(number: int, share: int | str) -> tuple[Any, ...]:
    """Green contexts of so many SMs each, as many as the device has room for."""
    core = require_cuda()
    device = _physical(number)
    whole = device.resources.sm
    sms = sm_count(share, whole.sm_count, _step(whole)) or whole.sm_count
    count = whole.sm_count // sms
    if count < 1:
        raise UsageError("the device has fewer SMs", got=sms, expected=f"at most {whole.sm_count}")
    try:
        groups, _ = whole.split(core.SMResourceOptions(count=[sms] * count))
        return tuple(device.create_context(core.ContextOptions(resources=[group])) for group in groups)
    except Exception as error:
        size = getattr(whole, "min_partition_size", "?")
        fix = f"partitions are multiples of {size} SMs here"
        raise UsageError("the device cannot be split like that", got=f"{sms} SMs: {error}", fix=fix) from error


def _step(whole: Any) -> int:
    """SMs of the smallest partition, and of the step between sizes; 1 where this version does not say."""
    sizes = (getattr(whole, name, 1) for name in ("min_partition_size", "coscheduled_alignment"))
    return max(1, *map(int, sizes))


def _partition(number: int, sms: int | str, index: int) -> Any:
    groups = _groups(number, sms)
    return groups[index % len(groups)]


class _Stream:
    """See device.Stream."""

    __slots__ = ("core", "handle", "record", "wait")

    def __init__(self, core: Any) -> None:
        self.core = core
        self.handle = int(core.handle)
        self.record = core.record
        self.wait = core.wait


class _Memory:
    """See device.Memory; plain memory of the driver, not of a pool, so that what is freed is free to everyone."""

    def __init__(self, size: int) -> None:
        from cuda.bindings import driver

        self._driver = driver
        self.size = size
        error, pointer = driver.cuMemAlloc(max(1, size))
        if int(error) != 0:
            free, total = free_memory()
            got = f"{format_bytes(size)} needed, {format_bytes(free)} of {format_bytes(total)} free"
            raise DeviceMemoryError("the device has too little memory for a worker's buffers", got=got, fix=_LESS)
        self.pointer = int(pointer)

    def close(self) -> None:
        if self.pointer:
            self._driver.cuMemFree(self.pointer)
            self.pointer = 0


class CudaDevice:
    """See device.Device."""

    def __init__(self, index: int, core: Any, context: Any = None) -> None:
        from cuda.bindings import driver

        self.index = index
        self._core = core
        self._context = core if context is None else context  # where streams are made: the device, or a part of it
        self._driver = driver
        self.sms = int(self._context.resources.sm.sm_count)
        self.sm_clock = _clock_reader(str(core.pci_bus_id))
        events = EventReader()
        self.elapsed = events.elapsed
        self.is_reached = events.is_reached
        self._timeline = _timeline(index)
        self._timeline.open()
        self._open = ExitStack()
        self._open.callback(self._timeline.close)
        self._closed = False
        self._addresses: dict[int, tuple[int, NDArray[Any]]] = {}
        self._capture_stream: _Stream | None = None

    def stream(self) -> _Stream:
        """See Device."""
        core = self._context.create_stream()
        self._open.callback(core.close)
        return _Stream(core)

    def shared_stream(self) -> _Stream:
        """See Device."""
        return _shared_stream(self.index)

    def event(self, blocking: bool = False) -> Event:
        """See Device."""
        from cuda.core import EventOptions

        event: Event = self._core.create_event(EventOptions(timing_enabled=True, blocking_sync=blocking))
        return event

    def host(self, shape: tuple[int, ...], dtype: str, pinned: bool) -> NDArray[Any]:
        """See Device."""
        kind = np.dtype(dtype)
        if not pinned:
            return self._remember(np.empty(shape, kind))
        size = int(np.prod(shape)) * kind.itemsize
        return self._remember(self._pinned(size)[:size].view(kind).reshape(shape))

    def _pinned(self, size: int) -> NDArray[Any]:
        """Page-locked bytes, one at least; freed with this."""
        size = max(1, size)
        address = _page_locked(size)
        self._open.callback(self._driver.cuMemFreeHost, address)
        return _bytes_at(address, size)

    def _remember(self, array: NDArray[Any]) -> NDArray[Any]:
        """Keep the address of an array: NumPy takes a microsecond to tell it. The array lives as long as this."""
        self._addresses[id(array)] = (array.ctypes.data, array)
        return array

    def _address(self, array: NDArray[Any]) -> int:
        entry = self._addresses.get(id(array))
        if entry is None:
            return int(array.ctypes.data)
        return entry[0]

    def memory(self, size: int) -> _Memory:
        """See Device."""
        memory = _Memory(size)
        self._open.callback(memory.close)
        return memory

    def upload(self, memory: Any, array: NDArray[Any], size: int, stream: Stream) -> None:
        """See Device."""
        check(self._driver.cuMemcpyHtoDAsync(memory.pointer, self._address(array), size, stream.handle))

    def download(self, array: NDArray[Any], memory: Any, size: int, stream: Stream) -> None:
        """See Device."""
        check(self._driver.cuMemcpyDtoHAsync(self._address(array), memory.pointer, size, stream.handle))

    def at(self, event: Any) -> int:
        """See Device."""
        anchor, host = self._timeline.anchor
        return host + round(self.elapsed(anchor, event))

    def capture(self, work: Callable[[Stream], object]) -> LibraryGraph:
        """See Device."""
        with _CAPTURING:
            stream = self._capture_stream = self._capture_stream or self.stream()
            builder = stream.core.create_graph_builder()
            builder.begin_building(mode="thread_local")
            try:
                work(CapturingStream(stream.handle, builder.stream))
                builder.end_building()
            except BaseException:
                # cuda-core does not end a capture that was broken, and a stream in one takes no other work.
                self._driver.cuStreamEndCapture(stream.handle)
                self._capture_stream = None
                raise
            graph = builder.complete()
            return LibraryGraph(int(graph.handle), graph.close)

    def stamps(self, count: int) -> CudaStamps | None:
        """See Device."""
        try:
            kernel = self.compile(stamps.TEXT, "note")
        except BackendError:
            return None
        clock = self._timeline.device_clock(partial(self._device_clock, kernel))
        return CudaStamps(kernel, self.host((count,), "int64", pinned=True), lambda: clock.offset)

    def _device_clock(self, kernel: Kernel) -> DeviceClock:
        """For the life of the process, as the time line is."""
        moment = _bytes_at(_page_locked(_STAMP_BYTES), _STAMP_BYTES).view(np.int64)
        return DeviceClock(kernel, moment, _Stream(self._core.create_stream()), self.event())

    def compile(self, text: str, name: str) -> Kernel:
        """See Device."""
        capability = self._core.compute_capability
        return compiled(text, name, f"{capability.major}.{capability.minor}")

    def await_decoder(self, stream: Stream, event: Event) -> None:
        """See Device."""
        await_decoder(stream, event)

    def error(self, error: Exception, doing: str) -> FramepaceError:
        """See Device."""
        return translate(error, doing)

    def close(self) -> None:
        """See Device."""
        if not self._closed:
            self._closed = True
            with suppress(Exception):  # freeing what a lost device held fails, and nothing is left to do
                self._open.close()


def _page_locked(size: int) -> int:
    """The address of so much page-locked memory. Raises BackendError where the host cannot lock it."""
    from cuda.bindings import driver

    error, address = driver.cuMemAllocHost(size)
    if int(error) != 0:
        fix = "use a smaller batch or fewer slots; transfer=pageable needs none, and copies more slowly"
        raise BackendError("the host cannot lock so much memory", got=f"{format_bytes(size)}: {error}", fix=fix)
    return int(address)


def _bytes_at(address: int, size: int) -> NDArray[Any]:
    raw: Any = (ctypes.c_byte * size).from_address(address)
    return np.frombuffer(raw, np.uint8)


@lru_cache
def _shared_stream(index: int) -> _Stream:
    return _Stream(_physical(index).create_stream())


@lru_cache
def _timeline(index: int) -> Timeline:
    return Timeline(_physical(index))


@lru_cache
def _clock_reader(pci_bus_id: str) -> Callable[[], int]:
    """Reads the SM clock in MHz; -1 without NVML."""
    try:
        from framepace.devices.nvml import ClockReader

        return ClockReader(pci_bus_id).mhz
    except Exception:  # no NVML beside the CUDA driver: containers may have one without the other
        return lambda: -1
