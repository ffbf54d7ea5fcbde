"""The families of networks whose outputs are read, in the order in which they are asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from framepace.errors import unknown
from framepace.facts.answers import Answer
from framepace.facts.postprocess import Post
from framepace.postprocess import classes, ctc, endtoend, lists, regions, tables, textlines, yolo
from framepace.postprocess.fit import Fit
from framepace.postprocess.found import Found, in_picture
from framepace.postprocess.network import View
from framepace.postprocess.placement import Size, placed

Read = Callable[[View, Post, Size, str], Answer]
"""Reads outputs, as a plan says, for a picture of a size that was resized in a way."""


@dataclass(frozen=True)
class Family:
    """Networks whose outputs are read alike.

    Attributes:
        name: as people type it.
        help: which networks these are, and their outputs.
        shape: whether outputs have the shapes that it reads.
        fit: how well outputs fit by all that is known, their numbers too.
        read: their answer.
        boxes: what was found with a score above a number, before suppression and in the input's pixels; None where the
            answer is no boxes.
    """

    name: str
    help: str
    shape: Callable[[View], bool]
    fit: Callable[[View], Fit]
    read: Read
    boxes: Callable[[View, float], Found] | None = None


_Boxes = Callable[[View, float], Found]


def _detector(name: str, help: str, shape: Callable[[View], bool], fit: Callable[[View], Fit], boxes: _Boxes) -> Family:
    def read(view: View, post: Post, picture: Size, resize: str) -> Answer:
        placement = placed(view.size or picture, picture, resize)
        return in_picture(boxes(view, post.score), placement, view.names, post.iou)

    return Family(name, help, shape, fit, read, boxes)


def _read_classes(view: View, post: Post, picture: Size, resize: str) -> Answer:
    return classes.read_classes(view, post.score)


def _read_regions(view: View, post: Post, picture: Size, resize: str) -> Answer:
    return regions.read_regions(view, picture, resize)


def _read_ctc(view: View, post: Post, picture: Size, resize: str) -> Answer:
    return ctc.read_ctc(view, post.score)


def _read_text_map(view: View, post: Post, picture: Size, resize: str) -> Answer:
    return textlines.read_text_map(view, post.score, picture, resize)


FAMILIES = (
    _detector(
        "lists",
        "torchvision, TensorFlow: boxes, classes and scores in lists",
        lists.is_lists,
        lists.fit_lists,
        lists.read_lists,
    ),
    _detector(
        "detr",
        "DETR, YOLOS: boxes by centre, logits with 'no object' last",
        tables.is_tables,
        tables.fit_detr,
        tables.read_detr,
    ),
    _detector(
        "rtdetr",
        "RT-DETR, RF-DETR, D-FINE: boxes by centre, scores per class",
        tables.is_rtdetr,
        tables.fit_rtdetr,
        tables.read_rtdetr,
    ),
    _detector(
        "ssd",
        "SSD, YOLO-NAS: decoded boxes, probabilities per class",
        tables.is_tables,
        tables.fit_ssd,
        tables.read_ssd,
    ),
    _detector(
        "paddle",
        "PaddleDetection: rows of class, score, corners",
        endtoend.is_paddle,
        endtoend.fit_paddle,
        endtoend.read_paddle,
    ),
    _detector(
        "yolo10", "YOLO 10 and 26: rows of corners, score, class", endtoend.is_10, endtoend.fit_10, endtoend.read_10
    ),
    _detector("yolo8", "YOLO 8, 9, 11, 12: columns of a box and scores per class", yolo.is_8, yolo.fit_8, yolo.read_8),
    _detector(
        "yolox", "YOLOX: rows of a box within its cell, a score, scores per class", yolo.is_x, yolo.fit_x, yolo.read_x
    ),
    _detector("yolo5", "YOLO 5, 6, 7: rows of a box, a score, scores per class", yolo.is_5, yolo.fit_5, yolo.read_5),
    Family("ctc", "text recognisers: scores of characters per step", ctc.is_ctc, ctc.fit_ctc, _read_ctc),
    Family("classes", "classifiers: a score per class", classes.is_classes, classes.fit_classes, _read_classes),
    Family(
        "regions", "semantic segmentation: a class per pixel", regions.is_regions, regions.fit_regions, _read_regions
    ),
    Family(
        "dbnet",
        "text detectors: a map of where lines of text are",
        textlines.is_text_map,
        textlines.fit_text_map,
        _read_text_map,
    ),
)


def family(name: str) -> Family:
    """The family of that name. Raises UsageError."""
    for one in FAMILIES:
        if one.name == name:
            return one
    raise unknown(
        "way to read outputs (post)", name, ["auto", "none", "module:function", *(one.name for one in FAMILIES)]
    )


def decided(view: View) -> tuple[Family | None, tuple[Family, ...]]:
    """The one family that outputs certainly are of, if there is one, and all that they may be of."""
    fits = {one: one.fit(view) for one in FAMILIES}
    possible = tuple(one for one, fit in fits.items() if fit is not Fit.NO)
    sure = [one for one, fit in fits.items() if fit is Fit.SURE]
    return (sure[0] if len(sure) == 1 else None), possible


def likeliest_detector(view: View) -> Family | None:
    """The first family of detectors that the outputs fit at all, for comparisons that need no name."""
    return next((one for one in FAMILIES if one.boxes is not None and one.fit(view) is not Fit.NO), None)
