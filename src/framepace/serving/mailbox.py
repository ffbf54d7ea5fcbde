"""From other threads to an event loop: one wake-up for all that came since the last one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Mailbox:
    """Calls that an event loop's thread makes, in the order in which they were put."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: deque[Callable[[], None]] = deque()
        self._is_rung = False

    def put(self, call: Callable[[], None]) -> None:
        """Have `call` made; from any thread. Nothing happens where the loop has ended."""
        self._calls.append(call)
        if self._is_rung:
            return
        self._is_rung = True
        try:
            self._loop.call_soon_threadsafe(self._empty)
        except RuntimeError:  # the loop has ended: nobody waits
            return

    def _empty(self) -> None:
        self._is_rung = False  # before the last look: whoever puts something after it rings
        while self._calls:
            self._calls.popleft()()
