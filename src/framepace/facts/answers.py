"""What a model says about a picture, once its outputs are read: boxes, classes, texts, masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Detections:
    """Objects in a picture, the surest first; n of them.

    Attributes:
        boxes: left, top, right, bottom in pixels of the picture, float32 [n, 4].
        scores: between 0 and 1, float32 [n].
        labels: numbers of classes, int64 [n].
        names: of the classes, by number; empty where the model's file has none.
        keypoints: x, y in pixels of the picture and a score, float32 [n, k, 3]; None where the model has none.
        masks: which pixels of the picture belong to each object, bool [n, height, width]; None where there are none.
        tracks: number of the object over frames, int64 [n], -1 where it has none yet; None without a tracker.
    """

    boxes: NDArray[Any]
    scores: NDArray[Any]
    labels: NDArray[Any]
    names: tuple[str, ...] = ()
    keypoints: NDArray[Any] | None = None
    masks: NDArray[Any] | None = None
    tracks: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, eq=False)
class Classes:
    """The likeliest classes of a picture, the likeliest first.

    Attributes:
        labels: numbers of classes, int64 [n].
        scores: between 0 and 1, float32 [n].
        names: of the classes, by number; empty where the model's file has none.
    """

    labels: NDArray[Any]
    scores: NDArray[Any]
    names: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Regions:
    """The class of each pixel of a picture: int64 [height, width], and the names of the classes by number."""

    labels: NDArray[Any]
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Text:
    """A line of text that was read, and the mean score of its characters (0 to 1)."""

    text: str
    score: float


@dataclass(frozen=True, eq=False)
class Tensors:
    """Outputs that nothing was said about how to read: arrays by name, one frame's part of the batch."""

    arrays: dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Crops:
    """What a model says about the boxes that another found in a picture; n of them.

    Attributes:
        of: the name of the other model.
        places: which of its boxes each answer is about, by their numbers in its answer, int64 [n].
        boxes: what was cut out: left, top, right, bottom in pixels of the picture, float32 [n, 4].
        answers: about each box; boxes and points in them are in pixels of the picture, regions in those of the box.
        left_out: how many boxes it did not run on, because of its limit per picture.
        failed: on how many it failed.
    """

    of: str
    places: NDArray[Any]
    boxes: NDArray[Any]
    answers: tuple[Detections | Classes | Regions | Text | Tensors, ...]
    left_out: int = 0
    failed: int = 0

    def __len__(self) -> int:
        return len(self.answers)


Answer: TypeAlias = Detections | Classes | Regions | Text | Tensors | Crops
"""What one model says about one picture."""
