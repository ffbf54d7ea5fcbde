"""Texts of recognisers: the greedy path through the scores of each step, as CTC networks are read."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.facts.answers import Text
from framepace.postprocess.boxes import are_whole, softmax, sum_to_one
from framepace.postprocess.fit import Fit, sure_if
from framepace.postprocess.network import Outputs, View

_BLANKS = frozenset({"", "blank", "<blank>", "[blank]", "-blank-"})


def is_ctc(view: View) -> bool:
    """Whether there is one output of steps."""
    return _steps(view.arrays) is not None


def fit_ctc(view: View) -> Fit:
    """Scores [steps, classes], or the best class per step, of which the file has the characters."""
    steps = _steps(view.arrays)
    if steps is None or view.task or any(array.ndim == 3 and len(array) == 1 for array in view.arrays.values()):
        return Fit.NO  # a batch of 1 and a channel: a map
    if steps.ndim == 1:
        return _fit_path(view, steps)
    if any(view.is_grid(length, anchors) for length in steps.shape for anchors in (1, 3)):
        return Fit.NO
    if not view.names:
        return Fit.LIKELY
    return sure_if(0 <= steps.shape[1] - len(view.names) <= 2, otherwise=Fit.NO)


def _fit_path(view: View, steps: NDArray[Any]) -> Fit:
    """Numbers of classes may be anything: they are at most likely."""
    if view.names and are_whole(steps) and -1 < steps.min(initial=0) <= steps.max(initial=0) < len(view.names) + 2:
        return Fit.LIKELY
    return Fit.NO


def read_ctc(view: View, least: float) -> Text:
    """The text, and the mean score of its characters: repetitions and blanks left out.

    With as many characters as classes one of them is the blank: an empty one, or the first or the last, whichever is
    read more often. One fewer: the blank is before or behind them. Two fewer: PaddleOCR's, the blank first and a space
    last.
    """
    steps = _steps(view.arrays)
    assert steps is not None
    path, scores = _best(steps)
    blank, characters = _characters(view.names, path, max(_class_count(steps, path), len(view.names)))
    places = [place for place in _changes(path) if path[place] != blank]
    text = "".join(characters[path[place]] for place in places if 0 <= path[place] < len(characters))
    return Text(text, float(np.mean(scores[places])) if places else 0.0)


def path_of(outputs: Outputs) -> tuple[NDArray[np.int64], int] | None:
    """The numbers of the classes that are read, repetitions left out and blanks kept, and the blank's.

    None where no output is text, or several may be.
    """
    steps = _steps(outputs)
    if steps is None or (steps.ndim == 1 and steps.dtype.kind not in "iu"):
        return None
    path, _ = _best(steps)
    return path[_changes(path)], _likelier_blank(path, _class_count(steps, path))


def _class_count(steps: NDArray[Any], path: NDArray[np.int64]) -> int:
    """How many classes there are, as far as the best ones say."""
    return steps.shape[1] if steps.ndim == 2 else int(path.max(initial=0)) + 1


def _steps(outputs: Outputs) -> NDArray[Any] | None:
    """The one output of scores (steps, classes), or of the best class per step; the batch of 1 on either side."""
    fitting = [steps for array in outputs.values() if (steps := _one_of(array)) is not None]
    return fitting[0] if len(fitting) == 1 else None


def _one_of(array: NDArray[Any]) -> NDArray[Any] | None:
    axes = 1 if array.dtype.kind in "iu" else 2
    if array.ndim == axes + 1 and 1 in array.shape[:2]:
        array = np.squeeze(array, axis=array.shape.index(1))
    if array.dtype.kind in "iu":
        return array if array.ndim == 1 else None
    if array.dtype.kind not in "fV" or not array.size:
        return None
    return array if array.ndim == 1 or (array.ndim == 2 and min(array.shape) >= 2) else None


def _best(steps: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The best class per step, and its probability; 1 where the network tells classes alone."""
    if steps.ndim == 1:
        return steps.astype(np.int64), np.ones(len(steps), np.float32)
    numbers = np.nan_to_num(steps.astype(np.float32), nan=-np.inf)
    path = np.argmax(numbers, axis=1)
    probabilities = numbers if sum_to_one(numbers) else softmax(numbers)
    return path.astype(np.int64), probabilities[np.arange(len(path)), path]


def _changes(path: NDArray[np.int64]) -> list[int]:
    """The steps at which another class begins."""
    return [0, *(place for place, (one, next_) in enumerate(pairwise(path.tolist()), 1) if one != next_)][: len(path)]


def _characters(names: tuple[str, ...], path: NDArray[np.int64], classes: int) -> tuple[int, tuple[str, ...]]:
    """The blank's number, and the characters by their numbers."""
    if classes - len(names) == 2:
        return 0, ("", *names, " ")
    blank = _likelier_blank(path, classes)
    if classes == len(names):
        named = (number for number, name in enumerate(names) if name in _BLANKS)
        return next(named, blank), names
    if blank == 0:
        return 0, ("", *names)
    return blank, (*names, "")


def _likelier_blank(path: NDArray[np.int64], classes: int) -> int:
    """The class that means 'no character': exporters put it first or last, and it is read more often than the other."""
    last = classes - 1
    return last if np.count_nonzero(path == last) > np.count_nonzero(path == 0) else 0
