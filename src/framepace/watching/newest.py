"""The newest pictures of a run, kept only of the sources that somebody looks at."""

from __future__ import annotations

import time
from collections.abc import Callable

from framepace.facts.running import Result

_LOOKED_AT_S = 10.0  # after it was last asked for


class NewestPictures:
    """Takes every result of a run, and keeps the last one of each source whose picture was asked for lately.

    Args:
        now: monotonic time in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._asked: dict[str, float] = {}
        self._kept: dict[str, Result] = {}

    def take(self, result: Result) -> None:
        """Note a result; called by the threads of the run, so it does next to nothing."""
        if result.source in self._asked:
            self._kept[result.source] = result

    def newest(self, source: str) -> Result | None:
        """The newest result of a source since it is looked at; None where none has come yet."""
        now = self._now()
        self._asked[source] = now
        for name, asked in list(self._asked.items()):
            if now - asked > _LOOKED_AT_S:
                del self._asked[name]
        for name in list(self._kept):
            if name not in self._asked:
                self._kept.pop(name, None)
        return self._kept.get(source)
