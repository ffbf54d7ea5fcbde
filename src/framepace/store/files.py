"""Files: atomic writes, JSON facts, format versions, and the errors of file systems."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec
import numpy as np

from framepace import values
from framepace.errors import StoreError
from framepace.facts.address import without_secrets
from framepace.facts.finding import Explanation
from framepace.redaction import redacted
from framepace.store.migrations import Raw, explanation_with_kinds

_T = TypeVar("_T")
_NO_ROOM = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG}
_FIXES = {
    errno.ENAMETOOLONG: "give a shorter name: a part of a path has at most 255 bytes",
    errno.EROFS: "this file system is read-only: name a folder that can be written to",
    errno.EACCES: "there is no permission: name a folder that you may write to",
    errno.EPERM: "there is no permission: name a folder that you may write to",
    errno.ELOOP: "its symbolic links lead in a circle: name another folder",
    errno.ENOTDIR: "a file is where a folder should be: name another folder",
    errno.EEXIST: "a file is where a folder should be: name another folder",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n)",
}
_LONGEST_PATH = 200  # letters shown
_LARGEST_FACT = 1 << 28  # bytes of a plan, a meta.json or an explanation: a real one has under a thousandth
_PART = re.compile(r"\.framepace-\d+-\d+\.part")
_MARK_WITHIN = 4096
_PROBE = bytes(4096)
_numbers = count()


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path`, made with its folders, so that a reader sees the old file or the new one.

    A link is followed; what is not a regular file, such as /dev/null, is written to as it is. Raises StoreError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            _write_to(path, data)
        else:
            _replace(Path(os.path.realpath(path)), data)
    except (OSError, ValueError) as error:
        raise cannot_write(path, error) from error


def _replace(path: Path, data: bytes) -> None:
    part = _part_in(path.parent)
    try:
        part.write_bytes(data)
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def _write_to(path: Path, data: bytes) -> None:
    """Write to a device or a pipe; a pipe that nobody reads is an error instead of a wait."""
    handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    os.set_blocking(handle, True)
    with os.fdopen(handle, "wb") as file:
        file.write(data)


def write_probe(folder: Path) -> None:
    """Find out whether `folder` can be written to. Raises StoreError."""
    part = _part_in(folder)
    try:
        part.write_bytes(_PROBE)
    except OSError as error:
        raise cannot_write(folder, error) from error
    finally:
        with suppress(OSError):
            part.unlink()


def is_not_ours(path: Path, start: bytes) -> bool:
    """Whether something is there that framepace did not write: what it writes begins with `start`, even if damaged."""
    try:
        content = read(path)
    except StoreError:
        return os.path.lexists(path)
    return not start.startswith(content[: len(start)])


def local(path: Path) -> Path:
    """The path as pyarrow takes it: a relative one with a colon ('cameras:5') would be an address to it."""
    return Path(os.path.abspath(path))


def is_part(name: str) -> bool:
    """Whether a file of that name is one that was being written when its process was killed."""
    return _PART.fullmatch(name) is not None


def _part_in(folder: Path) -> Path:
    return folder / f".framepace-{os.getpid()}-{next(_numbers)}.part"


def save_json(fact: Any, path: Path) -> None:
    """Write a fact as indented JSON, without the secrets of addresses; NumPy values become plain ones.

    Raises StoreError.
    """
    data = msgspec.json.encode(without_secrets(fact), enc_hook=_plain)
    write_atomic(path, msgspec.json.format(data, indent=2))


def named(path: object, what: str) -> Path:
    """A path as the library is given it. Raises UsageError for what is none: 0 would be standard input."""
    if not isinstance(path, str | os.PathLike):
        return values.path(path, what)
    return Path(path)


def load_explanation(path: Path | str) -> Explanation:
    """Read an explanation that `save_json` wrote. Raises StoreError."""
    path = named(path, "explanation")
    return decode(read(path, usual="explanation.json"), Explanation, path, explanation_with_kinds)


def check_replaceable(path: Path, mark: bytes) -> None:
    """Raise StoreError for a file that is there and not one of ours, which have `mark` near their beginning."""
    if not os.path.isfile(path):
        return
    with suppress(OSError):  # what cannot be read says so when it is written
        with path.open("rb") as file:
            start = file.read(_MARK_WITHIN)
        if start and mark not in start:
            fix = "name another file with --out, or replace it with --overwrite"
            raise StoreError("another file is already there", got=path, fix=fix)


def plain_json(fact: Any) -> Any:
    """A fact as JSON values: numbers, texts, lists and mappings."""
    return msgspec.json.decode(msgspec.json.encode(fact, enc_hook=_plain))


def read(path: Path, usual: str | None = None) -> bytes:
    """The bytes of a regular file of reasonable size; `usual` is its name in a folder. Raises StoreError."""
    try:
        with _opened(path) as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_size <= _LARGEST_FACT:
                return file.read(status.st_size)
    except (OSError, ValueError) as error:
        fix = _reading_fix(error, path, usual)
        raise StoreError("the file cannot be read", got=f"{path}: {_reason(error)}", fix=fix) from error
    if not stat.S_ISREG(status.st_mode):
        raise StoreError("the file cannot be read", got=f"{path} is not a regular file", fix="name a file")
    expected = f"at most {_LARGEST_FACT:,} bytes"
    raise StoreError("the file is too large", got=f"{path}: {status.st_size:,} bytes", expected=expected)


def _opened(path: Path) -> BinaryIO:
    """The file, to be read. Not blocking: a pipe without a writer would keep the call."""
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")


def _reading_fix(error: Exception, path: Path, usual: str | None) -> str:
    if isinstance(error, IsADirectoryError) and usual is not None:
        return f"name the file: {path / usual}"
    return "check the path"


def decode(data: bytes, kind: type[_T], path: Path, migrate: Callable[[Raw], Raw] | None = None) -> _T:
    """The fact of type `kind` in JSON `data`, which came from `path`; `migrate` is applied to its raw contents first.

    Raises StoreError.
    """
    try:
        if migrate is not None:
            data = msgspec.json.encode(migrate(msgspec.json.decode(data, type=dict[str, Any])))
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StoreError("the file is damaged", got=f"{path}: {error}", expected=kind.__name__) from error


def check_format(format: str, expected: str, path: Path) -> None:
    """Raise StoreError, naming both, unless the file's format is the expected one ('NAME/VERSION')."""
    if format == expected:
        return
    name, version = expected.split("/")
    other, _, number = format.partition("/")
    if other == name and number.isdigit() and int(number) > int(version):
        older = f"{expected} or older"
        fix = "install a newer framepace: pip install -U framepace"
        raise StoreError(f"{path} was written by a newer framepace", got=format, expected=older, fix=fix)
    raise StoreError(f"{path} has an unknown format", got=format, expected=expected, fix="name another file")


def cannot_write(path: Path, error: Exception) -> StoreError:
    """The error for a failed write to `path`."""
    number = error.errno if isinstance(error, OSError) else None
    got = f"{_shown(path)}: {_reason(error)}"
    if number in _NO_ROOM:
        fix = "free some space or name another folder; what was written before is kept"
        return StoreError("the disk is full", got=got, fix=fix)
    return StoreError("cannot write", got=got, fix=_FIXES.get(number or 0, "name another folder"))


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)


def _shown(path: Path) -> str:
    """A path of readable length."""
    text = redacted(str(path))
    if len(text) <= _LONGEST_PATH:
        return text
    return f"{text[:_LONGEST_PATH]}... ({len(text)} letters)"


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be stored")
