"""The cache: files that take long to make (engines, converted models, timing caches), named by a key.

In $FRAMEPACE_CACHE, else in the system's cache folder of the user. Written atomically, so that an interrupted or a
second process never leaves half a file. Removing the folder loses time, nothing else.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from framepace.errors import StoreError

_LONGEST_NAME = 60


def folder() -> Path:
    """Where cached files are."""
    if chosen := os.environ.get("FRAMEPACE_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "framepace"


def key(*parts: object) -> str:
    """A short name made of everything a file depends on: model hash, settings, versions, device."""
    return hashlib.sha256("\n".join(str(part) for part in parts).encode()).hexdigest()[:20]


def plain(name: str) -> str:
    """`name` as a part of a file's name: short, and without what a file system may refuse."""
    return re.sub(r"[^\w.-]", "_", name)[:_LONGEST_NAME]


def cached(name: str, make: Callable[[], bytes]) -> Path:
    """The file `name` of the cache, made by `make` when it is not there yet."""
    path = folder() / name
    if not path.is_file():
        put(name, make())
    return path


def put(name: str, data: bytes) -> Path:
    """Write the file `name` of the cache. Raises StoreError when it cannot be written."""
    path = folder() / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(part, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(part)
            raise
    except OSError as error:
        fix = "make room, or name another folder with FRAMEPACE_CACHE"
        raise StoreError("the cache cannot be written", got=f"{path}: {error.strerror}", fix=fix) from error
    return path
