"""From the engine's outputs to results: answers are read, counted and handed on, each source in its order."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from framepace.backends.base import Tensors as Outputs
from framepace.engine.crops import Crop, Cut, Read, answer_of
from framepace.facts.answers import Answer, Crops
from framepace.facts.running import Result
from framepace.running.account import Account, wall_time
from framepace.video.frame import Frame
from framepace.video.history import newest


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
        self._cuts: dict[int, dict[str, _OnCrops]] = {}

    def queued(self, frame: Frame) -> None:
        """A frame waits in its source's buffer (see feeds.feed.OnQueue)."""
        now = self._now()
        picture = newest(frame.picture) if self.has_pictures else None
        self._accounts[frame.source].take(frame.number, frame.due, wall_time(frame.due, now, time.time()), now, picture)

    def dropped(self, frame: Frame, cause: int) -> None:
        """A frame was discarded (see feeds.feed.OnDrop)."""
        self._accounts[frame.source].drop(frame.number, cause)

    def cut(self, after: str, model: str, cut: Cut) -> None:
        """A model runs on these boxes of a frame, which the model `after` found (see engine.crops.OnCut)."""
        self._cuts.setdefault(cut.frame.number, {})[model] = _OnCrops(after, cut)

    def finish(self, readers: Mapping[str, Read], model: str, outputs: Outputs, frame: Frame) -> Answer:
        """A model's outputs for a frame or crop, read by its reader (see engine.step.Finish); the answer."""
        answer = answer_of(readers[model], outputs, frame)
        if isinstance(frame, Crop):
            self._cuts[frame.number][model].add(frame, answer)
        else:
            self._answers.setdefault(frame.number, {})[model] = answer
        return answer

    def end(self, frames: Sequence[Frame], now: int, why: str) -> None:
        """All models ran on frames (see feeds.runstate.FrameObserver)."""
        for frame in frames:
            answers = self._answers.pop(frame.number, {})
            for model, on_crops in self._cuts.pop(frame.number, {}).items():
                answers[model] = on_crops.answer()
            self._accounts[frame.source].end(frame.number, now, answers, why)


class _OnCrops:
    """The answers of a model about the boxes of one frame, as they come."""

    def __init__(self, after: str, cut: Cut) -> None:
        self._after = after
        self._cut = cut
        self._found: list[tuple[Crop, Answer]] = []

    def add(self, crop: Crop, answer: Answer) -> None:
        """It said something about one of them."""
        self._found.append((crop, answer))

    def answer(self) -> Crops:
        """All of it."""
        return Crops(
            of=self._after,
            places=np.array([crop.place for crop, _ in self._found], np.int64),
            boxes=np.array([crop.box for crop, _ in self._found], np.float32).reshape(-1, 4),
            answers=tuple(answer for _, answer in self._found if not isinstance(answer, Crops)),
            left_out=self._cut.left_out,
            failed=len(self._cut.crops) - len(self._found),
        )
