"""Batching by window: the oldest frame first, waiting for others up to a fixed time."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from framepace.feeds.batchrules import BatchRule
from framepace.video.frame import Frame


class WindowBatcher:
    """Batches of one run by a BatchRule; one batch is open at a time, whichever worker takes it.

    Frames leave their buffers as soon as they join the open batch, so a buffer may be smaller than a batch.
    """

    def __init__(self, rule: BatchRule) -> None:
        self._rule = rule
        self._open: list[Frame] = []

    def take(
        self, now: int, buffers: Mapping[int, deque[Frame]], over: bool, full: bool = False
    ) -> tuple[list[Frame], int | None]:
        """See Batcher. A full buffer does not matter here: it is emptied into the open batch."""
        if buffers:
            self._fill(buffers)
        frames = self._open
        if not frames:
            return [], None
        until = self._rule.waits_until(now, frames[0].due, len(frames))
        if until is not None and not over:
            return [], until
        self._open = []
        return frames, None

    def _fill(self, buffers: Mapping[int, deque[Frame]]) -> None:
        while len(self._open) < self._rule.size:
            oldest: deque[Frame] | None = None
            for buffer in buffers.values():
                if buffer and (oldest is None or buffer[0].due < oldest[0].due):
                    oldest = buffer
            if oldest is None:
                return
            self._open.append(oldest.popleft())
