"""What bench/postprocess.py prints of each network."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from framepace.facts.answers import Answer, Detections
from framepace.postprocess.reader import Reader

SIZE = (256, 320)
PICTURE = (480, 640)


class Row(NamedTuple):
    """A network, whose post-processing, how many answers of both are the same, and the largest difference."""

    network: str
    reference: str
    same: int
    ours: int
    theirs: int
    difference: float
    family: str


def same_boxes(answer: Answer, boxes: NDArray[Any], scores: NDArray[Any], labels: NDArray[Any]) -> tuple[int, float]:
    """How many boxes of the reference are the answer's, and by how many pixels the worst of them differs."""
    assert isinstance(answer, Detections)
    count = 0
    worst = 0.0
    for box, score, label in zip(boxes, scores, labels, strict=True):
        alike = (answer.labels == label) & (np.abs(answer.scores - score) < 1e-4)
        if alike.any():
            away = float(np.abs(answer.boxes[alike] - box).max(axis=1).min())
            count += away <= 1
            worst = max(worst, away if away <= 1 else 0.0)
    return count, worst


def family_of(reader: Reader) -> str:
    """The family of the reader's note."""
    words = reader.note.partition(" are read as ")[2].split()
    return words[0] if words else "undecided"
