"""From the engine's outputs to results: answers are read, counted and handed on, each source in its order."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from framepace.backends.base import Tensors as Outputs
from framepace.facts.answers import Answer, Tensors
from framepace.facts.running import Result
from framepace.running.account import Account, wall_time
from framepace.video.frame import Frame
from framepace.video.history import newest, sides

Read = Callable[[Outputs, tuple[int, int]], Answer]
"""Reads the outputs of one model for one picture of (height, width)."""


class Takes(Protocol):
    """Takes results without waiting, from any thread."""

    def put(self, result: Result) -> None:
        """Take one."""


class Results:
    """Follows the frames of a run, from the moment they wait to their results.

    Args:
        accounts: by the number of their source; may change while it runs.
        now: the run's clock (ns).
        has_pictures: whether results bring their pictures; may change while it runs.
    """

    def __init__(self, accounts: Mapping[int, Account], now: Callable[[], int], *, has_pictures: bool) -> None:
        self._accounts = accounts
        self._now = now
        self.has_pictures = has_pictures
        self._answers: dict[int, dict[str, Answer]] = {}  # by the number of the frame

    def queued(self, frame: Frame) -> None:
        """A frame waits in its source's buffer (see feeds.feed.OnQueue)."""
        now = self._now()
        picture = newest(frame.picture) if self.has_pictures else None
        self._accounts[frame.source].take(frame.number, frame.due, wall_time(frame.due, now, time.time()), now, picture)

    def dropped(self, frame: Frame, cause: int) -> None:
        """A frame was discarded (see feeds.feed.OnDrop)."""
        self._accounts[frame.source].drop(frame.number, cause)

    def finish(self, read: Read, model: str, outputs: Outputs, frame: Frame) -> None:
        """A model's outputs for a frame, and what reads them (see engine.step.Finish)."""
        answer = read(outputs, sides(frame.picture))
        if isinstance(answer, Tensors):  # the worker's buffers are used again
            answer = Tensors({name: np.array(array) for name, array in answer.arrays.items()})
        self._answers.setdefault(frame.number, {})[model] = answer

    def end(self, frames: Sequence[Frame], now: int, why: str) -> None:
        """All models ran on frames (see feeds.runstate.FrameObserver)."""
        for frame in frames:
            answers = self._answers.pop(frame.number, {})
            self._accounts[frame.source].end(frame.number, now, answers, why)
