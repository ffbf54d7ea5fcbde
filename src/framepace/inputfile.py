"""Files from outside: opened so that neither a pipe, a device nor a size can hang or fill the process."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from framepace.errors import FramepaceError
from framepace.units import format_bytes

_SHOWN_LETTERS = 200  # of a path, in messages
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)
_UNKNOWN_MEMORY_BYTES = 1 << 36  # where the system does not say


@dataclass(frozen=True)
class InputKind:
    """What a file should be ('the model'), and what is said where it is not."""

    noun: str
    error: type[FramepaceError]
    expected: str
    fix: str

    def no_file(self, path: str | Path, name: str) -> FramepaceError:
        """The error for a folder, a pipe or a device."""
        message = f"{self.noun} must be a file, not {name}"
        return self.error(message, got=shown(path), expected=self.expected, fix=self.fix)

    def unreadable(self, path: str | Path, problem: Exception) -> FramepaceError:
        """The error for what a file system, or a library that reads files, has answered."""
        if out_of_descriptors(problem):
            message = f"{self.noun} could not be opened: too many files are open"
            return self.error(message, got=shown(path), fix="close some, or raise the limit (ulimit -n)")
        got = f"{shown(path)}: {getattr(problem, 'strerror', None) or problem}"
        fix = self.fix
        if isinstance(problem, PermissionError):
            fix = f"chmod a+r {shown(path)}"
        return self.error(f"{self.noun} cannot be read", got=got, expected=self.expected, fix=fix)

    def too_large(self, path: str | Path, size: int, limit: int) -> FramepaceError:
        """The error for `size` bytes where at most `limit` can be right."""
        got = f"{shown(path)}: {format_bytes(size)}"
        expected = f"at most {format_bytes(limit)}"
        return self.error(f"{self.noun} is too large", got=got, expected=expected, fix=self.fix)

    def no_memory(self, path: str | Path) -> FramepaceError:
        """The error for what does not fit into the memory of this process."""
        fix = "raise the limit (ulimit -v), or use a smaller file"
        return self.error(f"{self.noun} does not fit into memory", got=shown(path), fix=fix)


class _NoFile(Exception):
    """The name of what is there instead of a file."""


def file_size(path: str | Path, kind: InputKind) -> int:
    """The size in bytes of a regular file. Raises the kind's error for what is none, or cannot be reached."""
    with _explained(path, kind):
        status = os.stat(path)
        _check_mode(status.st_mode)
        return status.st_size


@contextmanager
def opened(path: str | Path, kind: InputKind) -> Iterator[BinaryIO]:
    """A regular file, open for reading. Raises the kind's error for what is none, or cannot be read."""
    with _explained(path, kind):
        file = _open(path)
    with file:
        yield file


def read_file(path: str | Path, kind: InputKind, limit: int) -> bytes:
    """The bytes of a regular file: as many as it has now, and no more.

    Raises the kind's error, also above `limit` bytes and where memory is short.
    """
    with opened(path, kind) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise kind.too_large(path, size, limit)
        with _explained(path, kind):
            return file.read(size)


def shown(path: str | Path) -> str:
    """The path, shortened in the middle where it is too long to read."""
    text = str(path)
    if len(text) <= _SHOWN_LETTERS:
        return text
    half = _SHOWN_LETTERS // 2
    return f"{text[:half]}...{text[-half:]} ({len(text)} letters)"


def memory_bytes() -> int:
    """The memory that this process can have: the machine's, or its own limit (ulimit -v) where that is lower."""
    memory = _UNKNOWN_MEMORY_BYTES
    with suppress(AttributeError, ValueError, OSError):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(ImportError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            memory = min(memory, limit)
    return memory


def out_of_descriptors(error: BaseException) -> bool:
    """Whether what failed says nothing about the file: too many files are open."""
    return getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE)


def _open(path: str | Path) -> BinaryIO:
    # By its kind before it is opened, since opening a device can do things; not blocking, in case it was exchanged.
    _check_mode(os.stat(path).st_mode)
    file = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb")
    try:
        _check_mode(os.fstat(file.fileno()).st_mode)
    except BaseException:
        file.close()
        raise
    return file


def _check_mode(mode: int) -> None:
    for is_kind, name in _KINDS:
        if is_kind(mode):
            raise _NoFile(name)


@contextmanager
def _explained(path: str | Path, kind: InputKind) -> Iterator[None]:
    """Turns what a file system answers into the kind's error."""
    try:
        yield
    except _NoFile as other:
        raise kind.no_file(path, str(other)) from None
    except MemoryError as problem:
        raise kind.no_memory(path) from problem
    except (OSError, ValueError) as problem:  # ValueError: a NUL in the path
        raise kind.unreadable(path, problem) from problem
