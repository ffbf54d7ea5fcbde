"""Answers drawn into pictures."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from framepace.facts.answers import Answer, Classes, Detections, Regions, Tensors, Text
from framepace.sinks.drawing import drawing, drawn
from framepace.sinks.letters import letters
from tests.doubles.sinks import crops

OWN = drawing("own")


@settings(deadline=None)
@given(
    boxes=arrays(np.float32, (3, 4), elements=st.floats(allow_nan=True, width=32)),
    points=arrays(np.float32, (3, 2, 3), elements=st.floats(allow_nan=True, width=32)),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_any_box_is_drawn_into_any_picture(boxes: object, points: object, size: tuple[int, int]) -> None:
    """Beyond the picture, upside down, nowhere: nothing is raised, and the picture itself is not changed."""
    picture = np.full((*size, 3), 7, np.uint8)
    found = Detections(boxes, np.ones(3), np.arange(3), ("a", "b"), points, tracks=np.array([1, -1, 2]))  # type: ignore[arg-type]
    canvas = OWN(picture, {"d": found})
    assert canvas.shape == picture.shape
    assert (picture == 7).all()


@pytest.mark.parametrize(
    "answer",
    [
        Classes(np.array([1]), np.array([0.5]), ("a", "b")),
        Text("AB-12", 0.9),
        crops(Text("A", 1.0), Text("B", 1.0)),
        crops(Classes(np.array([1]), np.array([0.5]))),
        Regions(np.ones((60, 80), int)),
        Detections(np.zeros((1, 4)), np.ones(1), np.zeros(1, int), masks=np.ones((1, 60, 80), bool)),
    ],
)
def test_every_kind_of_answer_shows(answer: Answer) -> None:
    """In the corner, over the picture, or below its box."""
    picture = np.full((60, 80, 3), 90, np.uint8)
    assert (drawn(picture, {"m": answer}) != picture).any()


@pytest.mark.parametrize("answers", [{}, {"m": Tensors({})}, {"m": crops()}, {"m": Regions(np.ones((5, 5), int))}])
def test_what_has_no_place_in_the_picture_leaves_it_as_it_is(answers: Mapping[str, Answer]) -> None:
    """Tensors, no answers, regions of another size."""
    picture = np.full((60, 80, 3), 90, np.uint8)
    assert (drawn(picture, answers) == picture).all()


def test_letters_are_told_apart() -> None:
    """Every letter and digit has dots of its own, in small letters as in capitals; others are question marks."""
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ.-_:%/#+(),"
    assert len({letters(one, 1).tobytes() for one in alphabet}) == len(alphabet)
    assert (letters("ab", 2) == letters("AB", 2)).all()
    assert (letters("é", 1) == letters("?", 1)).all()
    assert letters("ABC", 3).shape == (21, 39)
