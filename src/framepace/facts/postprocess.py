"""Post-processing: how the outputs of a model become boxes, classes, texts and masks."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from framepace.facts.base import Fact, Setting
from framepace.facts.bounded import Hook, Location

Share = Annotated[float, Meta(ge=0, le=1)]


class Post(Fact, frozen=True, kw_only=True):
    """How the outputs of a model are read when it is run on live sources.

    `read` is 'auto' (by the model's metadata and the names and shapes of its outputs; what is in doubt stays tensors),
    a family (`postprocess.families`), 'none', or 'module:function', which gets the outputs by name and the (height,
    width) of the picture and returns an answer. `iou` None is what the family's own package does. `names` is a file
    with one name per line: of classes, or of characters for OCR.
    """

    read: Annotated[
        Hook,
        Setting(
            "post",
            help="how outputs are read: auto, a family such as yolo8, none, or module:function",
            why="'auto' leaves what is in doubt as tensors",
        ),
    ] = "auto"
    score: Annotated[Share, Setting(help="least score of a detection", why="fewer false ones; more are missed")] = 0.25
    iou: Annotated[
        Share | None,
        Setting(
            help="overlap (IoU) from which on the less certain of two boxes of a class is left out",
            why="lower: fewer doubles; objects that stand close together are lost",
        ),
    ] = None
    names: Annotated[
        Location | None,
        Setting(help="file with one name per line: of classes, or of characters (OCR)", why="its file has none"),
    ] = None
    track: Annotated[
        Literal["off", "bytetrack", "sort", "ocsort", "botsort"],
        Setting(
            help="number objects over pictures: off, bytetrack, sort, ocsort or botsort (needs the extra track)",
            why="an object keeps its number; costs about a millisecond per picture",
        ),
    ] = "off"
