"""What a detector found, on its way from the network's outputs to the picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.facts.answers import Detections
from framepace.postprocess.boxes import Floats, Places, nms
from framepace.postprocess.placement import Placement
from framepace.postprocess.turned import corners_of, turned_nms

MOST = 300  # objects per picture
MOST_MASKS = 100  # of them with masks, each of which has as many bytes as the picture pixels
_MOST_CANDIDATES = 30_000

Masks = Callable[[Places, Placement, Floats], NDArray[np.bool_]]
"""Masks over the picture of the objects that stayed, by their places among all, and their boxes in the picture."""


@dataclass(frozen=True, eq=False)
class Found:
    """Boxes in the pixels of the network's input (or in shares of it, where its size is not known).

    Attributes:
        corners: x1, y1, x2, y2 [n, 4].
        scores: [n].
        labels: [n].
        iou: from which overlap on the less sure of two boxes of a class goes; None where none does.
        points: x, y, score [n, k, 3].
        masks: makes masks of those that stay.
        turned: boxes by centre, width, height and angle [n, 5], where `corners` are those around them.
    """

    corners: Floats
    scores: Floats
    labels: NDArray[Any]
    iou: float | None = None
    points: Floats | None = None
    masks: Masks | None = None
    turned: Floats | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def kept(self, iou: float | None = None, limit: int = MOST) -> Places:
        """Which stay, the surest first: all but those that overlap a surer one of their class; never more than `limit`.

        Args:
            iou: the user's threshold in place of the family's own.
        """
        order = np.argsort(-self.scores, kind="stable")[:_MOST_CANDIDATES]
        if self.iou is None:
            return np.asarray(order[:limit])
        threshold = self.iou if iou is None else iou
        if self.turned is not None:
            return turned_nms(self.turned, self.scores, threshold, self.labels, limit)
        return np.asarray(order[nms(self.corners[order], self.scores[order], threshold, self.labels[order], limit)])

    def points_at(self, kept: Places, placement: Placement) -> Floats | None:
        """The points of those that stay in the picture; of turned boxes their corners."""
        points = self.points
        if self.turned is not None:
            points = corners_of(self.turned)
        if points is None:
            return None
        return np.concatenate([placement.points(points[kept][..., :2]), points[kept][..., 2:]], axis=2)


def found_of(table: NDArray[Any], corners: Floats, scores: Floats, labels: NDArray[Any], iou: float | None) -> Found:
    """Boxes without those of which a number is none (`table` has all numbers of each)."""
    finite = np.isfinite(table.astype(np.float32)).all(axis=1) & np.isfinite(scores)
    return Found(corners[finite], scores[finite], labels[finite].astype(np.int64), iou)


def in_picture(found: Found, placement: Placement, names: tuple[str, ...], iou: float | None) -> Detections:
    """The detections that stay, in pixels of the picture."""
    kept = found.kept(iou, MOST if found.masks is None else MOST_MASKS)
    boxes = placement.boxes(found.corners[kept])
    return Detections(
        boxes=boxes,
        scores=found.scores[kept].astype(np.float32),
        labels=found.labels[kept].astype(np.int64),
        names=names,
        keypoints=found.points_at(kept, placement),
        masks=found.masks(kept, placement, boxes) if found.masks is not None else None,
    )
