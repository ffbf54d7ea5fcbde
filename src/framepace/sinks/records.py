"""Results as plain values, for JSON, MQTT and tables: every answer is a list of objects.

An object has only what its answer says of it: `box`, `score`, `label`, `name`, `track`, `keypoints`, `mask`, `text`,
`share` (of the picture's pixels), `tensor` with `dtype` and `shape` (and `values`, if there are few), and `crop`: the
number of the object of the model before, among its objects, that a model ran on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.facts.answers import Answer, Classes, Crops, Detections, Regions, Tensors, Text
from framepace.facts.running import Result

Record = dict[str, Any]
FEW_VALUES = 1000  # of a tensor that is written whole
_PIXELS = 2  # decimals of a place in the picture
_SCORES = 4


def record(result: Result) -> Record:
    """A result as JSON has it: `source`, `number`, `time`, `age_ms`, `late`, `answers` by model, `error` if any."""
    plain: Record = {
        "source": result.source,
        "number": result.number,
        "time": round(result.time, 6),
        "age_ms": round(result.age_ms, 3),
        "late": result.late,
        "answers": {model: objects(answer) for model, answer in result.answers.items()},
    }
    if result.error is not None:
        plain["error"] = result.error
    return plain


def objects(answer: Answer) -> list[Record]:
    """The objects of an answer."""
    return list(_objects(answer))


def _objects(answer: Answer) -> Iterator[Record]:
    match answer:
        case Crops():
            return _of_crops(answer)
        case Detections():
            return _detected(answer)
        case Classes():
            return _labelled(answer.labels, answer.scores, answer.names)
        case Regions():
            return _regions(answer)
        case Text():
            return iter([{"text": answer.text, "score": round(answer.score, _SCORES)}])
        case Tensors():
            return (_tensor(name, array) for name, array in answer.arrays.items())


def _of_crops(answer: Crops) -> Iterator[Record]:
    for place, part in zip(answer.places.tolist(), answer.answers, strict=True):
        for one in _objects(part):
            yield {"crop": place, **one}


def _detected(answer: Detections) -> Iterator[Record]:
    boxes = _rounded(answer.boxes, _PIXELS)
    labelled = _labelled(answer.labels, answer.scores, answer.names)
    for place, (box, one) in enumerate(zip(boxes, labelled, strict=True)):
        one = {"box": box, **one}
        if answer.tracks is not None:
            one["track"] = int(answer.tracks[place])
        if answer.keypoints is not None:
            one["keypoints"] = _rounded(answer.keypoints[place], _PIXELS)
        if answer.masks is not None:
            one["mask"] = _runs(answer.masks[place])
        yield one


def _labelled(labels: NDArray[Any], scores: NDArray[Any], names: Sequence[str]) -> Iterator[Record]:
    for label, score in zip(labels.tolist(), _rounded(scores, _SCORES), strict=True):
        one: Record = {"label": label, "score": score}
        if 0 <= label < len(names):
            one["name"] = names[label]
        yield one


def _regions(answer: Regions) -> Iterator[Record]:
    """The classes in a picture, with the share of its pixels, the largest first."""
    labels, counts = np.unique(answer.labels, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    shares = _rounded(counts[order] / max(1, answer.labels.size), _SCORES)
    for label, share in zip(labels[order].tolist(), shares, strict=True):
        one: Record = {"label": label, "share": share}
        if 0 <= label < len(answer.names):
            one["name"] = answer.names[label]
        yield one


def _runs(mask: NDArray[Any]) -> Record:
    """A mask as COCO writes it: lengths of runs by columns, of pixels outside first."""
    flat = np.asarray(mask, dtype=bool).ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0], changes, [flat.size]])
    counts = np.diff(edges).tolist()
    if flat.size and flat[0]:
        counts = [0, *counts]
    return {"size": list(mask.shape), "counts": counts}


def _tensor(name: str, array: NDArray[Any]) -> Record:
    one: Record = {"tensor": name, "dtype": array.dtype.name, "shape": list(array.shape)}
    if array.size <= FEW_VALUES and array.dtype.kind in "fiubO":
        one["values"] = array.tolist()
    return one


def _rounded(values: NDArray[Any], decimals: int) -> Any:
    """As float64, so that a float32 is written with as many digits as it was rounded to."""
    return np.round(np.asarray(values, dtype=np.float64), decimals).tolist()
