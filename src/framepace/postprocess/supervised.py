"""Detections as the package supervision has them, which trackers and annotators take (the extra 'track')."""

from __future__ import annotations

from typing import Any

import numpy as np

from framepace.facts.answers import Detections


def as_supervision(answer: Detections) -> Any:
    """The same as supervision.Detections; its data 'place' says which of the answer's objects each is."""
    import supervision

    return supervision.Detections(
        xyxy=np.asarray(answer.boxes, dtype=np.float32).reshape(-1, 4),
        confidence=np.asarray(answer.scores, dtype=np.float32),
        class_id=np.asarray(answer.labels, dtype=np.int64),
        mask=answer.masks,
        tracker_id=answer.tracks,
        data={"place": np.arange(len(answer))},
    )
