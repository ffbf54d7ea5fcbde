"""Models after models: what one found in pictures becomes the frames of the next.

Pure but for the pixels: which boxes are taken, which are left out, and where an answer about a part lies in the whole.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import isnan
from typing import Any

import numpy as np

from framepace.errors import PlanError
from framepace.facts.answers import Answer, Detections, Tensors
from framepace.facts.plan import ModelPlan
from framepace.video.frame import Frame
from framepace.video.history import sides
from framepace.video.parts import Box, Cutter

Read = Callable[[Any, tuple[int, int]], Answer]
"""Reads the outputs of one model for one picture of (height, width)."""
Said = tuple[Frame, Answer]
"""A frame, or a crop of one, and what a model said about it."""
_Scored = tuple[Any, float]
"""A box, and how sure it is."""


@dataclass(slots=True, kw_only=True)
class Crop(Frame):
    """A part of a frame's picture on its way through a model; its number, source and stamps are the frame's.

    Attributes:
        of: the whole frame.
        place: the number of the box among those that the model before found in the frame.
        box: what was cut out, in pixels of the whole picture.
    """

    of: Frame
    place: int
    box: Box


@dataclass(frozen=True)
class Cut:
    """What was made of the boxes of one frame for one model.

    Attributes:
        frame: whole.
        crops: those it runs on, in the order of the boxes; the surest where there are too many.
        left_out: how many boxes of its classes it does not run on: over its limit, or without a pixel in the picture.
    """

    frame: Frame
    crops: tuple[Crop, ...]
    left_out: int


OnCut = Callable[[str, Cut], None]
"""Learns of every cut for a model, by its name, before the model runs on it."""


@dataclass(frozen=True)
class CropRule:
    """Which boxes a model runs on; see facts.plan.ModelPlan."""

    model: str
    after: str
    whole: bool
    limit: int
    names: frozenset[str]

    @classmethod
    def of(cls, model: ModelPlan) -> CropRule | None:
        """The rule of a model; None where it runs on whole pictures."""
        if model.after is None:
            return None
        whole = model.crop == "picture"
        return cls(model.name, model.after, whole, model.crops, frozenset(model.crop_names))


def cuts(said: Sequence[Said], rule: CropRule) -> list[Cut]:
    """The crops of each frame that a model said something about, in the order of the frames."""
    frames: dict[int, Frame] = {}
    boxes: dict[int, list[_Scored | None]] = {}
    for frame, answer in said:
        whole = whole_of(frame)
        frames[whole.number] = whole
        boxes.setdefault(whole.number, []).extend(_wanted(answer, rule))
    return [_cut(frame, boxes[number], rule) for number, frame in frames.items()]


def whole_of(frame: Frame) -> Frame:
    """The frame itself, or that of a crop."""
    return frame.of if isinstance(frame, Crop) else frame


def answer_of(read: Read, outputs: Any, frame: Frame) -> Answer:
    """What a model says about a frame or crop, in pixels of the whole picture."""
    answer = read(outputs, sides(frame.picture))
    if isinstance(answer, Tensors):  # the worker's buffers are used again
        answer = Tensors({name: np.array(array) for name, array in answer.arrays.items()})
    if isinstance(frame, Crop) and isinstance(answer, Detections):
        return _moved(answer, frame)
    return answer


def _cut(frame: Frame, boxes: Sequence[_Scored | None], rule: CropRule) -> Cut:
    wanted = [(place, box) for place, box in enumerate(boxes) if box is not None]
    if not wanted:
        return Cut(frame, (), 0)
    cutter = Cutter(frame.picture)
    if rule.whole:
        return Cut(frame, (_crop(frame, 0, cutter.whole, cutter),), 0)
    if len(wanted) > rule.limit:
        wanted.sort(key=_surest_first)  # a hook finds them in any order, and so do several crops of one picture
    taken = sorted(islice(_within(wanted, cutter), rule.limit))
    crops = tuple(_crop(frame, place, box, cutter) for place, box in taken)
    return Cut(frame, crops, len(wanted) - len(crops))


def _surest_first(numbered: tuple[int, _Scored]) -> tuple[bool, float]:
    score = numbered[1][1]
    return isnan(score), -score


def _within(boxes: Sequence[tuple[int, _Scored]], cutter: Cutter) -> Iterator[tuple[int, Box]]:
    """Those that have pixels in the picture, with their numbers."""
    for place, (given, _) in boxes:
        box = cutter.box(given)
        if box is not None:
            yield place, box


def _crop(frame: Frame, place: int, box: Box, cutter: Cutter) -> Crop:
    return Crop(
        frame.number,
        frame.source,
        frame.due,
        frame.available,
        frame.captured,
        frame.decoded,
        frame.queued,
        cutter.cut(box),
        of=frame,
        place=place,
        box=box,
    )


def check(answer: Answer, rule: CropRule | None) -> None:
    """Raises PlanError for an answer without boxes, or a class that the model before does not have."""
    if rule is None:
        return
    if not isinstance(answer, Detections):
        got = f"{rule.after} says {type(answer).__name__}"
        fix = f"--set {rule.after}.post=FAMILY, or post=module:function that returns Detections"
        raise PlanError(f"{rule.model} runs after {rule.after}, which finds no boxes", got=got, fix=fix)
    lacking = [name for name in rule.names.difference(answer.names) if answer.names and not name.isdigit()]
    if lacking:
        some = ", ".join(answer.names[:8])
        fix = f"correct crop-names of {rule.model}"
        raise PlanError(f"{rule.after} knows no such class", got=sorted(lacking)[0], expected=f"one of {some}", fix=fix)


def _wanted(answer: Answer, rule: CropRule) -> Iterator[_Scored | None]:
    """The boxes of an answer that `check` let pass, scored; None in the place of those of other classes."""
    assert isinstance(answer, Detections)
    for box, score, label in zip(answer.boxes, answer.scores.tolist(), answer.labels.tolist(), strict=True):
        if rule.names and rule.names.isdisjoint(_called(label, answer.names)):
            yield None
        else:
            yield box, score


def _called(label: int, names: tuple[str, ...]) -> tuple[str, ...]:
    return (str(label), names[label]) if 0 <= label < len(names) else (str(label),)


def _moved(answer: Detections, crop: Crop) -> Detections:
    """The objects in a crop, in pixels of the whole picture."""
    left, top, right, bottom = crop.box
    boxes = answer.boxes + np.array((left, top, left, top), np.float32)
    keypoints = answer.keypoints
    if keypoints is not None:
        keypoints = keypoints + np.array((left, top, 0), np.float32)
    masks = answer.masks
    if masks is not None:
        masks = np.zeros((len(answer), *sides(crop.of.picture)), bool)
        masks[:, top:bottom, left:right] = answer.masks
    return replace(answer, boxes=boxes, keypoints=keypoints, masks=masks)


class CropCounts:
    """Counts the boxes that models ran on and left out, over all workers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, tuple[int, int, int]] = {}

    def add(self, model: str, cut: Cut) -> None:
        """See OnCut."""
        with self._lock:
            pictures, taken, left_out = self._counts.get(model, (0, 0, 0))
            self._counts[model] = (pictures + 1, taken + len(cut.crops), left_out + cut.left_out)

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence per model on how many boxes it ran."""
        return tuple(_counted(model, *counts) for model, counts in self._counts.items())


def _counted(model: str, pictures: int, taken: int, left_out: int) -> str:
    note = f"{model} ran on {taken} boxes, {taken / pictures:.2g} per picture"
    if left_out:
        return f"{note}, and left out {left_out} that were over its limit or beside the picture"
    return note
