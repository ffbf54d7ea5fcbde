"""Text of recognisers, as numbers of characters, and how far two texts are apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from framepace.postprocess.ctc import path_of


def read_transcript(outputs: Mapping[str, NDArray[Any]]) -> tuple[int, ...] | None:
    """The numbers of the characters that are read, repetitions and blanks left out; None where no output is text.

    An output of scores is (steps, classes) beside a batch of 1, in either order of steps and batch; one of whole
    numbers has the best class per step already.
    """
    read = path_of(outputs)
    if read is None:
        return None
    path, blank = read
    return tuple(number for number in path.tolist() if number != blank)


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
