"""A worker that is pinned to its core, with a keeper beside it (see `clock.keeper`)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from framepace.clock.keeper import keeper


def usable_cores() -> list[int]:
    """Cores this process may run on."""
    if not hasattr(os, "sched_getaffinity"):
        return list(range(os.cpu_count() or 1))
    return sorted(os.sched_getaffinity(0))


@contextmanager
def kept_awake(core: int) -> Iterator[None]:
    """Pin the calling thread to `core` and keep that core awake; both are undone at the end.

    Raises UsageError where the keeper cannot run.
    """
    with keeper(core):
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {core})
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)
