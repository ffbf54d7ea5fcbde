"""Drawing by the package supervision, where it is installed."""

from __future__ import annotations

import numpy as np
import pytest

from framepace.facts.answers import Detections, Text
from framepace.sinks.drawing import drawing

pytest.importorskip("supervision")


def test_detections_are_drawn_and_other_answers_too() -> None:
    """With tracks, points and masks, with none, and without boxes; the picture itself is not changed."""
    draw = drawing("auto")
    picture = np.full((120, 160, 3), 90, np.uint8)
    one = Detections(
        boxes=np.array([[20.0, 30, 90, 100]], np.float32),
        scores=np.array([0.9], np.float32),
        labels=np.array([0]),
        names=("cat",),
        keypoints=np.array([[[40.0, 50, 0.9]]], np.float32),
        masks=np.zeros((1, 120, 160), bool),
        tracks=np.array([3]),
    )
    none = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    assert (draw(picture, {"d": one})[30, 30] != 90).any()
    assert (draw(picture, {"d": none}) == 90).all()
    assert (draw(picture, {"t": Text("A", 1.0)}) != 90).any()
    assert (picture == 90).all()
