"""Readers of outputs for tests of models after models: they find what a test wants, whatever the outputs are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from framepace.facts.answers import Answer, Classes, Detections

BOXES = ((4, 2, 20, 12), (30, 10, 60, 40), (0, 0, 8, 8))
"""Left, top, right, bottom of what `three` finds, the surest first."""
SMALL = 9
"""Height of pictures that `sometimes` cannot read; of the boxes one is."""


def three(outputs: Mapping[str, Any], picture: tuple[int, int]) -> Answer:
    """Three objects: a cat, a dog, a cat."""
    return Detections(
        np.array(BOXES, np.float32),
        np.array((0.9, 0.8, 0.7), np.float32),
        np.array((0, 1, 0)),
        ("cat", "dog"),
    )


def rising(outputs: Mapping[str, Any], picture: tuple[int, int]) -> Answer:
    """The same, the surest last, and before them one whose score is no number."""
    boxes = np.array([BOXES[0], *reversed(BOXES)], np.float32)
    return Detections(boxes, np.array((np.nan, 0.7, 0.8, 0.9), np.float32), np.zeros(4, int), ("cat",))


def none(outputs: Mapping[str, Any], picture: tuple[int, int]) -> Answer:
    """Nothing."""
    return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, int), ("cat", "dog"))


def beside(outputs: Mapping[str, Any], picture: tuple[int, int]) -> Answer:
    """Two objects without a pixel in the picture, and one in it."""
    boxes = np.array([(-9, -9, -1, -1), (np.nan, 0, 4, 4), BOXES[0]], np.float32)
    return Detections(boxes, np.ones(3, np.float32), np.zeros(3, int), ("cat",))


def inside(outputs: Mapping[str, Any], picture: tuple[int, int]) -> Answer:
    """One object, over the whole of what it is given but for one pixel at each edge."""
    height, width = picture
    box = np.array([(1, 1, width - 1, height - 1)], np.float32)
    return Detections(box, np.ones(1, np.float32), np.zeros(1, int), ("part",))


def size(outputs: Mapping[str, Any], picture: tuple[int, int]) -> Answer:
    """A class whose number says how large the picture is: 1000 x height + width."""
    return Classes(np.array([1000 * picture[0] + picture[1]]), np.ones(1, np.float32))


def sometimes(outputs: Mapping[str, Any], picture: tuple[int, int]) -> Answer:
    """A class; of small pictures it cannot say any."""
    if picture[0] < SMALL:
        raise ValueError("too small to read")
    return size(outputs, picture)
