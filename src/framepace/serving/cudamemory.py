"""CUDA shared memory: memory of a GPU that another process allocated, by its IPC handle, read and written by copies."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Protocol

from framepace.openinference.errors import RequestError
from framepace.openinference.messages import LARGEST
from framepace.serving.memory import Kind

HANDLE_BYTES = 64  # of a CUipcMemHandle
_MOST_DEVICES = 1 << 31  # numbers of devices are of 32 bits


class IpcDriver(Protocol):
    """What is needed of the CUDA driver. Its methods raise RuntimeError."""

    def open(self, handle: bytes, device: int) -> int:
        """The address here of memory of another process."""
        ...

    def close(self, address: int, device: int) -> None:
        """Give an address back."""
        ...

    def size(self, address: int, device: int) -> int:
        """Bytes from an address to the end of its allocation."""
        ...

    def read(self, address: int, into: memoryview, device: int) -> None:
        """Copy from the GPU; returns when it is done."""
        ...

    def write(self, address: int, data: bytes | memoryview, device: int) -> None:
        """Copy to the GPU; returns when it is done."""
        ...


@dataclass(frozen=True, eq=False)
class CudaMemory:
    """Memory of a GPU at an address of this process. See Memory."""

    name: str
    device: int
    size: int
    address: int
    driver: IpcDriver
    kind: Kind = "cuda"
    _closing: Any = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_closing", weakref.finalize(self, _close, self.driver, self.address, self.device))

    def document(self) -> dict[str, Any]:
        """See Memory."""
        return {"name": self.name, "device_id": self.device, "byte_size": self.size}

    def read(self, offset: int, into: memoryview) -> None:
        """See Memory."""
        with self._told("read"):
            self.driver.read(self.address + offset, into, self.device)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """See Memory."""
        with self._told("written"):
            self.driver.write(self.address + offset, data, self.device)

    @contextmanager
    def _told(self, verb: str) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            message = f"CUDA shared memory region '{self.name}' cannot be {verb}: {error}"
            raise RequestError(message, "internal") from error


def opened(name: str, handle: bytes, device: int, size: int, driver: IpcDriver | None) -> CudaMemory:
    """The memory of a handle. Raises RequestError where it is none, or is smaller than `size`, or there is no GPU."""
    failed = f"failed to register CUDA shared memory region '{name}'"
    if not (0 < size <= LARGEST and 0 <= device < _MOST_DEVICES):
        raise RequestError(f"{failed}: invalid args")
    if driver is None:
        message = f"{failed}: this server reaches no GPU; register system shared memory instead"
        raise RequestError(message, "unsupported")
    if len(handle) != HANDLE_BYTES:
        raise RequestError(f"{failed}: 'raw_handle' has {len(handle)} bytes, expected {HANDLE_BYTES}")
    try:
        memory = CudaMemory(name, device, size, driver.open(handle, device), driver)
        available = driver.size(memory.address, device)
    except RuntimeError as error:
        raise RequestError(f"{failed}: unable to open its handle on GPU {device}: {error}") from error
    if available < size:
        raise RequestError(f"{failed}: it has {available} bytes, and {size} were named")
    return memory


def _close(driver: IpcDriver, address: int, device: int) -> None:
    try:
        driver.close(address, device)
    except RuntimeError:  # whoever allocated it is gone, or the GPU is
        return


def cuda_driver() -> IpcDriver | None:
    """The driver of this machine's GPUs; None where there is none, or nothing to call it with."""
    try:
        if find_spec("cuda.bindings") is None:
            return None
        return CudaDriver()
    except (ImportError, RuntimeError):  # find_spec imports the package `cuda`
        return None


class CudaDriver:
    """IpcDriver over cuda-bindings. Raises RuntimeError where no GPU can be used.

    Each call makes the device's primary context current, which all libraries share, and puts the thread's own back.
    """

    def __init__(self) -> None:
        from cuda.bindings import driver

        self._driver: Any = driver
        self._contexts: dict[int, Any] = {}
        self._streams: dict[int, Any] = {}
        self._value(driver.cuInit(0))
        if not self._value(driver.cuDeviceGetCount()):
            raise RuntimeError("no GPU")

    def open(self, handle: bytes, device: int) -> int:
        """See IpcDriver."""
        opaque = self._driver.CUipcMemHandle()
        ctypes.memmove(opaque.getPtr(), handle, HANDLE_BYTES)  # it has no attribute for its bytes in all versions
        flags = int(self._driver.CUipcMem_flags.CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS)
        with self._on(device):
            return int(self._value(self._driver.cuIpcOpenMemHandle(opaque, flags)))

    def close(self, address: int, device: int) -> None:
        """See IpcDriver."""
        with self._on(device):
            self._value(self._driver.cuIpcCloseMemHandle(address))

    def size(self, address: int, device: int) -> int:
        """See IpcDriver."""
        with self._on(device):
            base, size = self._value(self._driver.cuMemGetAddressRange(address))
        return int(base) + int(size) - address

    def read(self, address: int, into: memoryview, device: int) -> None:
        """See IpcDriver."""
        with self._on(device), self._copying(device) as stream:
            self._value(self._driver.cuMemcpyDtoHAsync(into, address, len(into), stream))

    def write(self, address: int, data: bytes | memoryview, device: int) -> None:
        """See IpcDriver."""
        with self._on(device), self._copying(device) as stream:
            self._value(self._driver.cuMemcpyHtoDAsync(address, data, len(data), stream))

    @contextmanager
    def _copying(self, device: int) -> Iterator[Any]:
        """A stream for a copy, which is there at the end, and nothing else of the device is waited for.

        cuMemcpyHtoD may return before the device has the data (CUDA driver API, "API synchronization behavior"), and
        the kernels of other processes do not queue behind it: one of them was seen to read what was there before.
        """
        stream = self._stream(device)
        yield stream
        self._value(self._driver.cuStreamSynchronize(stream))

    def _stream(self, device: int) -> Any:
        """The stream of all copies; the context of the device is current."""
        if device not in self._streams:
            non_blocking = int(self._driver.CUstream_flags.CU_STREAM_NON_BLOCKING)
            self._streams[device] = self._value(self._driver.cuStreamCreate(non_blocking))
        return self._streams[device]

    @contextmanager
    def _on(self, device: int) -> Iterator[None]:
        self._value(self._driver.cuCtxPushCurrent(self._context(device)))
        try:
            yield
        finally:
            self._value(self._driver.cuCtxPopCurrent())

    def _context(self, device: int) -> Any:
        """The primary context of a device; it is kept, as libraries keep it."""
        if device not in self._contexts:
            number = self._value(self._driver.cuDeviceGet(device))
            self._contexts[device] = self._value(self._driver.cuDevicePrimaryCtxRetain(number))
        return self._contexts[device]

    def _value(self, result: tuple[Any, ...]) -> Any:
        """What a call of the driver returned. Raises RuntimeError for its error."""
        error, *values = result
        if int(error) != 0:
            raise RuntimeError(f"{error.name} ({int(error)})")
        return values[0] if len(values) == 1 else values
