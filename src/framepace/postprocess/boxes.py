"""Arithmetic of boxes and scores: corners, overlaps, suppression. Boxes are x1, y1, x2, y2, float32 [n, 4]."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Places: TypeAlias = NDArray[np.intp]
"""Indices."""


def from_centre(boxes: NDArray[Any]) -> Floats:
    """Corners of boxes by centre, width and height."""
    boxes = boxes.astype(np.float32)
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def areas(boxes: Floats) -> Floats:
    """Areas of boxes [n]; 0 for one whose corners are in the wrong order."""
    return np.asarray(np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1))


def iou(one: Floats, other: Floats) -> Floats:
    """Intersection over union of each of `one` [n, 4] with each of `other` [m, 4]: [n, m]; 0 where both are empty."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    common = np.prod(np.maximum(high - low, 0), axis=2)
    union = areas(one)[:, None] + areas(other)[None, :] - common
    return np.asarray(common / np.where(union > 0, union, 1))


def nms(
    boxes: Floats, scores: Floats, threshold: float, labels: NDArray[Any] | None = None, limit: int = 300
) -> Places:
    """Non-maximum suppression: which boxes stay, the surest first, at most `limit`.

    A box goes when it overlaps a surer one that stays by more than `threshold` (IoU); with `labels` only one of its own
    class. The semantics of torchvision.ops.nms and batched_nms, which also keep the order of equal scores.
    """
    places = np.argsort(-scores, kind="stable")
    kinds = np.zeros(len(scores)) if labels is None else labels
    return places[_greedy(np.vstack([boxes.T, kinds])[:, places].astype(np.float32), threshold, limit)]


def _greedy(rows: Floats, threshold: float, limit: int) -> Places:
    """Which columns of `rows` (sides and class [5, n]) stay, each of which decides on those behind it."""
    places = np.arange(rows.shape[1])
    kept: list[int] = []
    while len(places) and len(kept) < limit:
        kept.append(int(places[0]))
        stays = (_overlaps_of_first(rows[:4]) <= threshold) | (rows[4] != rows[4, 0])
        stays[0] = False
        places = places[stays]
        rows = rows[:, stays]
    return np.array(kept, dtype=np.intp)


def _overlaps_of_first(sides: Floats) -> Floats:
    """Intersection over union of the first of some boxes with each, by their sides [4, n]; 0 where both are empty."""
    left, top, right, bottom = sides
    width = np.maximum(np.minimum(right, right[0]) - np.maximum(left, left[0]), 0)
    height = np.maximum(np.minimum(bottom, bottom[0]) - np.maximum(top, top[0]), 0)
    common = width * height
    sizes = np.maximum(right - left, 0) * np.maximum(bottom - top, 0)
    union = sizes + sizes[0] - common
    return np.asarray(np.divide(common, union, out=np.zeros_like(union), where=union > 0))


def surest(scores: Floats, least: float, limit: int) -> Places:
    """Which scores are above `least`, the highest first, at most `limit`."""
    chosen = np.flatnonzero(scores > least)
    return np.asarray(chosen[np.argsort(-scores[chosen], kind="stable")][:limit])


def sigmoid(logits: NDArray[Any]) -> Floats:
    """1 / (1 + exp(-x)), float32."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits.astype(np.float32), -80, 80))))


def softmax(logits: NDArray[Any]) -> Floats:
    """Along the last axis, float32."""
    logits = logits.astype(np.float32)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def are_probabilities(values: NDArray[Any]) -> bool:
    """Whether all numbers lie between 0 and 1, as far as float16 says."""
    return bool(values.size) and bool((values >= -1e-3).all()) and bool((values <= 1 + 1e-3).all())


def sum_to_one(values: NDArray[Any]) -> bool:
    """Whether they are probabilities that add up to 1 along the last axis."""
    return are_probabilities(values) and bool(np.allclose(values.sum(axis=-1, dtype=np.float64), 1, atol=1e-2))


def are_corners(boxes: NDArray[Any]) -> bool:
    """Whether nearly all boxes have their second corner beyond the first."""
    return bool(len(boxes)) and bool(np.mean((boxes[:, 2:] >= boxes[:, :2]).all(axis=1)) >= 0.9)


def are_whole(values: NDArray[Any]) -> bool:
    """Whether all numbers are whole, and none is below -1."""
    return bool(values.size) and bool((values == np.round(values)).all()) and bool((values >= -1).all())
