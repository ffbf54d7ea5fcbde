"""Semantic segmentation: a class per pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.facts.answers import Regions
from framepace.postprocess.fit import Fit, sure_if
from framepace.postprocess.network import View
from framepace.postprocess.placement import placed

_WORDS = ("logits", "seg", "mask", "semantic", "label", "class")
_MOST_CLASSES = 1000
_FEWEST = 5  # channels that no picture, flow or depth has
_SHRUNK = (1, 2, 4, 8)  # sides of the input over those of the map


def is_regions(view: View) -> bool:
    """Whether all outputs lie over the input."""
    return _map(view) is not None


def fit_regions(view: View) -> Fit:
    """Scores [classes, h, w] or classes [h, w] over the input, which is as large or 2, 4 or 8 times as large."""
    grid = _map(view)
    if grid is None:
        return Fit.NO
    if grid.ndim == 2:
        return sure_if(grid.dtype.kind in "iu" and grid.min(initial=0) >= 0, otherwise=Fit.NO)
    if len(view.names) == len(grid) or view.task == "semantic":
        return Fit.SURE
    called = any(name.lower() == "out" or any(word in name.lower() for word in _WORDS) for name in view.arrays)
    return sure_if(called and len(grid) >= _FEWEST)


def read_regions(view: View, picture: tuple[int, int], resize: str) -> Regions:
    """The class of each pixel of the picture: that of the nearest place in the map."""
    grid = _map(view)
    assert grid is not None
    labels = best_class(grid) if grid.ndim == 3 else grid
    size = view.size or picture
    return Regions(placed(size, picture, resize).nearest(labels).astype(np.int64), view.names)


def best_class(scores: NDArray[Any]) -> NDArray[np.int16]:
    """The class of the highest score at each place, [classes, h, w] to [h, w]; the first of several.

    Class by class: three times as fast as argmax along the first axis.
    """
    best = scores[0].copy()
    labels = np.zeros(best.shape, np.int16)
    for number, plane in enumerate(scores[1:], 1):
        np.copyto(labels, np.int16(number), where=plane > best)
        np.maximum(best, plane, out=best)
    return labels


def _map(view: View) -> NDArray[Any] | None:
    """The output that lies over the input; of several, as torchvision's 'out' and 'aux', the first."""
    maps = list(view.arrays.values())
    if not maps or not all(_lies_over(view, array) for array in maps):
        return None
    return maps[0]


def _lies_over(view: View, array: NDArray[Any]) -> bool:
    if array.ndim not in (2, 3) or view.size is None:
        return False
    if array.ndim == 3 and not (2 <= len(array) <= _MOST_CLASSES and array.dtype.kind in "fV"):
        return False
    return any(tuple(-(-side // times) for side in view.size) == array.shape[-2:] for times in _SHRUNK)
