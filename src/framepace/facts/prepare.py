"""Preparation: how a frame becomes a model input."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from framepace.facts.base import Fact, Setting
from framepace.facts.bounded import Factor, Hook

_TRAINED = "as the model was trained"
_FORMULA = f"{_TRAINED}: (pixel * scale - mean) / std"


class Prepare(Fact, frozen=True, kw_only=True):
    """How a frame (uint8, RGB, height x width x 3) becomes a model input.

    value = (pixel * scale - mean) / std, per channel, after the resize. `constant` replaces the whole step by a
    tensor made once, which is how its cost is proven. `place` 'graph' folds the arithmetic into the model: its input
    becomes uint8, a quarter of the bytes, and the host only resizes. 'device' does all of it on the GPU, in one kernel
    that reads the picture as it was decoded.
    """

    resize: Annotated[
        Literal["stretch", "letterbox"],
        Setting(
            help="stretch or letterbox", why_value={"letterbox": "keeps the proportions, as the model was trained"}
        ),
    ] = "stretch"
    colour: Annotated[
        Literal["rgb", "bgr", "gray"], Setting(help="order of the channels: rgb, bgr or gray", why=_TRAINED)
    ] = "rgb"
    scale: Annotated[Factor, Setting(help="factor on pixels (0-255)", why=_FORMULA)] = 1 / 255
    mean: Annotated[
        tuple[Factor, ...], Setting(help="subtracted from each channel, e.g. 0.485+0.456+0.406", why=_FORMULA)
    ] = ()
    std: Annotated[tuple[Factor, ...], Setting(help="divides each channel, e.g. 0.229+0.224+0.225", why=_FORMULA)] = ()
    layout: Annotated[
        Literal["nchw", "nhwc"] | None,
        Setting(help="nchw or nhwc", why="as the model was exported, if its file does not say"),
    ] = None
    pad_value: Annotated[
        int, Meta(ge=0, le=255), Setting(help="grey level (0-255) around a letterboxed picture", why=_TRAINED)
    ] = 114
    hook: Annotated[
        Hook | None,
        Setting(
            "prepare-hook",
            help="module:function called on each frame before preparation",
            why="your own preparation",
        ),
    ] = None
    constant: Annotated[
        bool,
        Setting(
            "prepare-constant",
            help="replace preparation with a constant tensor",
            why_value={"on": "for measuring only: shows what preparation costs, the model sees no frame"},
        ),
    ] = False
    place: Annotated[
        Literal["host", "graph", "device"],
        Setting(
            "prepare-place",
            help="host, graph: folded into the model (uint8 input), or device: one kernel on the GPU",
            why_value={
                "graph": "a quarter of the bytes to copy, and the arithmetic on the device",
                "device": "the host neither resizes nor converts; a picture of the host is copied as it was decoded",
            },
        ),
    ] = "host"
