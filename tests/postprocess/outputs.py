"""Outputs of every family for the same two boxes, and a reader for their network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.facts.postprocess import Post
from framepace.postprocess.network import Network, cells
from framepace.postprocess.reader import Reader

SIZE = (64, 96)
PICTURE = (128, 192)  # twice as large
CORNERS = np.array([[8, 10, 24, 40], [50, 20, 90, 60]], np.float32)  # in the input
SCORES = np.array([0.9, 0.6], np.float32)
LABELS = np.array([1, 2])
CELLS = cells(SIZE, (8, 16, 32))
NAMES = {"names": "{0: 'cat', 1: 'dog', 2: 'cow'}"}
Outputs = dict[str, NDArray[Any]]


def centred() -> NDArray[np.float32]:
    """The boxes by centre, width and height."""
    return np.concatenate([(CORNERS[:, :2] + CORNERS[:, 2:]) / 2, CORNERS[:, 2:] - CORNERS[:, :2]], axis=1)


def per_class() -> NDArray[np.float32]:
    """Scores of three classes."""
    rows = np.zeros((2, 3), np.float32)
    rows[range(2), LABELS] = SCORES
    return rows


def columns(*extra: NDArray[Any], count: int = CELLS) -> NDArray[np.float32]:
    """The table of version 8 on; each box stands twice, the second less sure."""
    table = np.zeros((count, 7 + sum(array.shape[1] for array in extra)), np.float32)
    table[:, :4] = (20, 20, 4, 4)
    table[5:7] = np.concatenate([centred(), per_class(), *extra], axis=1)
    table[9:11] = table[5:7]
    table[9:11, 4:7] *= 0.9
    return table.T[None]


def rows_with_object(count: int) -> NDArray[np.float32]:
    """The table of version 5."""
    table = np.zeros((1, count, 8), np.float32)
    table[0, :, :4] = (20, 20, 4, 4)
    table[0, 5:7] = np.concatenate([centred(), np.ones((2, 1)), per_class()], axis=1)
    table[0, 9:11] = table[0, 5:7] * 0.99
    return table


def yolox() -> NDArray[np.float32]:
    """Offsets from the cell, and logarithms of the sides in strides of 8."""
    table = np.zeros((1, CELLS, 8), np.float32)
    places = np.stack(np.meshgrid(np.arange(12), np.arange(8)), axis=-1).reshape(-1, 2)
    for place, box, scores in zip((20, 40), centred(), per_class(), strict=True):
        table[0, place, :2] = box[:2] / 8 - places[place]
        table[0, place, 2:4] = np.log(box[2:] / 8)
        table[0, place, 4:] = [1.0, *scores]
    return table


def ready(rows: int = 20) -> NDArray[np.float32]:
    """Corners, score, class, the surest first."""
    table = np.zeros((1, rows, 6), np.float32)
    table[0, :2] = np.column_stack([CORNERS, SCORES, LABELS])
    return table


def queries(logits: NDArray[np.float32], nothing: float) -> Outputs:
    """A hundred queries, two of which are objects."""
    table = np.full((1, 100, logits.shape[1]), nothing, np.float32)
    boxes = np.full((1, 100, 4), 0.5, np.float32)
    table[0, 30:32] = logits
    boxes[0, 30:32] = centred() / np.array([96, 64, 96, 64])
    return {"logits": table, "pred_boxes": boxes}


def detr() -> Outputs:
    """Softmax with 'no object' last."""
    probabilities = np.concatenate([per_class(), 1 - per_class().sum(axis=1, keepdims=True)], axis=1)
    outputs = queries(np.log(probabilities + 1e-6) + 5, -2)
    outputs["logits"][0, :30, -1] = outputs["logits"][0, 32:, -1] = 9
    return outputs


def rtdetr() -> Outputs:
    """A sigmoid per class."""
    scores = np.clip(per_class(), 1e-4, None)
    return queries(np.log(scores / (1 - scores)), -6)


def joined() -> Outputs:
    """Shares by centre, and scores behind."""
    table = np.zeros((1, 100, 7), np.float32)
    table[0, :, :4] = 0.4
    table[0, 30:32] = np.concatenate([centred() / np.array([96, 64, 96, 64]), per_class()], axis=1)
    return {"output0": table}


def ssd(background: bool) -> Outputs:
    """Shares of the sides as corners; probabilities with the background first, or of each class alone."""
    boxes = np.tile(np.array([0.1, 0.1, 0.2, 0.2], np.float32), (1, CELLS, 1))
    scores = np.zeros((1, CELLS, 4 if background else 3), np.float32)
    boxes[0, 5:7] = CORNERS / np.array([96, 64, 96, 64])
    if background:
        scores[0, :, 0] = 1
        scores[0, 5:7, 1:] = per_class()
        scores[0, 5:7, 0] = 1 - SCORES
    else:
        scores[0, 5:7] = per_class()
    return {"scores": scores, "boxes": boxes}


def lists(**more: NDArray[Any]) -> Outputs:
    """torchvision's."""
    return {"boxes": CORNERS, "labels": LABELS, "scores": SCORES, **more}


def tensorflow() -> Outputs:
    """Shares, y before x, floats for classes, and padding that does not count."""
    boxes = np.zeros((1, 10, 4), np.float32)
    boxes[0, :2] = CORNERS[:, [1, 0, 3, 2]] / np.array([64, 96, 64, 96])
    padded = [np.concatenate([array, np.full(8, 0.99)])[None].astype(np.float32) for array in (LABELS, SCORES)]
    count = np.array([2.0], np.float32)
    names = ("detection_boxes", "detection_classes", "detection_scores", "num_detections")
    return dict(zip(names, (boxes, *padded, count), strict=True))


def paddle() -> Outputs:
    """Class, score, corners, and how many there are."""
    return {"rows": np.column_stack([LABELS, SCORES, CORNERS]).astype(np.float32), "count": np.array([2])}


ULTRALYTICS = {**NAMES, "task": "detect", "head": "Detect"}
CASES: dict[str, tuple[str, Callable[[], Outputs], dict[str, str], int]] = {
    "YOLO 8 by its metadata": ("yolo8", lambda: {"output0": columns()}, ULTRALYTICS, 0),
    "YOLO 8 by its grid": ("yolo8", lambda: {"output0": columns()}, {}, 0),
    "YOLO 5": ("yolo5", lambda: {"output": rows_with_object(3 * CELLS)}, {}, 0),
    "YOLOX": ("yolox", lambda: {"output": yolox()}, {}, 0),
    "YOLO 10 by its metadata": ("yolo10", lambda: {"output0": ready()}, {**ULTRALYTICS, "end2end": "True"}, 0),
    "YOLO 8 with suppression": ("yolo10", lambda: {"output0": ready()}, {**ULTRALYTICS, "args": "{'nms': True}"}, 0),
    "YOLO 10 by its numbers": ("yolo10", lambda: {"output0": ready()}, {}, 0),
    "PaddleDetection": ("paddle", paddle, {}, 0),
    "torchvision": ("lists", lists, {}, 0),
    "TensorFlow": ("lists", tensorflow, {}, 0),
    "SSD": ("ssd", lambda: ssd(background=True), {}, 1),
    "YOLO-NAS": ("ssd", lambda: ssd(background=False), {}, 0),
    "DETR": ("detr", detr, {}, 0),
    "DETR by its names": ("detr", detr, NAMES, 0),
    "RT-DETR": ("rtdetr", rtdetr, {}, 0),
    "RT-DETR by its names": ("rtdetr", rtdetr, NAMES, 0),
    "RT-DETR of ultralytics": ("rtdetr", joined, ULTRALYTICS, 0),
}


def reader(metadata: dict[str, str], resize: Any = "stretch", **post: Any) -> Reader:
    """A reader for the test's network."""
    return Reader(Post(**post), Network("net", SIZE, resize, metadata))
