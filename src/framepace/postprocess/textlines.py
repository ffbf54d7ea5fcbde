"""Text detectors whose output is a map: how likely each place belongs to a line of text, shrunk to its middle.

The reading is that of M. Liao and others, 'Real-time Scene Text Detection with Differentiable Binarization' (AAAI
2020), with upright boxes: places over 0.3 that touch are a line, which is grown by 1.5 x its area over its outline.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.facts.answers import Detections
from framepace.postprocess.boxes import Floats
from framepace.postprocess.fit import Fit
from framepace.postprocess.found import Found, in_picture
from framepace.postprocess.network import View
from framepace.postprocess.placement import placed

_INSIDE = 0.3  # of a place in a line
_GROWTH = 1.5
_LEAST_SIDE = 3  # cells of the map: less is a speck
_NAMES = ("text",)


def is_text_map(view: View) -> bool:
    """Whether there is one map over the input, of one channel."""
    return _map(view) is not None


def fit_text_map(view: View) -> Fit:
    """A map of probabilities as large as the input may be one; so may depth, or a mask."""
    grid = _map(view)
    if grid is None or not grid.size or not (grid.min() >= 0 and grid.max() <= 1):
        return Fit.NO
    return Fit.LIKELY


def read_text_map(view: View, score: float, picture: tuple[int, int], resize: str) -> Detections:
    """The lines of text in a picture, the surest first; `score` is the mean of the map over a line's places."""
    grid = _map(view)
    assert grid is not None
    size = view.size or picture
    found = _lines(np.asarray(grid, np.float32), score)
    scale = np.array((size[1] / grid.shape[1], size[0] / grid.shape[0]) * 2, np.float32)
    found = Found(found.corners * scale, found.scores, found.labels)
    return in_picture(found, placed(size, picture, resize), _NAMES, None)


def _lines(grid: Floats, score: float) -> Found:
    from scipy import ndimage

    marked, count = ndimage.label(grid > _INSIDE, structure=np.ones((3, 3)))
    scores = np.asarray(ndimage.mean(grid, marked, np.arange(1, count + 1)), np.float32)
    pairs = zip(ndimage.find_objects(marked), scores.tolist(), strict=True)
    return _found([pair for pair in pairs if pair[1] >= score and min(_sides(*pair[0])) >= _LEAST_SIDE])


def _found(lines: Sequence[tuple[tuple[slice, slice], float]]) -> Found:
    corners = np.array([_grown(*place) for place, _ in lines], np.float32).reshape(-1, 4)
    return Found(corners, np.array([score for _, score in lines], np.float32), np.zeros(len(lines), np.int64))


def _sides(rows: slice, columns: slice) -> tuple[int, int]:
    return rows.stop - rows.start, columns.stop - columns.start


def _grown(rows: slice, columns: slice) -> tuple[float, float, float, float]:
    """The box of the whole line around its middle."""
    height, width = _sides(rows, columns)
    more = _GROWTH * height * width / (2 * (height + width))
    return columns.start - more, rows.start - more, columns.stop + more, rows.stop + more


def _map(view: View) -> NDArray[Any] | None:
    """The only output, where it has one channel and lies over the input."""
    grids = [array[0] if array.ndim == 3 and len(array) == 1 else array for array in view.arrays.values()]
    if len(grids) != 1 or grids[0].ndim != 2 or grids[0].dtype.kind not in "fV":
        return None
    if view.size is not None and grids[0].shape != tuple(view.size):
        return None
    return grids[0]
