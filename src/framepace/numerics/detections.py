"""Boxes of detectors, read by the family that they most likely are of, and matched with those of another way.

Both ways are read alike, so that a likely family is good enough here; `run` reads only what is certain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.postprocess.boxes import Floats, iou
from framepace.postprocess.families import likeliest_detector
from framepace.postprocess.network import Network, view_of

SCORE = 0.25  # from which on a box counts
IOU = 0.5  # from which on two boxes are the same
_MARGIN = 0.05  # a box that counts may be matched with one that is so much less certain
_SUPPRESSED_IOU = 0.45  # of boxes of one class, the less certain one is left out
_UNKNOWN = Network("")


@dataclass(frozen=True)
class Detections:
    """`corners` (n, 4) as x1, y1, x2, y2, `labels` (n) and `scores` (n) of a frame, the most certain first."""

    corners: Floats
    labels: NDArray[Any]
    scores: Floats
    layout: str = ""

    def over(self, score: float) -> Detections:
        """Those with at least that score."""
        chosen = self.scores >= score
        return Detections(self.corners[chosen], self.labels[chosen], self.scores[chosen], self.layout)


def read_detections(outputs: Mapping[str, NDArray[Any]], score: float = SCORE) -> Detections | None:
    """The boxes of a frame that count from `score` on, and those just under it; None for outputs of no known layout."""
    view = view_of(outputs, _UNKNOWN, (), None)
    family = likeliest_detector(view)
    if family is None or family.boxes is None:
        return None
    found = family.boxes(view, score - min(_MARGIN, score / 2))
    kept = found.kept(_SUPPRESSED_IOU)
    return Detections(found.corners[kept], found.labels[kept], found.scores[kept], family.help)


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
    overlaps = iou(boxes.corners, others.corners)
    overlaps[boxes.labels[:, None] != others.labels[None, :]] = 0.0
    hits = 0
    for row in overlaps:
        best = int(np.argmax(row))
        if row[best] >= IOU:
            overlaps[:, best] = 0.0
            hits += 1
    return hits
