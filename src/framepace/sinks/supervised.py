"""Answers drawn by the package supervision, of the extra 'track'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.facts.answers import Answer, Detections
from framepace.sinks.drawing import draw_answer, label_of


def drawn_by_supervision(picture: NDArray[np.uint8], answers: Mapping[str, Answer]) -> NDArray[np.uint8]:
    """A copy of the picture with the detections as supervision draws them, and all other answers as framepace does."""
    canvas = picture.copy()
    for answer in answers.values():
        if isinstance(answer, Detections):
            canvas = _annotated(canvas, answer)
        else:
            draw_answer(canvas, answer)
    return canvas


def as_supervision(answer: Detections) -> Any:
    """The same as supervision.Detections."""
    import supervision

    return supervision.Detections(
        xyxy=np.asarray(answer.boxes, dtype=np.float32).reshape(-1, 4),
        confidence=np.asarray(answer.scores, dtype=np.float32),
        class_id=np.asarray(answer.labels, dtype=int),
        mask=answer.masks,
        tracker_id=answer.tracks,
    )


def _annotated(canvas: NDArray[np.uint8], answer: Detections) -> NDArray[np.uint8]:
    import supervision

    detections = as_supervision(answer)
    if answer.masks is not None:
        canvas = supervision.MaskAnnotator().annotate(canvas, detections)
    canvas = supervision.BoxAnnotator().annotate(canvas, detections)
    canvas = _with_points(canvas, answer)
    labels = [label_of(answer, place) for place in range(len(answer))]
    annotated: NDArray[np.uint8] = supervision.LabelAnnotator().annotate(canvas, detections, labels)
    return annotated


def _with_points(canvas: NDArray[np.uint8], answer: Detections) -> NDArray[np.uint8]:
    import supervision

    if answer.keypoints is None or not len(answer):
        return canvas
    places = supervision.KeyPoints(xy=answer.keypoints[..., :2], confidence=answer.keypoints[..., 2])
    annotated: NDArray[np.uint8] = supervision.VertexAnnotator().annotate(canvas, places)
    return annotated
