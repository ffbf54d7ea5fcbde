"""A source whose pictures take longer to decode, by a known time."""

from __future__ import annotations

from typing import Any

from framepace.clock.system import Clock
from framepace.feeds.feed import PictureSource


class SlowSource:
    """A source each of whose pictures takes `ns` longer."""

    def __init__(self, source: PictureSource, clock: Clock, ns: int) -> None:
        self._source = source
        self._clock = clock
        self._ns = ns

    @property
    def live(self) -> bool:
        """See PictureSource."""
        return self._source.live

    def read(self) -> Any:
        """See PictureSource."""
        picture = self._source.read()
        self._clock.spin_until(self._clock.now() + self._ns)
        return picture
