"""Files: atomic writes, JSON facts, format versions, and the errors a file system can answer with."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from framepace.errors import StoreError
from framepace.facts.finding import Explanation
from framepace.store.migrations import Raw, explanation_with_kinds

_T = TypeVar("_T")
_NO_ROOM = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG}


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path`, made with its folders, so that a reader sees the old file or the new one.

    Raises StoreError.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise cannot_write(path, error) from error


def save_json(fact: Any, path: Path) -> None:
    """Write a fact as indented JSON; NumPy numbers and arrays become plain ones. Raises StoreError."""
    write_atomic(path, msgspec.json.format(msgspec.json.encode(fact, enc_hook=_plain), indent=2))


def load_explanation(path: Path) -> Explanation:
    """Read an explanation that `save_json` wrote. Raises StoreError."""
    return decode(read(path), Explanation, path, explanation_with_kinds)


def read(path: Path) -> bytes:
    """The bytes of a file. Raises StoreError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError("the file cannot be read", got=f"{path}: {error.strerror}", fix="check the path") from error


def decode(data: bytes, kind: type[_T], path: Path, migrate: Callable[[Raw], Raw] | None = None) -> _T:
    """The fact of type `kind` in JSON `data`, which came from `path`; `migrate` is applied to its raw contents first.

    Raises StoreError.
    """
    try:
        if migrate is not None:
            data = msgspec.json.encode(migrate(msgspec.json.decode(data, type=dict[str, Any])))
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
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


def cannot_write(path: Path, error: OSError) -> StoreError:
    """The error for a failed write to `path`."""
    if error.errno in _NO_ROOM:
        fix = "free some space or name another folder; what was written before is kept"
        return StoreError("the disk is full", got=f"{path}: {error.strerror}", fix=fix)
    return StoreError("cannot write", got=f"{path}: {error.strerror or error}", fix="name another folder")


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be stored")
