"""A process that has as many files open as it may."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

_FEW = 128


@contextmanager
def exhausted_descriptors() -> Iterator[None]:
    """Inside, opening a file fails with EMFILE."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    handles: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FEW, hard))
    try:
        _open_all(handles)
        yield
    finally:
        for handle in handles:
            os.close(handle)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _open_all(handles: list[int]) -> None:
    while True:
        try:
            handles.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return
