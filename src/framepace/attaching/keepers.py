"""Keepers of all cores beside a program, all the time or by turns."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from framepace.attaching.turns import Turns
from framepace.clock.keeper import Windows, keeper

_SETTING = "awake"


@contextmanager
def kept_awake(settings: Mapping[str, str], turns: Turns | None) -> Iterator[None]:
    """Keep all usable cores awake where the settings say so, or in the turns that do. Raises UsageError."""
    windows = _windows(settings, turns)
    with ExitStack() as stack:
        if windows is not None:
            for core in _cores():
                stack.enter_context(keeper(core, windows))
        yield


def _windows(settings: Mapping[str, str], turns: Turns | None) -> Windows | None:
    if _SETTING in settings:
        return Windows()
    if turns is None or not any(turns.with_setting(_SETTING)):
        return None
    return Windows(turns.begin_ns, turns.block_ns, turns.with_setting(_SETTING))


def _cores() -> list[int]:
    if not hasattr(os, "sched_getaffinity"):
        return list(range(os.cpu_count() or 1))
    return sorted(os.sched_getaffinity(0))
