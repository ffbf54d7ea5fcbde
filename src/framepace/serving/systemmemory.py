"""System shared memory: POSIX objects of this machine, by their keys.

They are read by preadv(2) and written by pwritev(2), not mapped: where a client makes its memory smaller meanwhile, a
read falls short, while a mapping would end the server (SIGBUS).
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from framepace.openinference.errors import RequestError
from framepace.openinference.messages import LARGEST
from framepace.serving.memory import Kind

_FOLDER = "/dev/shm"  # where POSIX shared memory is a file on Linux
_RESERVED = "triton_python_backend_shm_region_"


@dataclass(frozen=True, eq=False)
class SystemMemory:
    """A part of a POSIX shared memory object. See Memory."""

    name: str
    key: str
    offset: int
    size: int
    file: int
    kind: Kind = "system"
    _closing: Any = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_closing", weakref.finalize(self, os.close, self.file))

    def document(self) -> dict[str, Any]:
        """See Memory."""
        return {"name": self.name, "key": self.key, "offset": self.offset, "byte_size": self.size}

    def read(self, offset: int, into: memoryview) -> None:
        """See Memory."""
        if os.preadv(self.file, [into], self.offset + offset) != len(into):
            raise self._shrunk

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """See Memory."""
        if self.has_shrunk(offset + len(data)):
            raise self._shrunk
        os.pwritev(self.file, [data], self.offset + offset)

    def has_shrunk(self, size: int) -> bool:
        """Whether the object is too small by now for so many bytes of the region."""
        return os.fstat(self.file).st_size < self.offset + size

    @property
    def _shrunk(self) -> RequestError:
        return RequestError(f"shared memory region '{self.name}' is smaller than it was registered")


def opened(name: str, key: str, offset: int, size: int) -> SystemMemory:
    """The region of a key. Raises RequestError where there is none, or none of that size."""
    if key.removeprefix("/").startswith(_RESERVED):
        raise RequestError(f"cannot register shared memory region '{name}' with key '{key}': the key is reserved")
    invalid = RequestError(f"failed to register shared memory region '{name}': invalid args")
    if not (0 < size <= LARGEST and 0 <= offset <= LARGEST):
        raise invalid
    memory = SystemMemory(name, key, offset, size, _file(key))
    if memory.has_shrunk(size):
        raise invalid
    return memory


def _file(key: str) -> int:
    """The file of a POSIX shared memory object. Raises RequestError; only files right in the folder are any."""
    plain = key.removeprefix("/")
    with _unable(key):
        if not plain or "/" in plain or "\0" in plain or plain in (".", ".."):
            raise FileNotFoundError(key)
        return os.open(f"{_FOLDER}/{plain}", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)


@contextmanager
def _unable(key: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError):
        raise RequestError(f"Unable to open shared memory region: '{key}'") from None
