"""Heads of YOLO: boxes by centre in the input's pixels, scores per class, and what stands behind them.

A table of version 8 on has a column per box, (4 + classes + extra) x boxes; one of version 5 and 7 a row per box,
4 + 1 + classes + extra, where the fifth number says whether there is anything. `extra` are coefficients of masks,
points of a pose, or an angle. Both need non-maximum suppression, one box has one class.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.postprocess.boxes import Floats, Places, are_probabilities, from_centre
from framepace.postprocess.fit import Fit, sure_if
from framepace.postprocess.found import Found
from framepace.postprocess.names import literal
from framepace.postprocess.network import View, strides_of
from framepace.postprocess.placement import Placement
from framepace.postprocess.turned import around

IOU_8 = 0.7  # what ultralytics predicts with
IOU_5 = 0.45  # what YOLO 5, 7 and X detect with
_BOX = 4
_BOX_AND_OBJECT = 5
_FEWEST_5 = 6  # columns
_HALF = 0.5
_OFFSET = 8.0  # cells that an undecoded centre may lie from its cell, on average


def is_8(view: View) -> bool:
    """Whether there is a table with a column per box, of which some rows are scores."""
    table = view.only(2)
    return table is not None and _classes_8(view, table) > 0


def fit_8(view: View) -> Fit:
    """Columns of boxes: as many as the grids have cells."""
    table = view.only(2)
    if table is None or not _BOX < len(table) < table.shape[1] or view.has_ready_rows:
        return Fit.NO
    if not view.is_grid(table.shape[1]):
        return Fit.LIKELY
    if view.task and view.names:
        return sure_if(len(table) == _BOX + len(view.names) + _extra_8(view, table), otherwise=Fit.NO)
    return sure_if(_are_scores(table[_BOX : len(table) - _mask_count(view)].T))


def read_8(view: View, least: float) -> Found:
    """Detections of version 8 on, those with a score above `least`."""
    table = view.only(2)
    assert table is not None
    classes = _classes_8(view, table)
    scores = table[_BOX : _BOX + classes]
    chosen = np.flatnonzero(scores.max(axis=0) > least)
    rows = table[:, chosen].T.astype(np.float32)
    return _found(view, rows, rows[:, _BOX : _BOX + classes], rows[:, _BOX + classes :], IOU_8)


def is_5(view: View) -> bool:
    """Whether there is a table with a row per box, of which the fifth number and more are scores."""
    table = view.only(2)
    return table is not None and table.shape[1] - _mask_count(view) >= _BOX_AND_OBJECT


def fit_5(view: View) -> Fit:
    """Rows of boxes: three per cell of the grids, or one (version 6, and X with its boxes decoded)."""
    table = view.only(2)
    if table is None or table.shape[1] < _FEWEST_5 or len(table) <= table.shape[1] or view.has_ready_rows:
        return Fit.NO
    if view.size is None:
        return Fit.LIKELY
    if not are_probabilities(table[:, _BOX : table.shape[1] - _mask_count(view)]):
        return Fit.NO
    if view.is_grid(len(table)):
        return sure_if(_are_decoded(view, table), otherwise=Fit.NO)
    return sure_if(view.is_grid(len(table), anchors=3))


def read_5(view: View, least: float) -> Found:
    """Detections of version 5 and 7: a class's score times that of there being anything."""
    table = view.only(2)
    assert table is not None
    last = table.shape[1] - _mask_count(view)
    return _with_object(view, table, last, least)


def is_x(view: View) -> bool:
    """Whether there is a table with a row per cell."""
    table = view.only(2)
    return table is not None and table.shape[1] >= _BOX_AND_OBJECT and view.is_grid(len(table))


def fit_x(view: View) -> Fit:
    """Rows of boxes, one per cell, whose centres are offsets within it and whose sides are logarithms."""
    table = view.only(2)
    if table is None or table.shape[1] < _FEWEST_5 or not is_x(view):
        return Fit.NO
    if not are_probabilities(table[:, _BOX:]) or _are_decoded(view, table):
        return Fit.NO
    return sure_if(np.abs(table[:, :2].astype(np.float32)).mean() < _OFFSET)


def read_x(view: View, least: float) -> Found:
    """Detections of YOLOX as it is exported: decoded here."""
    table = view.only(2)
    assert table is not None
    corners, strides = _cells(view, len(table))
    decoded = table.astype(np.float32)
    decoded[:, :2] = (decoded[:, :2] + corners) * strides
    decoded[:, 2:_BOX] = np.exp(np.minimum(decoded[:, 2:_BOX], 20)) * strides
    return _with_object(view, decoded, table.shape[1], least)


def _with_object(view: View, table: NDArray[Any], last: int, least: float) -> Found:
    chosen = np.flatnonzero(table[:, _BOX] > least)  # a product is no larger
    rows = table[chosen].astype(np.float32)
    scores = rows[:, _BOX:_BOX_AND_OBJECT]
    if last > _BOX_AND_OBJECT:
        scores = scores * rows[:, _BOX_AND_OBJECT:last]
    above = scores.max(axis=1, initial=0.0) > least
    return _found(view, rows[above], scores[above], rows[above, last:], IOU_5)


def _found(view: View, rows: Floats, scores: Floats, extra: Floats, iou: float) -> Found:
    """Boxes by centre with their best class, and what their extra numbers say."""
    finite = np.flatnonzero(np.isfinite(rows).all(axis=1))
    labels = np.argmax(scores[finite], axis=1)
    best = scores[finite, labels]
    if view.task == "obb" and extra.shape[1]:
        turned = np.column_stack([rows[finite, :_BOX], extra[finite, -1]])
        return _turned(turned, best, labels, iou)
    return with_extra(view, Found(from_centre(rows[finite, :_BOX]), best, labels, iou), extra[finite])


def _turned(boxes: Floats, scores: Floats, labels: NDArray[np.int64], iou: float) -> Found:
    """Boxes with an angle, and the upright ones around them."""
    return Found(around(boxes), scores, labels, iou, turned=boxes)


def with_extra(view: View, found: Found, extra: Floats) -> Found:
    """The boxes with their points, or with what makes their masks."""
    prototypes = view.only(3)
    if prototypes is not None and prototypes.size and extra.shape[1] == len(prototypes):
        return replace(found, masks=_Masks(prototypes, extra))
    if view.task == "pose":
        return replace(found, points=_points(view, extra))
    return found


def _points(view: View, extra: Floats) -> Floats:
    """Points [n, k, 3]; without scores of their own they have 1."""
    shape = literal(view.metadata.get("kpt_shape", ""))
    numbers = shape[1] if isinstance(shape, list | tuple) and len(shape) == 2 and shape[1] in (2, 3) else 3
    count = extra.shape[1] // numbers
    points = extra[:, : count * numbers].reshape(len(extra), count, numbers)
    if numbers == 3:
        return points
    return np.concatenate([points, np.ones((*points.shape[:2], 1), np.float32)], axis=2)


def _classes_8(view: View, table: NDArray[Any]) -> int:
    return len(table) - _BOX - _extra_8(view, table)


def _extra_8(view: View, table: NDArray[Any]) -> int:
    """How many numbers stand behind the scores; with names it is what they leave."""
    if view.task == "obb":
        return 1
    if view.task == "pose" and view.names:
        return max(0, len(table) - _BOX - len(view.names))
    return _mask_count(view)


def _are_scores(scores: NDArray[Any]) -> bool:
    """Whether columns are scores of classes: probabilities, and most boxes are of no class. An angle may be neither."""
    return are_probabilities(scores) and bool((np.median(scores, axis=0) < _HALF).all())


def _mask_count(view: View) -> int:
    """How many coefficients of masks a box has: as many as there are prototypes."""
    prototypes = view.only(3)
    return 0 if prototypes is None else len(prototypes)


def _are_decoded(view: View, table: NDArray[Any]) -> bool:
    """Whether the centres lie about where their cells are."""
    if view.size is None:
        return False
    corners, strides = _cells(view, len(table))
    distance = np.abs(table[:, :2].astype(np.float32) - (corners + 0.5) * strides) / strides
    return bool(np.median(distance) < _OFFSET) and bool(np.median(table[:, 2:_BOX].astype(np.float32)) > 1)


def _cells(view: View, count: int) -> tuple[Floats, Floats]:
    """The column and row of each cell [n, 2], and its stride [n, 1]."""
    assert view.size is not None
    strides = strides_of(view.size, count)
    assert strides is not None
    grids = [_grid(view.size, stride) for stride in strides]
    steps = [np.full((len(grid), 1), stride) for grid, stride in zip(grids, strides, strict=True)]
    return np.concatenate(grids).astype(np.float32), np.concatenate(steps).astype(np.float32)


def _grid(size: tuple[int, int], stride: int) -> NDArray[Any]:
    rows, columns = np.mgrid[: -(-size[0] // stride), : -(-size[1] // stride)]
    return np.stack([columns.ravel(), rows.ravel()], axis=1)


class _Masks:
    """Masks as sums of prototypes: those of ultralytics' `process_mask_native`, inside each box only."""

    def __init__(self, prototypes: NDArray[Any], coefficients: Floats) -> None:
        self._prototypes = prototypes
        self._coefficients = coefficients

    def __call__(self, kept: Places, placement: Placement, boxes: Floats) -> NDArray[np.bool_]:
        masks = np.zeros((len(kept), *placement.picture), dtype=bool)
        flat = self._prototypes.reshape(len(self._prototypes), -1).astype(np.float32)
        sums = (self._coefficients[kept] @ flat).reshape(-1, *self._prototypes.shape[1:])
        for mask, logits, box in zip(masks, sums, boxes, strict=True):
            rows, columns, values = placement.part(logits, box)
            mask[rows, columns] = values > 0
        return masks
