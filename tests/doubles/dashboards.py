"""A dashboard that is served for a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from framepace.facts.running import Result, RunStatus
from framepace.watching.server import Endpoint, Listener, serving

ANY_PORT = Endpoint("127.0.0.1", 0)


class Shown(Protocol):
    """What a dashboard asks of a run."""

    @property
    def status(self) -> Callable[[], RunStatus]:
        """How it stands."""

    @property
    def newest(self) -> Callable[[str], Result | None]:
        """The newest picture of a source."""


@contextmanager
def served(run: Shown, token: str | None = None, at: Endpoint = ANY_PORT) -> Iterator[str]:
    """Inside, the dashboard of a run is served; its address."""
    with Listener(at) as listener, serving(listener, run.status, run.newest, token):
        yield listener.url
