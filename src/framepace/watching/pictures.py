"""The newest picture of a camera for a web page: a JPEG, and what the models say about it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from framepace.facts.answers import Answer, Classes, Crops, Detections, Regions, Tensors, Text
from framepace.facts.running import Result

WIDEST = 960  # pixels of a JPEG; boxes stay in pixels of the picture itself
_MOST_BOXES = 300
_MOST_NAMED = 3  # classes, texts or regions of one model
_QUALITY = 5  # of MPEG's scale from 2 (best) to 31
_JPEG_FORMAT = "yuvj420p"
_LEAST_SCORE = 0.3  # of a keypoint that is shown


def picture_document(result: Result) -> dict[str, Any]:
    """A picture with its boxes, points and captions; without 'jpeg' where it cannot be shown."""
    return {
        "source": result.source,
        "number": result.number,
        "time": result.time,
        "age_ms": result.age_ms,
        "error": result.error,
        **_overlay(result.answers),
        **_jpeg(result.picture),
    }


def _overlay(answers: Mapping[str, Answer]) -> dict[str, Any]:
    """What lies on the picture, and what is said below it."""
    detections = [answer for answer in answers.values() if isinstance(answer, Detections)]
    others = [(model, answer) for model, answer in answers.items() if not isinstance(answer, Detections)]
    return {
        "boxes": [box for answer in detections for box in _boxes(answer)],
        "points": [point for answer in detections for point in _points(answer)],
        "captions": [f"{model}: {_said(answer)}" for model, answer in others],
    }


def jpeg(frame: Any, widest: int = WIDEST) -> bytes:
    """An av.VideoFrame as JPEG, at most so many pixels wide."""
    from av.video.reformatter import VideoReformatter

    width = min(frame.width, widest)
    height = max(round(frame.height * width / frame.width), 1)
    small = VideoReformatter().reformat(frame, width, height, _JPEG_FORMAT)  # the frame's own belongs to no thread
    small.pts = 0
    codec = _encoder(width, height)
    return b"".join(bytes(packet) for packet in (*codec.encode(small), *codec.encode(None)))


def _encoder(width: int, height: int) -> Any:
    import av

    codec: Any = av.CodecContext.create("mjpeg", "w")
    codec.width = width
    codec.height = height
    codec.pix_fmt = _JPEG_FORMAT
    codec.time_base = Fraction(1, 25)
    codec.thread_count = 1
    codec.qmin = codec.qmax = _QUALITY
    return codec


def _jpeg(picture: Any) -> dict[str, Any]:
    import av

    if picture is None:
        return {}
    frame = picture
    if isinstance(picture, np.ndarray):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    return {"width": frame.width, "height": frame.height, "jpeg": b64encode(jpeg(frame)).decode()}


def _boxes(answer: Detections) -> Iterator[dict[str, Any]]:
    for number, box in enumerate(answer.boxes[:_MOST_BOXES]):
        if np.isfinite(box).all():
            left, top, right, bottom = map(float, box)
            sides = (left, top, right - left, bottom - top)
            yield {"box": [round(side, 1) for side in sides], "label": _label(answer, number)}


def _label(answer: Detections, number: int) -> str:
    label = f"{_name(answer.names, int(answer.labels[number]))} {answer.scores[number]:.2f}"
    if answer.tracks is not None and answer.tracks[number] >= 0:
        label += f" #{answer.tracks[number]}"
    return label


def _points(answer: Detections) -> Iterator[tuple[float, float]]:
    if answer.keypoints is None:
        return
    points = answer.keypoints[:_MOST_BOXES].reshape(-1, 3)
    shown = points[np.isfinite(points).all(axis=1) & (points[:, 2] >= _LEAST_SCORE)]
    yield from ((round(float(x), 1), round(float(y), 1)) for x, y, _ in shown)


def _said(answer: Answer) -> str:
    """What a model says that has no place in the picture."""
    match answer:
        case Classes():
            return _classes(answer)
        case Text():
            return f"{answer.text} {answer.score:.2f}"
        case Regions():
            return _regions(answer)
        case Tensors():
            return ", ".join(f"{name} {list(array.shape)}" for name, array in answer.arrays.items())
        case Detections():
            return ", ".join(_label(answer, number) for number in range(min(len(answer), _MOST_NAMED)))
        case Crops():
            return _of_crops(answer)


def _of_crops(answer: Crops) -> str:
    said = "; ".join(map(_said, answer.answers[:_MOST_NAMED]))
    if len(answer) <= _MOST_NAMED:
        return said
    return f"{said} and {len(answer) - _MOST_NAMED} more"


def _classes(answer: Classes) -> str:
    named = zip(answer.labels[:_MOST_NAMED], answer.scores[:_MOST_NAMED], strict=True)
    return ", ".join(f"{_name(answer.names, int(label))} {score:.2f}" for label, score in named)


def _regions(answer: Regions) -> str:
    """The classes that cover most of the picture."""
    labels, counts = np.unique(answer.labels, return_counts=True)
    largest = np.argsort(-counts)[:_MOST_NAMED]
    return ", ".join(f"{_name(answer.names, int(labels[i]))} {counts[i] / answer.labels.size:.0%}" for i in largest)


def _name(names: tuple[str, ...], label: int) -> str:
    return names[label] if 0 <= label < len(names) else str(label)
