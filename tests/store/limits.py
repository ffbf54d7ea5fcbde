"""Disks that are full, for tests."""

from __future__ import annotations

import errno
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Writing beyond `size` bytes of a file fails as on a full disk: a short write, then an error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def no_room_for_parquet(monkeypatch: pytest.MonkeyPatch, table: str = "") -> None:
    """Parquet files cannot be written; of one table when named."""
    from pyarrow import parquet

    real = parquet.ParquetWriter

    def writer(path: Path, *args: Any, **options: Any) -> Any:
        if path.name.startswith(table):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, *args, **options)

    monkeypatch.setattr(parquet, "ParquetWriter", writer)
