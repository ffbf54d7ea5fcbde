"""Answers drawn into pictures: boxes, names, points, masks, with NumPy alone or by supervision (the extra 'track')."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.facts.answers import Answer, Classes, Crops, Detections, Regions, Text
from framepace.sinks.letters import letters

Picture = NDArray[np.uint8]
Draw = Callable[[Picture, Mapping[str, Answer]], Picture]
"""Draws answers by model into a copy of a picture, uint8 RGB [height, width, 3]."""

# Colours that are told apart, by class or track: RGB.
_COLOURS = np.array(
    [
        (230, 60, 60), (60, 160, 240), (60, 190, 90), (240, 180, 30), (170, 90, 220), (30, 190, 190),
        (240, 120, 30), (220, 90, 160), (140, 190, 40), (110, 110, 240),
    ],
    dtype=np.uint8,
)  # fmt: skip
_DARK = np.array((20, 20, 20), dtype=np.uint8)
_COVER = 0.4  # of a colour over a mask
_POINT_SCORE = 0.3  # from which on a point is drawn
_MOST_LINES = 5  # of classes in the corner


def drawing(choice: str) -> Draw:
    """'auto': supervision where it is installed; else what was chosen: 'own', 'supervision' or 'none'."""
    if choice == "none":
        return lambda picture, answers: picture
    if choice == "supervision" or (choice == "auto" and find_spec("supervision") is not None):
        from framepace.sinks.supervised import drawn_by_supervision

        return drawn_by_supervision
    return drawn


def drawn(picture: Picture, answers: Mapping[str, Answer]) -> Picture:
    """A copy of the picture with the answers of all models."""
    canvas = picture.copy()
    for answer in answers.values():
        draw_answer(canvas, answer)
    return canvas


def draw_answer(canvas: Picture, answer: Answer) -> None:
    """Draw one answer; what has no place in the picture is written into its corner."""
    match answer:
        case Detections():
            _draw_detections(canvas, answer)
        case Regions():
            _draw_regions(canvas, answer)
        case Classes():
            _write_lines(canvas, [label_of(answer, place) for place in range(min(_MOST_LINES, len(answer.labels)))])
        case Text():
            _write_lines(canvas, [answer.text])
        case Crops():
            _draw_crops(canvas, answer)


def label_of(answer: Detections | Classes, place: int) -> str:
    """What is written beside an object: its track, its name or number, and its score."""
    label = int(answer.labels[place])
    name = answer.names[label] if 0 <= label < len(answer.names) else str(label)
    text = f"{name} {answer.scores[place]:.2f}"
    if isinstance(answer, Detections) and answer.tracks is not None and answer.tracks[place] >= 0:
        return f"#{answer.tracks[place]} {text}"
    return text


def _draw_detections(canvas: Picture, answer: Detections) -> None:
    thickness = _thickness(canvas)
    for place in reversed(range(len(answer))):  # the surest last, over the others
        colour = _colour(answer, place)
        if answer.masks is not None:
            _cover(canvas, answer.masks[place], colour)
        left, top = _draw_box(canvas, answer.boxes[place], colour, thickness)
        draw_points(canvas, answer, place)
        _write(canvas, label_of(answer, place), left, top, colour)


def _draw_crops(canvas: Picture, answer: Crops) -> None:
    """What was said about each box, below it."""
    for box, part in zip(answer.boxes.astype(int).tolist(), answer.answers, strict=True):
        if isinstance(part, Detections):
            _draw_detections(canvas, part)
        elif isinstance(part, Text):
            _write(canvas, part.text, box[0], box[3], _DARK, above=False)
        elif isinstance(part, Classes) and len(part.labels):
            _write(canvas, label_of(part, 0), box[0], box[3], _DARK, above=False)


def _colour(answer: Detections, place: int) -> NDArray[np.uint8]:
    number = answer.labels[place]
    if answer.tracks is not None and answer.tracks[place] >= 0:
        number = answer.tracks[place]
    colour: NDArray[np.uint8] = _COLOURS[int(number) % len(_COLOURS)]
    return colour


def _draw_box(canvas: Picture, box: NDArray[Any], colour: NDArray[np.uint8], thickness: int) -> tuple[int, int]:
    """Draw the outline of a box as far as it is in the picture; where its upper left corner is."""
    height, width = canvas.shape[:2]
    left, top, right, bottom = np.clip(np.nan_to_num(box), 0, (width, height) * 2).astype(int).tolist()
    outline = canvas[top:bottom, left:right]
    for edge in (outline[:thickness], outline[-thickness:], outline[:, :thickness], outline[:, -thickness:]):
        edge[...] = colour
    return left, top


def draw_points(canvas: Picture, answer: Detections, place: int) -> None:
    """Draw the points of an object that are sure enough; nothing where it has none."""
    if answer.keypoints is None:
        return
    radius = _thickness(canvas)
    for x, y, score in np.nan_to_num(answer.keypoints[place]).tolist():
        if score >= _POINT_SCORE and x >= 0 and y >= 0:
            rows = slice(max(0, int(y) - radius), int(y) + radius + 1)
            canvas[rows, max(0, int(x) - radius) : int(x) + radius + 1] = _colour(answer, place)


def _thickness(canvas: Picture) -> int:
    """Of lines, in pixels: more in a larger picture."""
    shorter: int = min(canvas.shape[:2])
    return max(2, shorter // 240)


def _cover(canvas: Picture, mask: NDArray[Any], colour: NDArray[np.uint8]) -> None:
    if mask.shape == canvas.shape[:2]:
        mixed = canvas[mask] * (1 - _COVER) + colour * _COVER
        canvas[mask] = mixed.astype(np.uint8)


def _draw_regions(canvas: Picture, answer: Regions) -> None:
    """Cover all classes but 0, which is the background nearly everywhere."""
    if answer.labels.shape != canvas.shape[:2]:
        return
    shown = answer.labels > 0
    colours = _COLOURS[answer.labels[shown] % len(_COLOURS)]
    canvas[shown] = (canvas[shown] * (1 - _COVER) + colours * _COVER).astype(np.uint8)


def _write_lines(canvas: Picture, lines: list[str]) -> None:
    top = 0
    for line in lines:
        top += _write(canvas, line, 0, top, _DARK, above=False)


def _write(canvas: Picture, text: str, left: int, top: int, ground: NDArray[np.uint8], *, above: bool = True) -> int:
    """Write white letters on a ground of a colour, above a place where there is room; the height of the line."""
    marks = letters(text, _thickness(canvas))
    height = len(marks)
    if above and top >= height:
        top -= height
    left = max(0, min(left, canvas.shape[1] - marks.shape[1]))
    part = canvas[top : top + height, left : left + marks.shape[1]]
    part[...] = ground
    part[marks[: part.shape[0], : part.shape[1]]] = 255
    return height
