"""Tracking: which detections of a source are the same object from picture to picture, by the package trackers.

The extra 'track'. Pictures that were dropped or skipped break no track: a tracker is told when each was taken.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from framepace.errors import UsageError
from framepace.facts.answers import Answer, Detections
from framepace.facts.plan import ModelPlan
from framepace.facts.running import Result
from framepace.postprocess.supervised import as_supervision

_CLASSES = {
    "bytetrack": "ByteTrackTracker",
    "sort": "SORTTracker",
    "ocsort": "OCSORTTracker",
    "botsort": "BoTSORTTracker",
}
_LONGEST_GAP_S = 10.0  # after which a source is tracked anew; so it is when its clock goes back
_MOST = 4096  # trackers; those that were used longest ago go


def tracking(models: Iterable[ModelPlan]) -> Callable[[Result], Result]:
    """What gives the detections of results their tracks, as the plans of the models say (`track`).

    The results of a source have to come in its order. Raises UsageError where the library is missing.
    """
    kinds: dict[str, str] = {model.name: model.post.track for model in models if model.post.track != "off"}
    if not kinds:
        return lambda result: result
    _library()
    return _Tracking(kinds)


class Tracker:
    """Numbers the objects of one model on one source.

    Args:
        kind: 'bytetrack', 'sort', 'ocsort' or 'botsort'.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._tracker = _new_tracker(kind)
        self._last: float | None = None

    def __call__(self, detections: Detections, time: float) -> Detections:
        """The detections of a picture that was taken at `time` (seconds), in their order, with `tracks`."""
        if self._last is not None and not 0 < time - self._last <= _LONGEST_GAP_S:
            self._tracker = _new_tracker(self._kind)
        self._last = time
        tracked = self._tracker.update(as_supervision(detections), timestamp=time)
        tracks = np.full(len(detections), -1, np.int64)
        if len(tracked):
            tracks[tracked.data["place"]] = tracked.tracker_id
        return replace(detections, tracks=tracks)


class _Tracking:
    """Trackers of all sources and models."""

    def __init__(self, kinds: dict[str, str]) -> None:
        self._kinds = kinds
        self._trackers: OrderedDict[tuple[str, str], Tracker] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, result: Result) -> Result:
        answers = {model: self._tracked(result, model, answer) for model, answer in result.answers.items()}
        return replace(result, answers=answers)

    def _tracked(self, result: Result, model: str, answer: Answer) -> Answer:
        if model not in self._kinds or not isinstance(answer, Detections):
            return answer
        return self._tracker(result.source, model)(answer, result.time)

    def _tracker(self, source: str, model: str) -> Tracker:
        key = (source, model)
        with self._lock:
            tracker = self._trackers.pop(key, None) or Tracker(self._kinds[model])
            self._trackers[key] = tracker
            if len(self._trackers) > _MOST:
                self._trackers.popitem(last=False)
        return tracker


def _new_tracker(kind: str) -> Any:
    options = {"enable_cmc": False} if kind == "botsort" else {}  # which would need the picture
    return getattr(_library(), _CLASSES[kind])(**options)


def _library() -> Any:
    try:
        import trackers
    except ImportError as error:
        fix = "install it: pip install 'framepace[track]', or leave track out"
        raise UsageError("tracking needs the package trackers, which is not installed", got=error, fix=fix) from error
    return trackers
