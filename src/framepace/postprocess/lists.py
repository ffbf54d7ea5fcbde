"""Lists of boxes, classes and scores of one length, as detectors with suppression in their graph give them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.postprocess.boxes import Floats, Places, from_centre
from framepace.postprocess.fit import Fit, sure_if
from framepace.postprocess.found import Found
from framepace.postprocess.network import View, without_batch
from framepace.postprocess.placement import Placement

_SHARES = 1.5  # corners that are no larger are shares of the sides
_POINT = 3


def is_lists(view: View) -> bool:
    """Whether there are boxes, and a list of classes and one of scores that are as long."""
    return all(part is not None for part in _lists(view))


def fit_lists(view: View) -> Fit:
    """torchvision, and everything with the same three lists: boxes [n, 4], classes [n], scores [n]."""
    boxes, classes, scores = _lists(view)
    if boxes is None or classes is None or scores is None:
        return Fit.NO
    return sure_if(_boxes_named(view) is not None)


def read_lists(view: View, least: float) -> Found:
    """Those with a score above `least`; corners in pixels of the input, or in shares of it."""
    boxes, classes, scores = _lists(view)
    assert boxes is not None
    assert classes is not None
    assert scores is not None
    corners = in_pixels(_in_order(boxes, view), view)
    sure = (scores > least) & np.isfinite(corners).all(axis=1)
    chosen = np.flatnonzero(sure[: _count(view, len(scores))])
    found = Found(corners[chosen], scores[chosen].astype(np.float32), classes[chosen].astype(np.int64))
    return replace(found, points=_points(view, chosen), masks=_masks(view, chosen))


def _in_order(boxes: NDArray[Any], view: View) -> Floats:
    """x before y: TensorFlow's detection API, known by the names of its outputs, gives y1, x1, y2, x2."""
    boxes = boxes.astype(np.float32)
    if any("detection_boxes" in name for name in view.arrays):
        return boxes[:, [1, 0, 3, 2]]
    return boxes


def in_pixels(corners: Floats, view: View) -> Floats:
    """Corners in pixels of the input: shares of its sides times them, where the input's size is known."""
    if view.size is None or not len(corners) or np.nanmax(np.abs(corners)) > _SHARES:
        return corners
    height, width = view.size
    return np.asarray(corners * np.array((width, height, width, height), np.float32))


def boxes_of(view: View) -> NDArray[Any] | None:
    """The output of boxes [n, 4]; of several of four columns the one that is called so."""
    named = _boxes_named(view)
    if named is not None:
        return named
    return _only_boxes(list(view.arrays.values()))


def as_corners(boxes: NDArray[Any]) -> Floats:
    """Boxes as corners: they are, unless hardly any of them has its second corner beyond the first."""
    boxes = boxes.astype(np.float32)
    if len(boxes) and np.mean((boxes[:, 2:] >= boxes[:, :2]).all(axis=1)) < 0.9:
        return from_centre(boxes)
    return boxes


def _boxes_named(view: View) -> NDArray[Any] | None:
    return _only_boxes([array for name, array in view.arrays.items() if "box" in name.lower()])


def _only_boxes(arrays: list[NDArray[Any]]) -> NDArray[Any] | None:
    fitting = [array for array in arrays if array.ndim == 2 and array.shape[1] == 4 and array.dtype.kind in "fV"]
    return _single(fitting)


def _lists(view: View) -> tuple[NDArray[Any] | None, NDArray[Any] | None, NDArray[Any] | None]:
    """Boxes, classes and scores; None for what is not there, or there several times."""
    boxes = boxes_of(view)
    if boxes is None:
        return None, None, None
    flat = {name: without_batch(array) for name, array in view.arrays.items()}
    classes: list[NDArray[Any]] = []
    scores: list[NDArray[Any]] = []
    for name, array in flat.items():
        if array.shape == boxes.shape[:1]:
            (classes if _are_classes(name, array) else scores).append(array)
    return boxes, _single(classes), _single(scores)


def _are_classes(name: str, array: NDArray[Any]) -> bool:
    return array.dtype.kind in "iu" or "class" in name.lower() or "label" in name.lower()


def _single(arrays: list[NDArray[Any]]) -> NDArray[Any] | None:
    return arrays[0] if len(arrays) == 1 else None


def _count(view: View, rows: int) -> int:
    """How many rows count, where an output of one number says so."""
    told = [array for name, array in view.arrays.items() if "num" in name.lower() and array.size == 1]
    return rows if len(told) != 1 else int(np.clip(told[0].ravel()[0], 0, rows))


def _points(view: View, chosen: Places) -> Floats | None:
    """Points [n, k, 3] of torchvision's keypoint detector, with the scores of their own output."""
    points = view.named("keypoints")
    if points is None or points.ndim != 3 or points.shape[2] != _POINT:
        return None
    points = points[chosen].astype(np.float32)
    scores = view.named("keypoints_scores", "keypoint_scores")
    if scores is not None and scores.ndim == 2:
        points[..., 2] = scores[chosen]
    return points


def _masks(view: View, chosen: Places) -> _Masks | None:
    """Masks [n, 1, height, width] over the whole input, as torchvision exports them."""
    masks = view.named("masks")
    if masks is None or masks.ndim != 4 or view.size is None or masks.shape[2:] != view.size:
        return None
    return _Masks(masks[chosen, 0])


class _Masks:
    """Masks as probabilities over the input."""

    def __init__(self, probabilities: NDArray[Any]) -> None:
        self._probabilities = probabilities

    def __call__(self, kept: Places, placement: Placement, boxes: Floats) -> NDArray[np.bool_]:
        masks = np.zeros((len(kept), *placement.picture), dtype=bool)
        everywhere = np.array((0, 0, *placement.picture[::-1]), np.float32)
        for mask, probabilities in zip(masks, self._probabilities[kept], strict=True):
            rows, columns, values = placement.part(probabilities, everywhere)
            mask[rows, columns] = values >= 0.5
        return masks
