"""Outputs of every family, read as answers in the picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from framepace.errors import PlanError, UsageError
from framepace.facts.answers import Classes, Detections, Regions, Tensors, Text
from framepace.postprocess.families import FAMILIES
from tests.postprocess.outputs import (
    CASES,
    CORNERS,
    LABELS,
    NAMES,
    PICTURE,
    SCORES,
    SIZE,
    ULTRALYTICS,
    Outputs,
    columns,
    detr,
    lists,
    reader,
    ready,
    rtdetr,
)


@pytest.mark.parametrize("name", CASES)
def test_every_layout_is_the_same_two_boxes_in_the_picture(name: str) -> None:
    """Found by itself, said in the note, in pixels of the picture, the surest first, each once."""
    family, outputs, metadata, shift = CASES[name]
    read = reader(metadata)
    answer = read(outputs(), PICTURE)
    assert read.note.startswith(f"outputs of net are read as {family} ")
    assert isinstance(answer, Detections)
    np.testing.assert_allclose(answer.boxes, CORNERS * 2, atol=1e-3)
    np.testing.assert_allclose(answer.scores, SCORES, atol=1e-3)
    assert answer.labels.tolist() == (LABELS + shift).tolist()
    assert answer.names == (("cat", "dog", "cow") if "names" in metadata else ())
    assert isinstance(reader(metadata, read=family)(outputs(), PICTURE), Detections)


@pytest.mark.parametrize("name", CASES)
def test_a_score_and_an_overlap_are_the_plans(name: str) -> None:
    """Over 0.7 there is one box; none over 0.95; with an IoU of 1 doubles stay where a family has any."""
    _, outputs, metadata, _ = CASES[name]
    counts = [len(reader(metadata, score=score)(outputs(), PICTURE)) for score in (0.7, 0.95)]  # type: ignore[arg-type]
    assert counts == [1, 0]
    if name.startswith(("YOLO 8 by", "YOLO 5")):
        assert len(reader(metadata, iou=1.0)(outputs(), PICTURE)) == 4  # type: ignore[arg-type]


def test_letterboxed_pictures_are_mapped_without_their_bars() -> None:
    """A square picture lies in the middle of a wide input; its boxes are cut at its edges."""
    answer = reader(ULTRALYTICS, resize="letterbox")({"output0": columns()}, (96, 96))
    assert isinstance(answer, Detections)
    expected = np.clip((CORNERS - np.array([16, 0, 16, 0])) * 1.5, 0, 96)
    np.testing.assert_allclose(answer.boxes, expected, atol=1e-3)


def test_masks_points_and_turned_boxes_come_with_their_boxes() -> None:
    """Masks fill what their prototype says inside each box; points and corners lie in the picture."""
    coefficients = np.array([[1.0, 0], [0, 1.0]], np.float32)
    prototypes = np.zeros((1, 2, 16, 24), np.float32)
    prototypes[0, 0] = 1
    prototypes[0, 1] = -1
    metadata = {**ULTRALYTICS, "task": "segment"}
    answer = reader(metadata)({"output0": columns(coefficients), "output1": prototypes}, PICTURE)
    assert isinstance(answer, Detections)
    assert answer.masks is not None
    assert answer.masks.shape == (2, *PICTURE)
    assert answer.masks[0].sum() == 32 * 60
    assert answer.masks[0][20:80, 16:48].all()
    assert not answer.masks[1].any()

    points = np.array([[10, 12, 0.9, 20, 30, 0.2], [60, 30, 0.5, 70, 50, 0.7]], np.float32)
    metadata = {**ULTRALYTICS, "task": "pose", "kpt_shape": "[2, 3]"}
    answer = reader(metadata)({"output0": columns(points)}, PICTURE)
    assert isinstance(answer, Detections)
    assert answer.keypoints is not None
    np.testing.assert_allclose(answer.keypoints, points.reshape(2, 2, 3) * [2, 2, 1], atol=1e-3)

    angles = np.array([[np.pi / 2], [0]], np.float32)
    answer = reader({**ULTRALYTICS, "task": "obb"})({"output0": columns(angles)}, PICTURE)
    assert isinstance(answer, Detections)
    np.testing.assert_allclose(answer.boxes[0], [2, 34, 62, 66], atol=0.01)
    assert answer.keypoints is not None
    np.testing.assert_allclose(sorted(answer.keypoints[1, :, 0]), [100, 100, 180, 180], atol=0.01)


@pytest.mark.parametrize("name", [*CASES, "pose", "segment", "obb"])
def test_a_picture_without_objects_is_an_answer(name: str) -> None:
    """Empty, with as many axes as one with objects."""
    extras = {"pose": np.zeros((2, 6)), "segment": np.zeros((2, 2)), "obb": np.zeros((2, 1))}
    family, outputs, metadata, _ = CASES.get(
        name, ("yolo8", lambda: {"output0": columns(extras[name])}, ULTRALYTICS, 0)
    )
    arrays = outputs()
    if name == "segment":
        arrays["output1"] = np.zeros((1, 2, 16, 24), np.float32)
    if name in extras:
        metadata = {**metadata, "task": name, "kpt_shape": "[2, 3]"}
    answer = reader(metadata, read=family, score=1.0)(arrays, PICTURE)
    assert isinstance(answer, Detections)
    assert (answer.boxes.shape, answer.scores.shape, answer.labels.shape) == ((0, 4), (0,), (0,))
    shapes = {"pose": (0, 2, 3), "obb": (0, 4, 3)}
    assert (None if answer.keypoints is None else answer.keypoints.shape) == shapes.get(name)
    assert (None if answer.masks is None else answer.masks.shape) == {"segment": (0, *PICTURE)}.get(name)


def test_torchvisions_points_and_masks() -> None:
    """Points take their own scores; masks are probabilities over the input."""
    masks = np.zeros((2, 1, *SIZE), np.float32)
    masks[0, 0, 10:40, 8:24] = 1
    points = np.array([[[10, 12, 1], [20, 30, 1]]] * 2, np.float32)
    scores = np.array([[7.0, 8.0], [9.0, 1.0]], np.float32)
    answer = reader({})(lists(masks=masks, keypoints=points, keypoints_scores=scores), PICTURE)
    assert isinstance(answer, Detections)
    assert answer.keypoints is not None
    assert answer.masks is not None
    np.testing.assert_allclose(answer.keypoints[0], [[20, 24, 7], [40, 60, 8]])
    assert answer.masks[0][22:78, 18:46].all()
    assert answer.masks[0].sum() == pytest.approx(60 * 32, rel=0.05)
    assert not answer.masks[1].any()


@pytest.mark.parametrize(
    ("outputs", "metadata"),
    [
        ({"logits": np.log(np.array([[0.1, 0.7, 0.2]], np.float32)) + 3}, {}),
        ({"y": np.array([[0.1, 0.7, 0.2]], np.float32)}, {}),
        ({"y": np.log(np.array([[0.1, 0.7, 0.2]], np.float32)).reshape(1, 3, 1, 1)}, NAMES),
    ],
)
def test_classes_are_the_likeliest_with_their_probabilities(outputs: Outputs, metadata: dict[str, str]) -> None:
    """Logits go through softmax, probabilities do not; less likely ones are told from the score on."""
    answer = reader(metadata, score=0.15)(outputs, PICTURE)
    assert isinstance(answer, Classes)
    assert answer.labels.tolist() == [1, 2]
    np.testing.assert_allclose(answer.scores, [0.7, 0.2], atol=1e-5)


def test_regions_are_the_class_of_each_pixel_of_the_picture() -> None:
    """Scores at a quarter of the input, or classes; a letterbox's bars are left out."""
    scores = np.zeros((1, 5, 16, 24), np.float32)
    scores[0, 3, :, 12:] = 1
    for outputs in ({"logits": scores}, {"y": np.argmax(scores, axis=1)}, {"out": scores, "aux": scores}):
        answer = reader({})(outputs, PICTURE)
        assert isinstance(answer, Regions)
        assert answer.labels.shape == PICTURE
        assert (answer.labels[:, :96] == 0).all()
        assert (answer.labels[:, 96:] == 3).all()
    answer = reader({}, resize="letterbox")({"logits": scores}, (64, 64))
    assert isinstance(answer, Regions)
    assert (answer.labels[:, 32:] == 3).all()


CHARACTERS = "A\nB\nC\n"


@pytest.mark.parametrize("axis", [0, 1])
def test_a_text_is_the_best_path_with_the_mean_of_its_scores(axis: int) -> None:
    """PaddleOCR's: blank first, space last; the batch before or behind the steps."""
    path = [0, 1, 1, 0, 1, 4, 2, 2, 3, 0]
    steps = np.full((len(path), 5), 0.05, np.float32)
    steps[range(len(path)), path] = 0.8
    answer = reader({"character": CHARACTERS})({"softmax": np.expand_dims(steps, axis)}, PICTURE)
    assert answer == Text("AA BC", pytest.approx(0.8))  # type: ignore[arg-type]


@pytest.mark.parametrize(("names", "path"), [(["", "A", "B"], [0, 1, 0, 2]), (["A", "B"], [0, 1, 0, 2, 0])])
def test_a_file_of_characters_may_have_the_blank_or_not(tmp_path: Path, names: list[str], path: list[int]) -> None:
    """An empty line is the blank; without one it is the class before or behind them that is read more often."""
    file = tmp_path / "characters.txt"
    file.write_text("".join(f"{name}\n" for name in names))
    steps = np.eye(3, dtype=np.float32)[path][None]
    answer = reader({}, names=str(file))({"y": steps}, PICTURE)
    assert isinstance(answer, Text)
    assert answer.text == "AB"
    best = reader({}, names=str(file), read="ctc")({"y": np.array([path])}, PICTURE)
    assert isinstance(best, Text)
    assert best.text == "AB"


@pytest.mark.parametrize(
    ("outputs", "part"),
    [
        ({"features": np.zeros((1, 512), np.float32) - 1}, "may be classes"),
        ({"last_hidden_state": np.zeros((1, 197, 64), np.float32) - 1}, "may be ctc"),
        ({"flow": np.zeros((1, 2, 64, 96), np.float32)}, "may be regions"),
        ({"heat": np.zeros((1, 1, 64, 96), np.float32)}, "may be dbnet"),
        ({"loc": np.ones((1, 300, 4), np.float32) * 3, "conf": np.ones((1, 300, 2), np.float32) * 3}, "no family"),
        ({"output0": columns(np.full((2, 6), 40.0, np.float32))}, "may be yolo8"),
        ({"output0": columns() + np.float32(0.6)}, "may be yolo8"),
        ({"output0": np.zeros((1, 300, 6), np.float32)}, "may be"),
        ({"text": np.array(["a"], dtype=object)}, "no family"),
        ({}, "no family"),
    ],
)
def test_what_is_in_doubt_stays_tensors_and_is_told(outputs: Outputs, part: str) -> None:
    """With the shapes, and what to say; the note's advice is a setting that exists."""
    read = reader({})
    answer = read(outputs, PICTURE)
    assert isinstance(answer, Tensors)
    assert answer.arrays.keys() == outputs.keys()
    for name, array in outputs.items():
        assert (answer.arrays[name] == array).all()
        assert answer.arrays[name] is not array  # a worker's buffers are used again
    assert part in read.note
    assert "--set post=" in read.note
    quiet = reader({}, read="none")
    assert isinstance(quiet(outputs, PICTURE), Tensors)
    assert quiet.note == ""


def test_a_first_frame_without_objects_decides_nothing_for_the_next() -> None:
    """Rows of zeros may be anything; the frame that has boxes decides, and later ones are read alike."""
    read = reader({})
    assert isinstance(read({"output0": np.zeros((1, 20, 6), np.float32)}, PICTURE), Tensors)
    assert isinstance(read({"output0": ready()}, PICTURE), Detections)
    empty = read({"output0": np.zeros((1, 20, 6), np.float32)}, PICTURE)
    assert isinstance(empty, Detections)
    assert len(empty) == 0


def test_outputs_that_do_not_fit_what_was_said_are_told() -> None:
    """A family that the plan names is not forced on outputs of another shape."""
    read = reader({}, read="yolo8")
    assert isinstance(read({"y": np.zeros((1, 10), np.float32)}, PICTURE), Tensors)
    assert "not those of yolo8" in read.note


def test_a_family_that_the_plan_names_is_not_doubted_by_numbers() -> None:
    """What 'auto' leaves undecided is read when somebody says what it is, and so is a later frame of other numbers."""
    for family, outputs in (("yolo8", {"y": columns() + np.float32(0.6)}), ("detr", rtdetr()), ("rtdetr", detr())):
        assert isinstance(reader({}, read=family)(outputs, PICTURE), Detections)
    read = reader({})
    assert isinstance(read({"output0": columns()}, PICTURE), Detections)
    assert isinstance(read({"output0": columns() * np.float32(np.nan)}, PICTURE), Detections)


def hook(outputs: Outputs, picture: tuple[int, int]) -> Text:
    """A user's function."""
    return Text(f"{sorted(outputs)} {picture}", 1.0)


def test_a_function_of_the_users_makes_the_answer() -> None:
    """It gets the outputs by name and the picture's size; one that is not there is told."""
    answer = reader({}, read=f"{__name__}:hook")({"y": np.zeros(3)}, PICTURE)
    assert answer == Text("['y'] (128, 192)", 1.0)
    with pytest.raises(PlanError):
        reader({}, read="no_such_module:f")
    with pytest.raises(UsageError, match="yolo8"):
        reader({}, read="yolo")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    outputs=st.dictionaries(
        st.sampled_from(["output0", "boxes", "scores", "labels", "logits", "pred_boxes", "masks", "keypoints", "y"]),
        arrays(
            st.sampled_from([np.float32, np.float16, np.int64, np.uint8]),
            array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=9),
        ),
        max_size=4,
    ),
    task=st.sampled_from(["", "detect", "segment", "pose", "obb", "classify", "other"]),
    family=st.sampled_from(["auto", *(one.name for one in FAMILIES)]),
)
def test_any_outputs_have_an_answer(outputs: Outputs, task: str, family: str) -> None:
    """Of any shape and number, by any family: no error, and boxes lie in the picture."""
    answer = reader({**NAMES, "task": task}, read=family)(outputs, PICTURE)
    if isinstance(answer, Detections):
        assert ((answer.boxes >= 0) & (answer.boxes <= [192, 128, 192, 128])).all()
        assert len(answer.boxes) == len(answer.scores) == len(answer.labels)
