"""ResultSink: what every place for results is, and how much of it waits and travels together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from framepace.facts.running import Result


class ResultSink(ABC):
    """Where results go. One thread opens it, writes and closes it; it may block for as long as it likes.

    Attributes:
        name: as it is shown, without secrets.
        batch: most results that one `write` gets.
        linger_s: how long a result may wait for others before it is written with them.
        capacity: how many results may wait; those with pictures take megabytes each.
        wants_pictures: whether results come with their pictures.
    """

    name: str
    batch: int = 64
    linger_s: float = 0.02
    capacity: int = 4096
    wants_pictures: bool = False

    @abstractmethod
    def open(self) -> None:
        """Make it ready; called again after a SinkUnavailable, when it was closed.

        Raises SinkUnavailable where another attempt may succeed, any other SinkError where none can.
        """

    @abstractmethod
    def write(self, results: Sequence[Result]) -> None:
        """Write all of `results`, at least one, in their order; when it returns they have left this process.

        Raises SinkUnavailable for results that shall be offered again, SinkError (or anything else) for such that
        never will be written.
        """

    @abstractmethod
    def close(self) -> None:
        """Free what it holds. Idempotent; also called for a sink that was not opened."""
