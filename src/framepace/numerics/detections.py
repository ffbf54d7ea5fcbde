"""Boxes of detectors: read from the outputs that exporters write, and matched with those of another way.

The layouts (a batch of 1 in front is optional): YOLO from version 8 on, one output (4 + classes, boxes), boxes by
centre, width and height; YOLO 5, one output (boxes, 5 + classes), with a score that there is anything; YOLO 10, one
output (boxes, 6) with corners, score and class; torchvision and TensorFlow, boxes (n, 4), classes (n) and scores (n);
SSD and DETR, boxes (n, 4) and scores (n, classes), probabilities or logits, with or without a class for the
background.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
Floats = NDArray[np.float64]
SCORE = 0.25  # from which on a box counts
IOU = 0.5  # from which on two boxes are the same
_MARGIN = 0.05  # a box that counts may be matched with one that is so much less certain
_SUPPRESSED_IOU = 0.45  # of boxes of one class, the less certain one is left out
_DETR = "pred_boxes"  # its output of boxes
_LEAST_YOLO = 5
_END_TO_END = 6  # columns: corners, score, class
_MOST = 300  # boxes that are matched per frame


@dataclass(frozen=True)
class Detections:
    """`corners` (n, 4) as x1, y1, x2, y2, `classes` (n) and `scores` (n) of a frame, the most certain first."""

    corners: Floats
    classes: NDArray[np.int64]
    scores: Floats
    layout: str = ""

    def over(self, score: float) -> Detections:
        """Those with at least that score, in order."""
        chosen = np.flatnonzero(self.scores >= score)
        chosen = chosen[np.argsort(-self.scores[chosen], kind="stable")][:_MOST]
        return Detections(self.corners[chosen], self.classes[chosen], self.scores[chosen], self.layout)


def read_detections(outputs: Arrays, score: float = SCORE) -> Detections | None:
    """The boxes of a frame that count from `score` on, and those just under it; None for outputs of no known layout."""
    plain = {name: _without_batch(values) for name, values in outputs.items() if values.dtype.kind in "fViu"}
    readers: tuple[Callable[[Arrays], Detections | None], ...] = (_of_lists, _of_scores, _of_yolo)
    for read in readers:
        detections = read(plain)
        if detections is not None:
            return _suppressed(detections.over(score - min(_MARGIN, score / 2)))
    return None


def matched(reference: Detections, candidate: Detections, score: float = SCORE) -> tuple[int, int]:
    """How many boxes of both have a match in the other, and how many there are.

    A box that counts may be matched with one that just does not: a score that moved over the limit is no other answer.
    """
    certain = (reference.over(score), candidate.over(score))
    pairs = ((certain[0], candidate), (certain[1], reference))
    return sum(_hits(one, other) for one, other in pairs), sum(len(one.scores) for one in certain)


def _hits(boxes: Detections, others: Detections) -> int:
    """How many boxes have a match of their own class among `others`, each of which is taken once."""
    if not len(boxes.scores) or not len(others.scores):
        return 0
    overlaps = _iou(boxes.corners, others.corners)
    overlaps[boxes.classes[:, None] != others.classes[None, :]] = 0.0
    hits = 0
    for row in overlaps:
        best = int(np.argmax(row))
        if row[best] >= IOU:
            overlaps[:, best] = 0.0
            hits += 1
    return hits


def _iou(one: Floats, other: Floats) -> Floats:
    """Intersection over union of each of `one` (n, 4) with each of `other` (m, 4)."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    common = np.prod(np.maximum(high - low, 0.0), axis=2)
    union = _areas(one)[:, None] + _areas(other)[None, :] - common
    return np.asarray(common / np.where(union > 0, union, 1.0))


def _areas(corners: Floats) -> Floats:
    return np.asarray(np.prod(np.maximum(corners[:, 2:] - corners[:, :2], 0.0), axis=1))


def _without_batch(values: NDArray[Any]) -> NDArray[Any]:
    return values[0] if values.ndim > 1 and values.shape[0] == 1 else values


def _floats(values: NDArray[Any]) -> Floats:
    return np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _only(outputs: Arrays, fits: Callable[[str, NDArray[Any]], bool]) -> NDArray[Any] | None:
    """The one output that fits."""
    fitting = [values for name, values in outputs.items() if fits(name, values)]
    return fitting[0] if len(fitting) == 1 else None


def _of_lists(outputs: Arrays) -> Detections | None:
    """Boxes (n, 4), and of the same length n a list of classes and one of scores."""
    boxes = _boxes(outputs)
    if boxes is None:
        return None
    lists = {name: values for name, values in outputs.items() if values.shape == boxes.shape[:1]}
    classes = _only(lists, lambda name, values: _names_class(name) or values.dtype.kind in "iu")
    scores = _only(lists, lambda name, values: not _names_class(name) and values.dtype.kind in "fV")
    if classes is None or scores is None:
        return None
    layout = "boxes, classes and scores (torchvision, TensorFlow)"
    return Detections(_corners(_floats(boxes)), classes.astype(np.int64), _floats(scores), layout)


def _boxes(outputs: Arrays) -> NDArray[Any] | None:
    """The output of boxes; of several of four columns the one that is called so."""
    named = {name: values for name, values in outputs.items() if "box" in name.lower()}
    return _only(named or outputs, _are_boxes)


def _are_boxes(name: str, values: NDArray[Any]) -> bool:
    return values.ndim == 2 and values.shape[1] == 4 and values.dtype.kind in "fV"


def _names_class(name: str) -> bool:
    return "class" in name.lower() or "label" in name.lower()


def _of_scores(outputs: Arrays) -> Detections | None:
    """Boxes (n, 4) and scores (n, classes), of which the background is none. DETR's boxes are by centre."""
    boxes = _boxes(outputs)
    if boxes is None:
        return None
    tables = {name: values for name, values in outputs.items() if values.ndim == 2 and values is not boxes}
    scores = _only(tables, lambda _, values: len(values) == len(boxes) and values.shape[1] > 1)
    if scores is None:
        return None
    classes, best = _best(_floats(scores))
    layout = "boxes, and scores per class (SSD, DETR)"
    places = _from_centre(_floats(boxes)) if _DETR in outputs else _corners(_floats(boxes))
    return Detections(places, classes, best, layout)


def _best(scores: Floats) -> tuple[NDArray[np.int64], Floats]:
    """The best class of each row and its probability, 0 where that class is the background.

    A class that is the best of more than half of all boxes, and the first or the last one, is the background.
    """
    best = np.argmax(scores, axis=1)
    background = next((place for place in (scores.shape[1] - 1, 0) if np.mean(best == place) > 0.5), None)
    if scores.size and (scores.min() < 0 or scores.max() > 1):
        scores = _sigmoid(scores) if background is None else _softmax(scores)
    probabilities = scores[np.arange(len(scores)), best]
    if background is not None:
        probabilities = np.where(best == background, 0.0, probabilities)
    return best, probabilities


def _sigmoid(scores: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(scores, -500, 500))))


def _softmax(scores: Floats) -> Floats:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _of_yolo(outputs: Arrays) -> Detections | None:
    """One output of two axes, of which the shorter has a box's numbers; a second of masks (YOLO's segments) may be."""
    table = _only(outputs, _is_table)
    if table is None:
        return None
    numbers = _floats(table)
    masks = next((len(values) for values in outputs.values() if values.ndim == 3), 0)
    if table.shape[0] < table.shape[1]:
        numbers = numbers[: len(table) - masks].T
        return _yolo(numbers[:, :4], numbers[:, 4:], "a YOLO of version 8 on (boxes by centre, scores per class)")
    return _yolo_10(numbers) or _yolo_5(numbers[:, : table.shape[1] - masks])


def _is_table(_: str, values: NDArray[Any]) -> bool:
    return values.ndim == 2 and min(values.shape) >= _LEAST_YOLO


def _yolo_10(numbers: Floats) -> Detections | None:
    """Corners, score and class, without overlaps already."""
    if numbers.shape[1] != _END_TO_END or not np.array_equal(numbers[:, 5], np.round(numbers[:, 5])):
        return None
    layout = "a YOLO of version 10 on (corners, score, class)"
    return Detections(numbers[:, :4], numbers[:, 5].astype(np.int64), numbers[:, 4], layout)


def _yolo_5(numbers: Floats) -> Detections | None:
    """Centre, width, height, a score that there is anything, and one per class; of one class it may be left out."""
    anything = numbers[:, 4:5]
    scores = anything
    if numbers.shape[1] > _LEAST_YOLO:
        scores = anything * numbers[:, _LEAST_YOLO:]
    return _yolo(numbers[:, :4], scores, "a YOLO 5 (boxes by centre, a score and scores per class)")


def _yolo(boxes: Floats, scores: Floats, layout: str) -> Detections | None:
    if not scores.shape[1]:
        return None
    best = np.argmax(scores, axis=1)
    return Detections(_from_centre(boxes), best, scores[np.arange(len(scores)), best], layout)


def _corners(boxes: Floats) -> Floats:
    """Boxes as corners: they are, unless hardly any of them has its second corner beyond the first."""
    if len(boxes) and np.mean((boxes[:, 2:] >= boxes[:, :2]).all(axis=1)) < 0.9:
        return _from_centre(boxes)
    return boxes


def _from_centre(boxes: Floats) -> Floats:
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def _suppressed(ordered: Detections) -> Detections:
    """Without those that overlap a more certain one of their class; the most certain come first."""
    if not len(ordered.scores):
        return ordered
    overlaps = _iou(ordered.corners, ordered.corners)
    overlaps[ordered.classes[:, None] != ordered.classes[None, :]] = 0.0
    kept: list[int] = []
    for place in range(len(ordered.scores)):
        if not kept or overlaps[place, kept].max() < _SUPPRESSED_IOU:
            kept.append(place)
    return Detections(ordered.corners[kept], ordered.classes[kept], ordered.scores[kept], ordered.layout)
