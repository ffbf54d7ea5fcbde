"""Blocks of memory that several processes map, and that are gone with the last of them, however they end.

On Linux a block has no name in any file system (memfd_create(2)): nothing is left when a whole group of processes is
killed, and neither a small nor a read-only /dev/shm is in the way. Others open it through the owner's descriptor. Where
that cannot be done it is POSIX shared memory, which is unlinked when its owner closes it or ends.
"""

from __future__ import annotations

import itertools
import mmap
import os
from contextlib import suppress
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any, Protocol

from framepace.errors import BackendError

_NUMBERS = itertools.count()
_DESCRIPTORS = Path("/proc/self/fd")


class Block(Protocol):
    """Memory; `name` is how other processes attach to it."""

    name: str
    size: int

    @property
    def buf(self) -> Any:
        """The bytes."""

    def close(self) -> None:
        """Let go of it. Idempotent."""


def create(size: int) -> Block:
    """A new block of `size` bytes, all of them available. Raises BackendError if they are not."""
    try:
        if hasattr(os, "memfd_create") and _DESCRIPTORS.is_dir():
            return _Nameless.create(size)
        return _Named(SharedMemory(create=True, size=size), owner=True)
    except OSError as error:
        fix = "free memory, raise 'ulimit -v' and 'ulimit -n', or use smaller pictures or batches"
        raise BackendError(
            "there is no memory to share pictures with other processes",
            got=f"{error.strerror} for {size} bytes",
            fix=fix,
        ) from error


def attach(name: str) -> Block:
    """The block that another process calls `name`. Raises BackendError if it cannot be opened."""
    try:
        if name.startswith("/proc/"):
            return _Nameless.attach(name)
        return _Named(SharedMemory(name), owner=False)
    except OSError as error:
        fix = "use another strategy than 'processes'"
        raise BackendError("the pictures of another process cannot be read", got=error, fix=fix) from error


class _Nameless:
    """A block that is a descriptor of its owner."""

    def __init__(self, name: str, descriptor: int, size: int) -> None:
        self.name = name
        self.size = size
        self._descriptor = descriptor
        self._map: mmap.mmap | None = mmap.mmap(descriptor, size)

    @classmethod
    def create(cls, size: int) -> _Nameless:
        """See `create`."""
        descriptor = os.memfd_create("framepace-pictures")
        try:
            os.posix_fallocate(descriptor, 0, size)  # writing to a page that cannot be had would be SIGBUS
            # Numbered: a descriptor that was closed is used again.
            return cls(f"/proc/{os.getpid()}/fd/{descriptor}#{next(_NUMBERS)}", descriptor, size)
        except BaseException:
            os.close(descriptor)
            raise

    @classmethod
    def attach(cls, name: str) -> _Nameless:
        """See `attach`."""
        descriptor = os.open(name.partition("#")[0], os.O_RDWR)
        try:
            return cls(name, descriptor, os.fstat(descriptor).st_size)
        except BaseException:
            os.close(descriptor)
            raise

    @property
    def buf(self) -> Any:
        """See Block."""
        return self._map

    def close(self) -> None:
        """See Block; memory that an array still shows goes with the array."""
        if self._map is None:
            return
        with suppress(BufferError):
            self._map.close()
        self._map = None
        os.close(self._descriptor)


class _Named:
    """POSIX shared memory; its owner unlinks it."""

    def __init__(self, memory: SharedMemory, owner: bool) -> None:
        self.name = memory.name
        self.size = memory.size
        self._memory = memory
        self._owner = owner
        if owner:
            self._allocate()

    @property
    def buf(self) -> Any:
        """See Block."""
        return self._memory.buf

    def close(self) -> None:
        """See Block."""
        with suppress(BufferError):
            self._memory.close()
        if self._owner:
            self._owner = False
            self._memory.unlink()

    def _allocate(self) -> None:
        """Make sure that all pages are there. Raises OSError, with nothing left."""
        path = Path("/dev/shm") / self.name
        if not path.is_file():
            return
        try:
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, self.size)
        except OSError:
            self.close()
            raise
