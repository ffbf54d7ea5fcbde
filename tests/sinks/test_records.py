"""Results as plain values."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

from framepace.facts.answers import Answer, Classes, Detections, Regions, Tensors, Text
from framepace.sinks.records import objects, record
from tests.doubles.sinks import crops, result

TWO = Detections(
    boxes=np.array([[1.234, 2, 30, 40], [5, 6, 7, 8]], dtype=np.float32),
    scores=np.array([0.9, 0.33333], dtype=np.float32),
    labels=np.array([1, 7]),
    names=("cat", "dog"),
    keypoints=np.array([[[1, 2, 0.5]], [[3, 4, 0.25]]], dtype=np.float32),
    masks=np.array([[[0, 1], [0, 1]], [[1, 1], [0, 0]]], dtype=bool),
    tracks=np.array([4, -1]),
)


def test_detections_are_objects_with_what_is_known_of_them() -> None:
    """Numbers are rounded as they are read; a class without a name has none; masks are COCO's runs by columns."""
    assert objects(TWO) == [
        {
            "box": [1.23, 2.0, 30.0, 40.0],
            "label": 1,
            "score": 0.9,
            "name": "dog",
            "track": 4,
            "keypoints": [[1.0, 2.0, 0.5]],
            "mask": {"size": [2, 2], "counts": [2, 2]},
        },
        {
            "box": [5.0, 6.0, 7.0, 8.0],
            "label": 7,
            "score": 0.3333,
            "track": -1,
            "keypoints": [[3.0, 4.0, 0.25]],
            "mask": {"size": [2, 2], "counts": [0, 1, 1, 1, 1]},
        },
    ]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Classes(np.array([1]), np.array([0.75]), ("a", "b")), [{"label": 1, "score": 0.75, "name": "b"}]),
        (
            Regions(np.array([[0, 0, 0], [2, 2, 2], [2, 1, 2]]), ("sky", "road")),
            [
                {"label": 2, "share": 0.5556},
                {"label": 0, "share": 0.3333, "name": "sky"},
                {"label": 1, "share": 0.1111, "name": "road"},
            ],
        ),
        (Text("A7", 0.5), [{"text": "A7", "score": 0.5}]),
        (
            Tensors({"y": np.zeros((1, 2), np.float32)}),
            [{"tensor": "y", "dtype": "float32", "shape": [1, 2], "values": [[0.0, 0.0]]}],
        ),
        (Tensors({"y": np.zeros(1001)}), [{"tensor": "y", "dtype": "float64", "shape": [1001]}]),
        (
            crops(Text("A", 1.0), Text("B", 0.5)),
            [{"crop": 0, "text": "A", "score": 1.0}, {"crop": 1, "text": "B", "score": 0.5}],
        ),
        (crops(), []),
    ],
)
def test_every_answer_is_a_list_of_objects(answer: Answer, expected: list[dict[str, object]]) -> None:
    """Whatever a model says; what it says about boxes names their numbers."""
    assert objects(answer) == expected


def test_a_result_is_json() -> None:
    """With an error where there is one, and a number that is none as null."""
    broken = Detections(np.full((1, 4), np.nan), np.array([np.nan]), np.array([0]))
    line = msgspec.json.encode(record(result(3, answers={"a": TWO, "b": broken}, error="device lost", picture="no")))
    plain = json.loads(line)
    assert list(plain) == ["source", "number", "time", "age_ms", "late", "answers", "error"]
    assert plain["answers"]["b"] == [{"box": [None] * 4, "label": 0, "score": None}]
