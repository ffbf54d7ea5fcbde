"""Rows that are answers already: corners, score, class, and what stands behind them; nothing overlaps any more."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.postprocess.boxes import Floats, are_corners, are_probabilities, are_whole
from framepace.postprocess.fit import Fit, sure_if
from framepace.postprocess.found import Found, found_of
from framepace.postprocess.network import View
from framepace.postprocess.turned import around
from framepace.postprocess.yolo import with_extra

_COLUMNS = 6
_MOST_ROWS = 1000


def is_10(view: View) -> bool:
    """Whether there are rows of at least six numbers."""
    return _rows(view) is not None


def fit_10(view: View) -> Fit:
    """YOLO 10, 26 and others with suppression in the graph: corners, score, class."""
    table = _rows(view)
    if table is None or view.has_queries:
        return Fit.NO
    if view.has_ready_rows:
        return Fit.SURE
    if table.shape[1] != _COLUMNS or not (are_whole(table[:, 5]) and are_probabilities(table[:, 4])):
        return Fit.NO
    in_pixels = are_corners(table[:, :4]) and not are_probabilities(table[:, :4])
    return sure_if(in_pixels and not _is_paddle(table) and table[:, 4].any())


def read_10(view: View, least: float) -> Found:
    """The rows with a score above `least`."""
    table = _rows(view)
    assert table is not None
    rows = table[table[:, 4] > least].astype(np.float32)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if view.task == "obb":
        return _turned(rows)
    found = Found(rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64))
    return with_extra(view, found, rows[:, _COLUMNS:])


def _turned(rows: Floats) -> Found:
    boxes = np.column_stack([rows[:, :4], rows[:, 6]])
    return Found(around(boxes), rows[:, 4], rows[:, 5].astype(np.int64), turned=boxes)


def _rows(view: View) -> NDArray[Any] | None:
    table = view.only(2)
    fewest = _COLUMNS + int(view.task == "obb")
    fits = table is not None and table.shape[1] >= fewest and len(table) <= _MOST_ROWS
    return table if fits else None


def is_paddle(view: View) -> bool:
    """Whether there are rows of six numbers."""
    return _paddle_table(view) is not None


def fit_paddle(view: View) -> Fit:
    """PaddleDetection with suppression in the graph: class, score, corners."""
    table = _paddle_table(view)
    if table is None or not _is_paddle(table):
        return Fit.NO
    both = are_whole(table[:, 5]) and are_probabilities(table[:, 4])
    return sure_if(not both and are_corners(table[:, 2:6]) and table[:, 1].any())


def read_paddle(view: View, least: float) -> Found:
    """The rows with a score above `least`; a class below 0 is none."""
    table = _paddle_table(view)
    assert table is not None
    rows = table[(table[:, 1] > least) & (table[:, 0] >= 0)].astype(np.float32)
    return found_of(rows, rows[:, 2:6], rows[:, 1], rows[:, 0], iou=None)


def _paddle_table(view: View) -> NDArray[Any] | None:
    """The rows; beside them there may be how many there are of each picture."""
    table = view.only(2)
    return table if table is not None and table.shape[1] == _COLUMNS else None


def _is_paddle(table: NDArray[Any]) -> bool:
    return are_whole(table[:, 0]) and are_probabilities(table[:, 1])
