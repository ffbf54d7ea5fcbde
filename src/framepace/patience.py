"""Asking a server again that has no room at the moment: where its answer counts, and not how long it takes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from time import sleep
from typing import TypeVar

from framepace.errors import ServerBusy

_Answer = TypeVar("_Answer")
_PAUSES_S = (0.05,) * 10  # a queue that lets late requests go refuses a few of them on any busy machine


def patiently(ask: Callable[[], _Answer]) -> _Answer:
    """What `ask` returns, at the first attempt that a server has room for. Raises ServerBusy after the last."""
    for pause_s in _PAUSES_S:
        with suppress(ServerBusy):
            return ask()
        sleep(pause_s)
    return ask()
