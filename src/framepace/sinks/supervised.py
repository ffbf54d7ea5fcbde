"""Answers drawn by the package supervision, of the extra 'track'."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from framepace.facts.answers import Answer, Detections
from framepace.postprocess.supervised import as_supervision
from framepace.sinks.drawing import draw_answer, draw_points, label_of


def drawn_by_supervision(picture: NDArray[np.uint8], answers: Mapping[str, Answer]) -> NDArray[np.uint8]:
    """A copy of the picture with the detections as supervision draws them, and all other answers as framepace does."""
    canvas = picture.copy()
    for answer in answers.values():
        if isinstance(answer, Detections):
            canvas = _annotated(canvas, answer)
        else:
            draw_answer(canvas, answer)
    return canvas


def _annotated(canvas: NDArray[np.uint8], answer: Detections) -> NDArray[np.uint8]:
    import supervision

    detections = as_supervision(answer)
    if answer.masks is not None:
        canvas = supervision.MaskAnnotator().annotate(canvas, detections)
    canvas = supervision.BoxAnnotator().annotate(canvas, detections)
    for place in range(len(answer)):
        draw_points(canvas, answer, place)
    labels = [label_of(answer, place) for place in range(len(answer))]
    annotated: NDArray[np.uint8] = supervision.LabelAnnotator().annotate(canvas, detections, labels)
    return annotated
