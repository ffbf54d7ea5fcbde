"""The calls of the CUDA driver, with a double of cuda-bindings that takes what the real ones take, and no more."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from enum import IntEnum
from types import ModuleType
from typing import Any

import pytest

from framepace.serving.cudamemory import CudaDriver

HANDLE = bytes(range(64))
Copy = Callable[[], object]


class Result(IntEnum):
    """Errors, the first of every answer."""

    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_INVALID_DEVICE = 101


class Handle:
    """A CUipcMemHandle: opaque, with an address and nothing else (cuda-bindings 13.4)."""

    __slots__ = ("_bytes",)

    def __init__(self) -> None:
        self._bytes = (ctypes.c_char * 64)()

    def getPtr(self) -> int:  # its name there
        """Where its bytes are."""
        return ctypes.addressof(self._bytes)


class Bindings(ModuleType):
    """cuda.bindings.driver of a machine with one GPU, whose memory is `memory`; `contexts` are those of the thread.

    A stream is its `copies`, which are not made before it is waited for.
    """

    CUipcMemHandle = Handle

    class CUipcMem_flags(IntEnum):
        """The only one."""

        CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS = 1

    class CUstream_flags(IntEnum):
        """The only one that is used."""

        CU_STREAM_NON_BLOCKING = 1

    def __init__(self) -> None:
        super().__init__("driver")
        self.memory = (ctypes.c_char * 128)()
        self.address = ctypes.addressof(self.memory)
        self.contexts: list[str] = []
        self.closed: list[int] = []
        self.copies: list[list[Copy]] = []

    def __getattr__(self, name: str) -> Any:
        """The function `cuX` is the method `_x`; it answers a tuple with the error first."""
        method = getattr(type(self), f"_{name.removeprefix('cu').lower()}", None)
        if method is None:
            raise AttributeError(name)
        return lambda *args: method(self, *args)

    def _init(self, flags: int) -> Any:
        return (Result.CUDA_SUCCESS,)

    def _devicegetcount(self) -> Any:
        return Result.CUDA_SUCCESS, 1

    def _deviceget(self, ordinal: int) -> Any:
        return (Result.CUDA_SUCCESS, ordinal) if ordinal == 0 else (Result.CUDA_ERROR_INVALID_DEVICE, None)

    def _deviceprimaryctxretain(self, device: int) -> Any:
        return Result.CUDA_SUCCESS, "primary"

    def _ctxpushcurrent(self, context: str) -> Any:
        self.contexts.append(context)
        return (Result.CUDA_SUCCESS,)

    def _ctxpopcurrent(self) -> Any:
        return Result.CUDA_SUCCESS, self.contexts.pop()

    def _ipcopenmemhandle(self, handle: Handle, flags: int) -> Any:
        if not isinstance(handle, Handle):
            raise TypeError(handle)
        assert (self.contexts, flags) == (["primary"], 1)
        is_ours = ctypes.string_at(handle.getPtr(), 64) == HANDLE
        return (Result.CUDA_SUCCESS, self.address) if is_ours else (Result.CUDA_ERROR_INVALID_VALUE, 0)

    def _ipcclosememhandle(self, address: int) -> Any:
        self.closed.append(address)
        return (Result.CUDA_SUCCESS,)

    def _memgetaddressrange(self, address: int) -> Any:
        return Result.CUDA_SUCCESS, self.address, len(self.memory)

    def _streamcreate(self, flags: int) -> Any:
        assert (self.contexts, flags) == (["primary"], 1)
        self.copies.append([])
        return Result.CUDA_SUCCESS, self.copies[-1]

    def _streamsynchronize(self, stream: list[Copy]) -> Any:
        assert self.contexts == ["primary"]
        while stream:
            stream.pop(0)()
        return (Result.CUDA_SUCCESS,)

    def _memcpydtohasync(self, into: Any, address: int, count: int, stream: list[Copy]) -> Any:
        def copy() -> None:
            memoryview(into).cast("B")[:] = ctypes.string_at(address, count)

        assert self.contexts == ["primary"]
        stream.append(copy)
        return (Result.CUDA_SUCCESS,)

    def _memcpyhtodasync(self, address: int, data: Any, count: int, stream: list[Copy]) -> Any:
        assert self.contexts == ["primary"]
        stream.append(lambda: ctypes.memmove(address, bytes(data), count))
        return (Result.CUDA_SUCCESS,)


@pytest.fixture
def bindings(monkeypatch: pytest.MonkeyPatch) -> Bindings:
    """cuda-bindings of this process from now on."""
    double = Bindings()
    package = ModuleType("cuda.bindings")
    package.driver = double  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cuda", ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", package)
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", double)
    return double


def test_memory_of_a_handle_is_read_and_written_in_its_context(bindings: Bindings) -> None:
    """On one stream that is waited for; and what the thread had before is current again after every call."""
    driver = CudaDriver()
    address = driver.open(HANDLE, 0)
    assert driver.size(address + 28, 0) == 100
    driver.write(address + 4, memoryview(b"written"), 0)
    into = bytearray(9)
    driver.read(address + 3, memoryview(into), 0)
    assert bytes(into) == b"\0written\0"
    driver.close(address, 0)
    assert (bindings.closed, bindings.contexts, bindings.copies) == ([address], [], [[]])


def test_what_the_driver_refuses_is_named_by_it(bindings: Bindings) -> None:
    """A handle that is none, a GPU that is not there."""
    driver = CudaDriver()
    with pytest.raises(RuntimeError, match=r"CUDA_ERROR_INVALID_VALUE \(1\)"):
        driver.open(bytes(64), 0)
    with pytest.raises(RuntimeError, match=r"CUDA_ERROR_INVALID_DEVICE \(101\)"):
        driver.open(HANDLE, 3)
    assert bindings.contexts == []


def test_a_handle_has_an_address_in_the_real_bindings() -> None:
    """Its bytes are reached by that alone."""
    driver = pytest.importorskip("cuda.bindings.driver")
    handle = driver.CUipcMemHandle()
    ctypes.memmove(handle.getPtr(), HANDLE, 64)
    assert ctypes.string_at(handle.getPtr(), 64) == HANDLE


def test_a_machine_without_a_gpu_has_no_driver(bindings: Bindings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the library is there."""
    monkeypatch.setattr(Bindings, "_devicegetcount", lambda self: (Result.CUDA_SUCCESS, 0))
    with pytest.raises(RuntimeError, match="no GPU"):
        CudaDriver()
