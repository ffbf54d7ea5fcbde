"""Metrics: what 'the same answer' means, by classes, boxes, text, or a function of the user's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from framepace.errors import HookNeverWorked, PlanError, UsageError
from framepace.facts.accuracy import Gate
from framepace.numerics.detections import read_detections
from framepace.numerics.metrics import metric_of
from framepace.numerics.tallying import agreement_of
from framepace.numerics.transcripts import edits, read_transcript

Outputs = dict[str, NDArray[Any]]
CORNERS = np.array([[10, 20, 50, 60], [100, 100, 140, 180], [200, 10, 260, 40]], np.float32)
SCORES = np.array([0.9, 0.6, 0.4], np.float32)
CLASSES = np.array([0, 2, 1])
words = st.lists(st.integers(0, 3), max_size=6)


def centred() -> NDArray[np.float32]:
    """The boxes by centre, width and height."""
    sides = CORNERS[:, 2:] - CORNERS[:, :2]
    return np.concatenate([CORNERS[:, :2] + sides / 2, sides], axis=1)


def per_class(classes: int = 3, background: str = "") -> NDArray[np.float32]:
    """Scores per class of the three boxes, and of many more of the background where there is one."""
    rows = np.zeros((3, classes), np.float32)
    rows[range(3), CLASSES] = SCORES
    if not background:
        return rows
    nothing = np.zeros((20, 1), np.float32)
    rows = np.concatenate([rows, np.zeros((17, classes), np.float32)])
    nothing[:3, 0] = 1 - SCORES
    nothing[3:] = 1.0
    return np.concatenate([nothing, rows] if background == "first" else [rows, nothing], axis=1)


def padded(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Twenty boxes, of which the first three count."""
    return np.concatenate([boxes, np.repeat(boxes[:1], 17, axis=0)])


def yolo_8(masks: int = 0) -> Outputs:
    """(1, 4 + classes, n), with coefficients of masks behind."""
    table = np.concatenate([padded(centred()), np.zeros((20, 3 + masks), np.float32)], axis=1)
    table[:3, 4:7] = per_class()
    table[:, 7:] = 9.0
    outputs: Outputs = {"output0": table.T[None]}
    if masks:
        outputs["output1"] = np.zeros((1, masks, 8, 8), np.float32)
    return outputs


def yolo_5() -> Outputs:
    """(1, n, 5 + classes), the score of a box times that of its class."""
    table = np.zeros((1, 20, 8), np.float32)
    table[0, :3, :4] = centred()
    table[0, :3, 4] = 1.0
    table[0, :3, 5:] = per_class()
    return {"output": table}


def yolo_10() -> Outputs:
    """(1, n, 6): corners, score, class."""
    table = np.zeros((1, 20, 6), np.float32)
    table[0, :3] = np.column_stack([CORNERS, SCORES, CLASSES])
    return {"output0": table}


def torchvision() -> Outputs:
    """Three lists of one length."""
    return {"boxes": CORNERS, "labels": CLASSES, "scores": SCORES}


def tensorflow() -> Outputs:
    """The same with a batch, y before x, classes as floats, and how many there are."""
    return {
        "detection_boxes": CORNERS[None][..., [1, 0, 3, 2]],
        "detection_classes": CLASSES[None].astype(np.float32),
        "detection_scores": SCORES[None],
        "num_detections": np.array([3.0], np.float32),
    }


def ssd() -> Outputs:
    """Probabilities with the background first."""
    return {"scores": per_class(background="first")[None], "boxes": padded(CORNERS)[None]}


def detr() -> Outputs:
    """Logits with the background last, boxes by centre."""
    return {
        "logits": np.log(per_class(background="last")[None] + 1e-4),
        "pred_boxes": padded(centred())[None] / 400,
    }


LAYOUTS = {
    "yolo 8": (yolo_8(), 0),
    "yolo 8 with masks": (yolo_8(masks=2), 0),
    "yolo 5": (yolo_5(), 0),
    "yolo 10": (yolo_10(), 0),
    "torchvision": (torchvision(), 0),
    "tensorflow": (tensorflow(), 0),
    "ssd": (ssd(), 1),
    "detr": (detr(), 0),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_boxes_are_the_same_in_every_layout(name: str) -> None:
    """Three boxes with their classes, the most certain first; a background in front counts as class 0."""
    outputs, shift = LAYOUTS[name]
    found = read_detections(outputs)
    assert found is not None
    assert found.labels.tolist() == [number + shift for number in CLASSES]
    scale = 400 if name == "detr" else 1
    np.testing.assert_allclose(found.corners * scale, CORNERS, atol=1e-3)
    if name != "detr":
        np.testing.assert_allclose(found.scores, SCORES, atol=1e-6)


def test_a_classifier_and_a_map_are_no_detections() -> None:
    """The error names the outputs and says what to do."""
    for shape in ((1, 1000), (1, 21, 64, 64)):
        with pytest.raises(UsageError, match="cannot be read") as error:
            metric_of("detections").score({"y": np.zeros(shape, np.float32)}, {"y": np.zeros(shape, np.float32)})
        assert "module:function" in str(error.value)


def moved(outputs: Outputs, **changes: NDArray[Any]) -> Outputs:
    """Outputs with some of them changed."""
    return {**outputs, **changes}


@pytest.mark.parametrize(
    ("candidate", "score"),
    [
        (torchvision(), 1.0),
        (moved(torchvision(), boxes=CORNERS + 2), 1.0),
        (moved(torchvision(), labels=np.array([0, 2, 2])), 4 / 6),  # one of another class: none of both has a match
        (moved(torchvision(), boxes=CORNERS + 100), 0.0),
        (moved(torchvision(), scores=np.array([0.9, 0.6, 0.1], np.float32)), 4 / 5),
        (moved(torchvision(), scores=np.array([0.9, 0.6, 0.24], np.float32)), 1.0),  # just under 0.25: as certain
    ],
)
def test_a_box_is_the_same_by_overlap_and_class(candidate: Outputs, score: float) -> None:
    """The share of boxes of both that have a match; one more or less is a box without."""
    metric = metric_of("detections")
    scores = np.array([0.9, 0.6, 0.26], np.float32)
    reference = torchvision()
    if candidate["scores"][2] == np.float32(0.24):
        reference = moved(reference, scores=scores)
    assert metric.score(reference, candidate) == pytest.approx(score)


def test_frames_without_boxes_say_nothing() -> None:
    """Neither a right nor a wrong answer; a box that only one finds is wrong."""
    nothing = moved(torchvision(), scores=np.zeros(3, np.float32))
    metric = metric_of("detections")
    assert metric.score(nothing, nothing) is None
    assert metric.score(nothing, torchvision()) == 0.0
    assert metric_of("detections@0.7").score(torchvision(), torchvision()) == 1.0


@given(words, words, words)
def test_edits_are_a_distance(a: list[int], b: list[int], c: list[int]) -> None:
    """Zero between equal texts alone, symmetric, never over the longer text, no short cut over a third."""
    assert (edits(a, b) == 0) == (a == b)
    assert edits(a, b) == edits(b, a) <= max(len(a), len(b))
    assert edits(a, c) <= edits(a, b) + edits(b, c)


def steps(path: list[int], classes: int = 6) -> NDArray[np.float32]:
    """Scores of one step per class of `path`."""
    return np.eye(classes, dtype=np.float32)[path]


@pytest.mark.parametrize("form", [lambda x: x[None], lambda x: x[:, None], lambda x: x, lambda x: x.argmax(1)[None]])
@pytest.mark.parametrize("blank", [0, 5])
def test_text_is_the_best_path_without_repetitions_and_blanks(form: Any, blank: int) -> None:
    """With the batch first or second, without one, as numbers, and with the blank first or last."""
    path = [blank, 3, 3, blank, 3, 1, blank, blank]
    assert read_transcript({"out": form(steps(path))}) == (3, 3, 1)


def test_text_is_equal_or_not() -> None:
    """A frame without text on both sides says nothing; the totals are edits over characters."""
    metric = metric_of("text")
    hello, hallo, nothing = ({"y": steps(path)[None]} for path in ([1, 0, 2, 3], [1, 0, 4, 3], [0, 0, 0, 0]))
    assert metric.score(hello, hello) == 1.0
    assert metric.score(hello, hallo) == 0.0
    assert metric.score(nothing, nothing) is None
    assert metric.notes() == ("edit distance 1 over 6 characters of the reference",)
    with pytest.raises(UsageError, match="cannot be read"):
        metric.score({"a": steps([1])[None], "b": steps([1])}, {})


def test_the_best_class_is_among_the_best_of_the_other() -> None:
    """top1 asks for the same, top2 for one of two; NaN and another shape are never right."""
    reference = {"y": np.array([[0.1, 0.7, 0.2]], np.float32)}
    second = {"y": np.array([[0.6, 0.3, 0.1]], np.float32)}
    assert metric_of("top1").score(reference, reference) == 1.0
    assert metric_of("top1").score(reference, second) == 0.0
    assert metric_of("top2").score(reference, second) == 1.0
    assert metric_of("top2").score(reference, {"y": np.array([[np.nan, 1, 0]], np.float32)}) == 0.0
    with pytest.raises(UsageError, match="cannot be read"):
        metric_of("top3").score(reference, second)  # of three classes each is among the best three
    with pytest.raises(UsageError, match="cannot be read"):
        metric_of("top5").score({"y": np.zeros((1, 3, 8, 8), np.float32)}, {})


def test_a_function_of_the_users_gets_both_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it returns is the score; None is nothing to compare; what raises is told with its line."""
    (tmp_path / "own_metric.py").write_text(
        "def share(a, b):\n    return float((a['y'] == b['y']).mean())\n"
        "def nothing(a, b):\n    return None\n"
        "def words(a, b):\n    return 'same'\n"
        "def wrong(a, b):\n    return a['z']\n"
    )
    monkeypatch.chdir(tmp_path)
    a = {"y": np.array([1, 2])}
    b = {"y": np.array([1, 3])}
    assert metric_of("own_metric:share").score(a, b) == 0.5
    assert metric_of("own_metric:nothing").score(a, b) is None
    with pytest.raises(PlanError, match="returned no number"):
        metric_of("own_metric:words").score(a, b)
    with pytest.raises(HookNeverWorked, match=r"own_metric\.py:8: return a\['z'\]"):
        metric_of("own_metric:wrong").score(a, b)
    with pytest.raises(PlanError, match="no function"):
        metric_of("own_metric:none")
    with pytest.raises(UsageError, match="unknown metric"):
        metric_of("top")


def test_a_detector_is_advised_to_be_asked_for_boxes() -> None:
    """Where its rows are sure to be answers: in another order they have another cosine, and are the same boxes."""
    rows = np.array([[[10, 20, 50, 60, 0.9, 3], [5, 6, 40, 41, 0.8, 1]]], np.float32)
    pairs = [({"y": rows}, {"y": rows[:, ::-1]})]
    judged = agreement_of(iter(pairs), 1, Gate(), stoppable=True)
    assert not judged.passed
    assert any("--metric detections asks for boxes" in note for note in judged.notes)
    assert agreement_of(iter(pairs), 1, Gate(), metric="detections").passed
    scores = {"y": np.array([[0.1, 0.9]], np.float32)}
    assert agreement_of(iter([(scores, scores)]), 1, Gate(), stoppable=True).notes == ()


def test_embeddings_are_compared_by_their_angle() -> None:
    """Twice as long is the same; a right angle, NaN and another shape have nothing in common; zeros say nothing."""
    one = {"e": np.array([[3, 4, 0]], np.float32), "id": np.array([7])}

    def score(*values: float) -> float | None:
        return metric_of("cosine").score(one, {"e": np.array([values], np.float32), "id": np.array([8])})

    assert score(6, 8, 0) == pytest.approx(1)
    assert score(4, 3, 0) == pytest.approx(0.96)
    assert [score(0, 0, 5), score(np.nan, 4, 0), score(3, 4), score(0, 0, 0)] == [0.0] * 4
    zeros = {"e": np.zeros((1, 3), np.float32)}
    assert metric_of("cosine").score(zeros, one) is None
    with pytest.raises(UsageError, match="cannot be read"):
        metric_of("cosine").score({"id": np.array([7])}, {})
