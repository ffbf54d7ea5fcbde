"""A log as a table: columns of numbers, of moments or of words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cells:
    """The cells of one column, in one of three kinds.

    Args:
        numbers: shape (rows,), NaN where there is none.
        moments: ns, shape (rows,), -1 where there is none: cells that were dates or times of a day.
        words: one per row; '' where there is none.
        unit: of numbers whose cells name it ('1590 MHz'), '' else.
    """

    numbers: Floats | None = None
    moments: NDArray[np.int64] | None = None
    words: tuple[str, ...] | None = None
    unit: str = ""

    def kept(self, keep: NDArray[np.bool_]) -> Cells:
        """The cells of the rows for which `keep` is true."""
        words = self.words
        if words is not None:
            words = tuple(word for word, kept in zip(words, keep.tolist(), strict=True) if kept)
        return Cells(
            numbers=None if self.numbers is None else self.numbers[keep],
            moments=None if self.moments is None else self.moments[keep],
            words=words,
            unit=self.unit,
        )


@dataclass(frozen=True)
class LogTable:
    """A log that has been read: `columns` of `rows` cells by name; `left_out` lines were no rows."""

    file: str
    kind: str
    columns: Mapping[str, Cells]
    rows: int
    left_out: int = 0
