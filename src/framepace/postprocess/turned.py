"""Boxes that are turned: centre, width, height and angle in radians, float32 [n, 5]."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.postprocess.boxes import Floats, Places, from_centre

_TINY = 1e-7
_FARTHEST = 100.0
_SIGNS = np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)], np.float32)  # of half a width and height, corner by corner
_MOST = 3000  # boxes that are held against each other


def around(boxes: Floats) -> Floats:
    """The upright boxes around turned ones, as corners [n, 4]."""
    cosine = np.abs(np.cos(boxes[:, 4]))
    sine = np.abs(np.sin(boxes[:, 4]))
    width = boxes[:, 2] * cosine + boxes[:, 3] * sine
    height = boxes[:, 2] * sine + boxes[:, 3] * cosine
    return from_centre(np.column_stack([boxes[:, :2], width, height]))


def corners_of(boxes: Floats) -> Floats:
    """The four corners in turn, each with a score of 1: [n, 4, 3]."""
    halves = boxes[:, None, 2:4] / 2 * _SIGNS
    cosine = np.cos(boxes[:, 4:])
    sine = np.sin(boxes[:, 4:])
    corners = np.ones((len(boxes), 4, 3), np.float32)
    corners[..., 0] = boxes[:, :1] + halves[..., 0] * cosine - halves[..., 1] * sine
    corners[..., 1] = boxes[:, 1:2] + halves[..., 0] * sine + halves[..., 1] * cosine
    return corners


def turned_nms(boxes: Floats, scores: Floats, threshold: float, labels: NDArray[Any], limit: int) -> Places:
    """Which boxes stay, the surest first: those that no surer one of their class is more alike than `threshold`.

    What ultralytics does with turned boxes: a box that went itself still makes others go.
    """
    order = np.argsort(-scores, kind="stable")[:_MOST]
    alike = likeness(boxes[order], boxes[order]) > threshold
    alike &= labels[order][:, None] == labels[order][None, :]
    return np.asarray(order[~np.triu(alike, k=1).any(axis=0)][:limit])


def likeness(one: Floats, other: Floats) -> Floats:
    """How alike turned boxes are, [n, m] from 0 to 1: one less the Hellinger distance of two Gaussians.

    ProbIoU (Murrugarra-Llerena, Kirsten, Zeni, Jung 2021, arXiv 2106.06072): a box stands for the Gaussian with the
    covariance of a uniform density over it.
    """
    distance = _distance(one, other)
    return np.asarray(1 - np.sqrt(1 - np.exp(-np.clip(distance, _TINY, _FARTHEST)) + _TINY))


def _distance(one: Floats, other: Floats) -> Floats:
    """Bhattacharyya's distance of the Gaussians [n, m]: of their middles, and of their shapes."""
    ours = _covariance(one)[:, :, None]
    others = _covariance(other)[:, None, :]
    a, b, c = ours + others
    dx, dy = other.T[:2, None, :] - one.T[:2, :, None]
    determinant = a * b - c * c
    apart = (a * dy * dy + b * dx * dx - 2 * c * dx * dy) / (determinant + _TINY) / 4
    return np.asarray(apart + _of_shapes(determinant, _determinant(ours) * _determinant(others)))


def _of_shapes(both: Floats, product: Floats) -> Floats:
    """The part of the distance that is there in one place, too."""
    return np.asarray(np.log(both / (4 * np.sqrt(product) + _TINY) + _TINY) / 2)


def _covariance(boxes: Floats) -> Floats:
    """The variances along x and y, and the covariance: [3, n]."""
    wide, high = boxes.T[2:4] ** 2 / 12
    cosine = np.cos(boxes[:, 4])
    sine = np.sin(boxes[:, 4])
    along_x = wide * cosine**2 + high * sine**2
    along_y = wide * sine**2 + high * cosine**2
    return np.stack([along_x, along_y, (wide - high) * cosine * sine])


def _determinant(covariance: Floats) -> Floats:
    a, b, c = covariance
    return np.asarray(np.maximum(a * b - c * c, 0))
