"""Boxes [n, 4] beside scores per class [n, classes]: SSD, and the networks of queries (DETR and its successors).

What differs is whether a column is the background, whether numbers are logits, and whether boxes overlap.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.postprocess.boxes import (
    Floats,
    are_corners,
    are_probabilities,
    are_whole,
    from_centre,
    sigmoid,
    softmax,
    sum_to_one,
    surest,
)
from framepace.postprocess.fit import Fit, sure_if
from framepace.postprocess.found import MOST, Found, found_of
from framepace.postprocess.lists import as_corners, boxes_of, in_pixels
from framepace.postprocess.network import View

IOU_SSD = 0.45
_MOST_QUERIES = 1000
_BACKGROUND = 0.5  # share of boxes from which on the class that is best in them is none
_BOX = 4


def is_tables(view: View) -> bool:
    """Whether there are boxes, and a table of scores that is as long."""
    return all(part is not None for part in _tables(view))


def is_rtdetr(view: View) -> bool:
    """The same, or rows with both."""
    return is_tables(view) or _joined(view) is not None


def fit_ssd(view: View) -> Fit:
    """Corners that are decoded, and probabilities per class."""
    boxes, scores = _tables(view)
    if boxes is None or scores is None or not are_probabilities(scores) or not are_corners(boxes):
        return Fit.NO
    if len(boxes) <= _MOST_QUERIES and _is_query_named(view):
        return Fit.NO
    if view.size is None or not sum_to_one(scores):
        return sure_if(view.is_grid(len(boxes)))
    return sure_if(background(scores) is not None)


def read_ssd(view: View, least: float) -> Found:
    """Every class of a box with a score above `least` is an object, that of the background excepted."""
    boxes, scores = _tables(view)
    assert boxes is not None
    assert scores is not None
    probabilities = scores.astype(np.float32)
    nothing = background(scores) if sum_to_one(scores) else None
    if nothing is not None:
        probabilities = probabilities.copy()
        probabilities[:, nothing] = 0
    corners = in_pixels(as_corners(boxes), view)
    rows, labels = np.nonzero(probabilities > least)
    return found_of(corners[rows], corners[rows], probabilities[rows, labels], labels, IOU_SSD)


def fit_detr(view: View) -> Fit:
    """Queries with logits of which the last is 'no object', and boxes by centre in shares."""
    boxes, logits = _tables(view)
    if boxes is None or logits is None or not _are_queries(boxes) or are_probabilities(logits):
        return Fit.NO
    if view.names:
        return sure_if(logits.shape[1] == len(view.names) + 1, otherwise=Fit.NO)
    if _share_of_last(logits) <= _BACKGROUND:
        return Fit.NO if _are_mostly_none(logits) else Fit.LIKELY
    return sure_if(_is_query_named(view) and not _are_mostly_none(logits))


def read_detr(view: View, least: float) -> Found:
    """The best class of each query but 'no object', by softmax."""
    boxes, logits = _tables(view)
    assert boxes is not None
    assert logits is not None
    probabilities = softmax(logits)[:, :-1]
    labels = np.argmax(probabilities, axis=1)
    scores = probabilities[np.arange(len(labels)), labels]
    chosen = surest(scores, least, MOST)
    return _queries(view, boxes[chosen], scores[chosen], labels[chosen])


def fit_rtdetr(view: View) -> Fit:
    """Queries with a logit or score of their own per class: two outputs, or one table as ultralytics exports it."""
    boxes, scores = _tables(view)
    if boxes is None or scores is None:
        return _fit_joined(view)
    if not _are_queries(boxes):
        return Fit.NO
    if view.names:
        return sure_if(scores.shape[1] == len(view.names), otherwise=Fit.NO)
    few = are_probabilities(scores) or _are_mostly_none(scores)
    return sure_if(few and _is_query_named(view) and _share_of_last(scores) <= _BACKGROUND)


def read_rtdetr(view: View, least: float) -> Found:
    """Every class of a query with a score above `least` is an object; of ultralytics' table the best class alone."""
    boxes, scores = _tables(view)
    if boxes is None or scores is None:
        return _read_joined(view, least)
    probabilities = scores.astype(np.float32) if are_probabilities(scores) else sigmoid(scores)
    places = surest(probabilities.ravel(), least, MOST)
    rows, labels = np.divmod(places, probabilities.shape[1])
    return _queries(view, boxes[rows], probabilities[rows, labels], labels)


def background(scores: NDArray[Any]) -> int | None:
    """The column that is 'nothing', the first or the last: it is the best of more than half of all boxes."""
    best = np.argmax(scores, axis=1)
    return next((column for column in (scores.shape[1] - 1, 0) if np.mean(best == column) > _BACKGROUND), None)


def _fit_joined(view: View) -> Fit:
    table = _joined(view)
    if table is None or not are_probabilities(table[:, 2:_BOX]):
        return Fit.NO
    if view.has_queries:
        return Fit.SURE
    if _has_class(table):  # shares: corners, or by centre
        return sure_if(not are_corners(table[:, :_BOX]) and not view.task)
    if not are_probabilities(table[:, _BOX:]):
        return Fit.NO
    if view.task and view.names:
        return sure_if(table.shape[1] == _BOX + len(view.names), otherwise=Fit.NO)
    return Fit.LIKELY


def _read_joined(view: View, least: float) -> Found:
    """Rows of a box and scores per class, or of a box, a score and a class."""
    table = _joined(view)
    assert table is not None
    if _has_class(table):
        labels = table[:, _BOX + 1].astype(np.int64)
        best = table[:, _BOX].astype(np.float32)
    else:
        labels = np.argmax(table[:, _BOX:], axis=1)
        best = table[np.arange(len(labels)), _BOX + labels].astype(np.float32)
    chosen = surest(best, least, MOST)
    return _queries(view, table[chosen, :_BOX], best[chosen], labels[chosen])


def _has_class(table: NDArray[Any]) -> bool:
    """Whether behind the box stand a score and a class."""
    return table.shape[1] == _BOX + 2 and are_whole(table[:, -1]) and bool((table[:, -1] > 1).any())


def _joined(view: View) -> NDArray[Any] | None:
    table = view.only(2)
    fits = table is not None and len(view.arrays) == 1 and table.shape[1] > _BOX and len(table) <= _MOST_QUERIES
    return table if fits else None


def _queries(view: View, boxes: NDArray[Any], scores: Floats, labels: NDArray[Any]) -> Found:
    corners = in_pixels(from_centre(boxes), view)
    return found_of(corners, corners, scores, labels, iou=None)


def _tables(view: View) -> tuple[NDArray[Any] | None, NDArray[Any] | None]:
    """Boxes, and the one table of scores that is as long."""
    boxes = boxes_of(view)
    if boxes is None:
        return None, None
    tables = [array for array in view.arrays.values() if array.ndim == 2 and array is not boxes]
    fitting = [array for array in tables if len(array) == len(boxes) and array.shape[1] > 1]
    return boxes, fitting[0] if len(fitting) == 1 else None


def _are_queries(boxes: NDArray[Any]) -> bool:
    """Whether they are few, and by centre in shares of the input."""
    return len(boxes) <= _MOST_QUERIES and are_probabilities(boxes)


def _is_query_named(view: View) -> bool:
    """Whether an output is called as DETR and its successors call theirs."""
    return view.named("pred_boxes", "logits", "dets") is not None


def _are_mostly_none(logits: NDArray[Any]) -> bool:
    """Whether most queries are of no class by a sigmoid; under a softmax 'no object' is above the others instead."""
    return bool(np.median(logits.max(axis=1)) < 0)


def _share_of_last(scores: NDArray[Any]) -> float:
    """In which share of the queries the last class is the best."""
    return float(np.mean(np.argmax(scores, axis=1) == scores.shape[1] - 1))
