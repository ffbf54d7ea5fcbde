"""Where the picture lies in a network's input, and so where a place in the input lies in the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.postprocess.boxes import Floats
from framepace.video.prepare import letterbox

Size = tuple[int, int]
"""(height, width)."""


@dataclass(frozen=True)
class Placement:
    """A picture of size `picture` covers `height` x `width` pixels of an input of size `input` from (`top`, `left`)."""

    input: Size
    picture: Size
    top: int
    left: int
    height: int
    width: int

    def points(self, points: NDArray[Any]) -> Floats:
        """Places x, y in the input [..., 2] as places in the picture; those beside it are moved to its edge."""
        height, width = self.picture
        scale = np.array((width / self.width, height / self.height), np.float32)
        moved = (points - np.array((self.left, self.top), np.float32)) * scale
        return np.clip(moved, 0, np.array((width, height), np.float32)).astype(np.float32)

    def boxes(self, boxes: Floats) -> Floats:
        """Corners in the input [n, 4] as corners in the picture."""
        return self.points(boxes.reshape(-1, 2, 2)).reshape(-1, 4)

    def nearest(self, grid: NDArray[Any]) -> NDArray[Any]:
        """A map over the input [h, w] as one over the picture, each pixel from the nearest."""
        rows = np.floor(self._down(np.arange(self.picture[0]), len(grid))).astype(np.intp)
        columns = np.floor(self._across(np.arange(self.picture[1]), grid.shape[1])).astype(np.intp)
        rows = np.clip(rows, 0, len(grid) - 1)
        columns = np.clip(columns, 0, grid.shape[1] - 1)
        return np.asarray(grid.take(rows, axis=0).take(columns, axis=1))

    def part(self, grid: NDArray[Any], box: NDArray[Any]) -> tuple[slice, slice, Floats]:
        """A map over the input [h, w] within a box of the picture: its rows, its columns, and bilinear values."""
        rows = _within(box[1], box[3], self.picture[0])
        columns = _within(box[0], box[2], self.picture[1])
        down = _weights(self._down(_numbers(rows), len(grid)), len(grid))
        across = _weights(self._across(_numbers(columns), grid.shape[1]), grid.shape[1])
        return rows, columns, np.asarray(down @ grid.astype(np.float32) @ across.T)

    def _down(self, rows: NDArray[Any], cells: int) -> NDArray[np.float64]:
        """Where the middles of rows of the picture lie, in cells from the map's upper edge."""
        places = self.top + (rows + 0.5) * self.height / self.picture[0]
        return np.asarray(places * cells / self.input[0])

    def _across(self, columns: NDArray[Any], cells: int) -> NDArray[np.float64]:
        """The same of columns, from the left edge."""
        places = self.left + (columns + 0.5) * self.width / self.picture[1]
        return np.asarray(places * cells / self.input[1])


def placed(input: Size, picture: Size, resize: str) -> Placement:
    """Where preparation puts a picture: over the whole input ('stretch'), or as a letterbox."""
    if resize == "letterbox":
        return Placement(input, picture, *letterbox(picture, input))
    return Placement(input, picture, 0, 0, *input)


def _within(low: float, high: float, pixels: int) -> slice:
    """The pixels from one edge of a box to the other."""
    first = int(np.clip(np.ceil(low), 0, pixels))
    return slice(first, int(np.clip(np.ceil(high), first, pixels)))


def _numbers(along: slice) -> NDArray[Any]:
    return np.arange(along.start, along.stop)


def _weights(places: NDArray[np.float64], cells: int) -> Floats:
    """A row per place with the weights of the two cells between whose middles it lies [places, cells]."""
    places = np.clip(places - 0.5, 0, cells - 1)
    lower = np.floor(places).astype(np.intp)
    share = (places - lower).astype(np.float32)
    weights = np.zeros((len(places), cells), np.float32)
    rows = np.arange(len(places))
    weights[rows, lower] = 1 - share
    weights[rows, np.minimum(lower + 1, cells - 1)] += share
    return weights
