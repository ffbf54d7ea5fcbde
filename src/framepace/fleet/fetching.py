"""What engines write on their hosts, brought to the run's: files are read piece by piece, and replaced whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from framepace.errors import StoreError
from framepace.store.files import cannot_write

_PIECE = 8 << 20  # bytes per call
_UNFINISHED = ".fetched"


class Files(Protocol):
    """Files on an engine's host."""

    def files(self, folder: str) -> dict[str, int]:
        """The files below a folder by their path in it, with their sizes (bytes)."""

    def read(self, path: str, offset: int, size: int) -> bytes:
        """At most so many bytes of a file from `offset` on; none at its end. Raises StoreError."""


def fetch(engine: Files, source: Path, target: Path) -> None:
    """Bring what is below a folder of an engine's host to a folder here, but for files that are here already.

    These are all of them where the two are one folder. Raises StoreError, and what the engine does.
    """
    for name, size in engine.files(str(source)).items():
        path = target / name
        if _size(path) != size:
            _write(path, _pieces(engine, str(source / name)))


def files_of(folder: Path) -> dict[str, int]:
    """See `Files.files`; on the engine's host."""
    sizes = {path: _size(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    return {str(path.relative_to(folder)): size for path, size in sizes.items() if size is not None}


def read_piece(path: str, offset: int, size: int) -> bytes:
    """See `Files.read`; on the engine's host."""
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(size)
    except OSError as error:
        raise StoreError("a file of a trace cannot be read", got=f"{path}: {error.strerror}") from error


def _pieces(engine: Files, path: str) -> Iterator[bytes]:
    offset = 0
    while piece := engine.read(path, offset, _PIECE):
        yield piece
        offset += len(piece)


def _write(path: Path, pieces: Iterator[bytes]) -> None:
    """Write a file of pieces; it has its name once it is whole."""
    unfinished = path.with_name(path.name + _UNFINISHED)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(unfinished, "wb") as file:
            file.writelines(pieces)
        os.replace(unfinished, path)
    except OSError as error:
        raise cannot_write(path, error) from error


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
