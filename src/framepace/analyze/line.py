"""The cost of a batch at sizes that were not measured: t(b) = a + b k, piecewise through those that were."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Line:
    """Straight lines through measured batch sizes; the last one goes on beyond the largest.

    Below the smallest size its value holds. From one size the line beyond it goes through zero: `value` per frame.

    Args:
        sizes: ascending, one at least.
        values: the cost of each size, any unit.
    """

    sizes: tuple[float, ...]
    values: tuple[float, ...]

    @classmethod
    def through(cls, points: Iterable[tuple[float, float]]) -> Line:
        """The line through (size, value) pairs in any order. Raises ValueError for none."""
        sizes, values = zip(*sorted(points), strict=True)
        return cls(sizes, values)

    @property
    def slope(self) -> float:
        """Cost of one frame more beyond the largest size (k)."""
        if len(self.sizes) == 1:
            return self.values[0] / self.sizes[0]
        return (self.values[-1] - self.values[-2]) / (self.sizes[-1] - self.sizes[-2])

    def at(self, size: float) -> float:
        """The cost of a batch of `size` frames."""
        if size > self.sizes[-1]:
            return self.values[-1] + self.slope * (size - self.sizes[-1])
        return float(np.interp(size, self.sizes, self.values))
