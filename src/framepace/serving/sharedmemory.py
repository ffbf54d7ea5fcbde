"""Shared memory: regions that clients register, and tensors in them, which travel without a body."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from framepace.openinference.datatypes import BYTES, dtype_of, item_size
from framepace.openinference.errors import RequestError
from framepace.openinference.messages import Input, Region
from framepace.openinference.tensors import from_bytes
from framepace.serving import cudamemory, systemmemory
from framepace.serving.cudamemory import IpcDriver, cuda_driver
from framepace.serving.memory import Kind, Memory

MOST_REGIONS = 10_000


class SharedTensor(Struct, frozen=True, eq=False):
    """An input that lies in shared memory, row by row; it is read when it is written into the model's input."""

    memory: Memory
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read(self, axis: int | None, index: int, into: NDArray[Any]) -> None:
        """Read one item along the batch axis (all where it has none) into an array. Raises RequestError."""
        if axis not in (None, 0) or not into.flags.c_contiguous:
            whole = np.empty(self.shape, self.dtype)
            self._read(0, whole)
            into[...] = whole if axis is None else np.take(whole, index, axis)
            return
        self._read(0 if axis is None else index * into.nbytes, into)

    def _read(self, offset: int, into: NDArray[Any]) -> None:
        if into.nbytes:
            self.memory.read(self.offset + offset, into.reshape(-1).view(np.uint8).data)


class SharedMemory:
    """The registered regions by name.

    Args:
        allowed: whether clients may register any.
        cuda: makes the driver of GPUs when it is needed, or None where there is none; by default that of this machine.
    """

    def __init__(self, allowed: bool = True, cuda: Callable[[], IpcDriver | None] | None = None) -> None:
        self._allowed = allowed
        self._regions: dict[str, Memory] = {}
        self._lock = threading.Lock()
        self._cuda = lru_cache(maxsize=1)(cuda or cuda_driver)

    @property
    def takes_cuda(self) -> bool:
        """Whether memory of a GPU can be registered."""
        return self._allowed and self._cuda() is not None

    def register(self, name: str, key: str, offset: int, size: int) -> None:
        """Register a part of a POSIX shared memory object. Raises RequestError."""
        with self._adding(name):
            self._regions[name] = systemmemory.opened(name, key, offset, size)

    def register_cuda(self, name: str, handle: bytes, device: int, size: int) -> None:
        """Register memory of a GPU by its IPC handle. Raises RequestError."""
        with self._adding(name):
            self._regions[name] = cudamemory.opened(name, handle, device, size, self._cuda())

    @contextmanager
    def _adding(self, name: str) -> Iterator[None]:
        """A region of that name may be added. Raises RequestError."""
        if not self._allowed:
            raise RequestError("this server takes no shared memory: start it with --shared-memory", "unsupported")
        with self._lock:
            if name in self._regions:
                raise RequestError(f"shared memory region '{name}' already in manager")
            if len(self._regions) >= MOST_REGIONS:
                raise RequestError(f"there are {MOST_REGIONS} shared memory regions already", "exhausted")
            yield

    def unregister(self, name: str = "", kind: Kind = "system") -> None:
        """Forget a region, or all of a kind; requests that use it are still answered. Raises RequestError."""
        with self._lock:
            if not name:
                self._regions = {key: region for key, region in self._regions.items() if region.kind != kind}
                return
            region = self._regions.get(name)
            if region is not None and region.kind != kind:
                raise RequestError(f"shared memory region '{name}' is {region.kind} shared memory, not {kind}")
            self._regions.pop(name, None)

    def status(self, name: str = "", kind: Kind = "system") -> list[dict[str, Any]]:
        """One region, or all of a kind. Raises RequestError for one that is not there."""
        with self._lock:
            regions = {key: region for key, region in self._regions.items() if region.kind == kind}
        if not name:
            return [region.document() for region in regions.values()]
        if name not in regions:
            raise RequestError(f"Unable to find {kind} shared memory region: '{name}'", "not found")
        return [regions[name].document()]

    def tensor(self, sent: Input, model: str) -> NDArray[Any] | SharedTensor:
        """An input that lies in shared memory. Raises RequestError where it does not fit."""
        assert sent.region is not None
        memory = self.memory(sent.region)
        region = sent.region
        if sent.datatype in (BYTES, "BOOL"):
            data = bytearray(region.size)
            memory.read(region.offset, memoryview(data))
            return from_bytes(data, sent.name, sent.datatype, sent.shape, model)
        expected = prod(sent.shape) * item_size(sent.datatype)
        if region.size != expected:
            where = f"for input '{sent.name}' for model '{model}'"
            raise RequestError(f"input byte size mismatch {where}. Expected {expected}, got {region.size}")
        return SharedTensor(memory, region.offset, sent.shape, dtype_of(sent.datatype))

    def memory(self, region: Region) -> Memory:
        """The registered region that a part lies in. Raises RequestError."""
        memory = self._regions.get(region.name)  # without the lock: opening a GPU for another one takes long
        if memory is None:
            raise RequestError(f"Unable to find shared memory region: '{region.name}'", "not found")
        if region.offset > memory.size:
            raise RequestError(f"Invalid offset for shared memory region: '{region.name}'")
        if region.offset + region.size > memory.size:
            raise RequestError(f"Invalid offset + byte size for shared memory region: '{region.name}'")
        return memory
