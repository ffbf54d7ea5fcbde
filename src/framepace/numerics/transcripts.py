"""Text of recognisers: the greedy path through the scores of each step, as CTC networks are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray


def read_transcript(outputs: Mapping[str, NDArray[Any]]) -> tuple[int, ...] | None:
    """The numbers of the characters that are read, repetitions and blanks left out; None where no output is text.

    An output of scores is (steps, classes) beside a batch of 1, in either order of steps and batch; one of whole
    numbers has the best class per step already.
    """
    paths = [path for path in map(_path, outputs.values()) if path is not None]
    if len(paths) != 1:
        return None
    best, classes = paths[0]
    blank = _blank(best, classes)
    return tuple(int(number) for number, _ in groupby(best.tolist()) if number != blank)


def _path(values: NDArray[Any]) -> tuple[NDArray[Any], int] | None:
    """The best class per step, and how many classes there are."""
    plain = _without_batch(values)
    if plain.dtype.kind in "iu" and plain.ndim == 1:
        return plain, int(plain.max(initial=0)) + 1
    if plain.dtype.kind not in "fV" or plain.ndim != 2 or min(plain.shape) < 2:
        return None
    scores = np.nan_to_num(plain.astype(np.float64), nan=-np.inf)
    return np.argmax(scores, axis=1), plain.shape[1]


def _without_batch(values: NDArray[Any]) -> NDArray[Any]:
    """Without the first axis of length 1, of three axes of scores or two of numbers."""
    axes = 1 if values.dtype.kind in "iu" else 2
    if values.ndim == axes + 1 and 1 in values.shape[:2]:
        return values.reshape([side for place, side in enumerate(values.shape) if place != values.shape.index(1)])
    return values


def _blank(path: NDArray[Any], classes: int) -> int:
    """The class that means 'no character': exporters put it first or last, and it is read more often than the other."""
    last = classes - 1
    return last if np.count_nonzero(path == last) > np.count_nonzero(path == 0) else 0


def edits(one: Sequence[int], other: Sequence[int]) -> int:
    """The Levenshtein distance: how many insertions, deletions and substitutions make `other` of `one`."""
    row = list(range(len(other) + 1))
    for item in one:
        above = row
        row = [above[0] + 1]
        for column, wanted in enumerate(other, 1):
            replaced = above[column - 1] + (item != wanted)
            row.append(min(replaced, above[column] + 1, row[-1] + 1))
    return row[-1]
