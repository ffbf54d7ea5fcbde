"""Feeds: where a worker gets its next batch of frames, and who waits for the due time.

InlineFeed (inline.py): the worker itself waits for the due time and takes (or decodes) the picture.
DeadlineFeed (deadline.py): the same, with batches over all sources by deadline.
StreamFeed (stream.py): one thread per source waits, decodes and buffers; workers take from the buffers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from framepace.errors import FramepaceError
from framepace.feeds.pacer import Idle
from framepace.video.frame import Frame

OnDrop = Callable[[Frame, int], None]
"""Receives each frame that is discarded, and its facts.trace.DropCause."""
OnQueue = Callable[[Frame], None]
"""Receives each frame that joins its source's buffer."""


class PictureSource(Protocol):
    """What a feed needs from a source. A `live` source sets the pace of its pictures; `read` waits for them."""

    @property
    def live(self) -> bool:
        """Whether the source sets the pace, not the load."""

    def read(self) -> Any:
        """The next picture, or None at the end."""


class Feed(ABC):
    """Gives batches to workers. A context manager: its threads, if it has any, run within it only."""

    @property
    def errors(self) -> Mapping[int, FramepaceError]:
        """Errors that ended sources while the others went on, by the number of the source."""
        return {}

    @abstractmethod
    def take(self, idle: Idle | None, wait: bool = True) -> list[Frame] | None:
        """The next batch, waiting for it; None when the run is over. `idle` is called every heartbeat meanwhile.

        Without `wait` (the worker has requests in flight to look after): an empty list when no batch is ready now. A
        batch that may still grow is not: it stays open as long as the worker has something else to do.
        """

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *_: object) -> None:
        return None
