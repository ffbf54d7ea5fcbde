"""Looks at a run in regular intervals and shows it to all who watch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Protocol

from framepace.facts.running import RunStatus

INTERVAL_S = 1.0


class Watcher(AbstractContextManager["Watcher"], Protocol):
    """Shows a run: a live view, a log. Entered before the first look, left after the last."""

    def __call__(self, status: RunStatus) -> None:
        """Show how the run stands."""


@contextmanager
def looking(
    status: Callable[[], RunStatus], watchers: Sequence[Watcher], interval_s: float = INTERVAL_S
) -> Iterator[None]:
    """Inside, the watchers see the run at once, every `interval_s` seconds, and a last time at the end."""
    with ExitStack() as entered:
        for watcher in watchers:
            entered.enter_context(watcher)
        over = threading.Event()
        thread = threading.Thread(target=_look, args=(status, watchers, over, interval_s), name="watching", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _look(
    status: Callable[[], RunStatus], watchers: Sequence[Watcher], over: threading.Event, interval_s: float
) -> None:
    last = False
    while not last:
        _show(status(), watchers)
        last = over.wait(interval_s)
    _show(status(), watchers)


def _show(status: RunStatus, watchers: Sequence[Watcher]) -> None:
    for watcher in watchers:
        watcher(status)
