"""Which inputs take pictures, and where channels, sides and the pictures of a clip lie in their shapes. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from framepace.facts.inputs import Window
from framepace.facts.model import TensorSpec
from framepace.models.resolved import PAIR, Image, Layout

Shape = tuple[int | str, ...]  # the names of open dimensions are strings
CHANNELS = (1, 3, 4, PAIR)
_SMALLEST_SIDE = 8  # of a picture without a batch axis; smaller arrays of three axes are something else
_MEMORY = re.compile(r"past|cache|attention|hidden|state|embed|mask_input|(^|[_.])kv", re.IGNORECASE)
_NOTHING = 0  # a length: no picture has such a side, and no batch
_NO_PIXELS = frozenset({"bool", "object", "complex64", "complex128"})  # dtypes that no picture has; text is object
_RGB = 3
_COLOURS = (3, 4)  # channels by which a picture without a batch axis is known


@dataclass(frozen=True)
class Place:
    """Where a picture is in the shape of an input: the axes of the batch, of a clip's pictures, and the layout."""

    layout: Layout
    batch: int | None
    time: int | None = None

    def _others(self, rank: int) -> list[int]:
        return [axis for axis in range(rank) if axis not in (self.batch, self.time)]

    def channels(self, rank: int) -> int:
        """The axis of the channels."""
        return self._others(rank)[0 if self.layout == "nchw" else 2]

    def sides(self, rank: int) -> tuple[int, int]:
        """The axes of height and width."""
        others = self._others(rank)
        if self.layout == "nchw":
            return others[1], others[2]
        return others[0], others[1]


def place_of(
    shape: Shape, *, layout: Layout | None = None, window: Window | None = None, named: bool = False
) -> Place | None:
    """Where a picture is in `shape`; None where none can be, or where it is not clear.

    Args:
        layout: what the plan says.
        window: clips are wanted: one more axis, of that many pictures.
        named: the input is known to take pictures, so that three axes, or channels left open, are enough.
    """
    if _NOTHING in shape:
        return None
    if window is not None:
        return _clip_place(shape, layout, window, named)
    if len(shape) == 4:
        layout = _layout(shape[1:], layout, named)
        return layout and Place(layout, 0)
    if len(shape) == 3 and (named or _is_bare_picture(shape)):
        layout = _layout(shape, layout, named)
        return layout and Place(layout, None)
    return None


def is_no_picture(tensor: TensorSpec) -> bool:
    """Whether an input takes no picture, whatever its shape: flags, text, what is called a memory."""
    return tensor.dtype in _NO_PIXELS or _MEMORY.search(tensor.name) is not None


def clip_lengths(shape: Shape) -> list[int]:
    """How many pictures a clip that fits an input of five axes may have; pictures in colour come first."""
    if len(shape) != 5 or _NOTHING in shape:
        return []
    in_colour: list[int] = []
    others: list[int] = []
    for axis in (1, 2, 3, 4):
        size = shape[axis]
        picture = (*shape[1:axis], *shape[axis + 1 :])
        if isinstance(size, int) and size > 1 and _layout(picture, None, False) is not None:
            lengths = in_colour if _RGB in (picture[0], picture[2]) else others
            lengths.append(size)
    return list(dict.fromkeys([*in_colour, *others]))


def image_at(tensor: TensorSpec, place: Place) -> Image:
    """The image input, every dimension known."""
    rank = len(tensor.shape)
    height, width = (int(tensor.shape[axis]) for axis in place.sides(rank))
    channels = int(tensor.shape[place.channels(rank)])
    return Image(tensor.name, place.layout, channels, height, width, tensor.dtype, place.time)


def _clip_place(shape: Shape, layout: Layout | None, window: Window, named: bool) -> Place | None:
    """Where the pictures of a clip are: an axis of that length before one that is open."""
    if len(shape) not in (4, 5):
        return None
    batch = None
    first = len(shape) - 4  # four axes are a clip without a batch axis
    if first:
        batch = 0
    for axis in _clip_axes(shape, first, window.pictures):
        picture = (*shape[first:axis], *shape[axis + 1 :])
        layout_there = _layout(picture, layout, named)
        if layout_there is not None:
            return Place(layout_there, batch, axis)
    return None


def _clip_axes(shape: Shape, first: int, pictures: int) -> list[int]:
    """The axes from `first` on that have that length, then those that are open."""
    fixed = [axis for axis in range(first, len(shape)) if shape[axis] == pictures]
    return fixed + [axis for axis in range(first, len(shape)) if isinstance(shape[axis], str)]


def _layout(sizes: Shape, wanted: Layout | None, named: bool) -> Layout | None:
    """The layout of three sizes of a picture; None where none is clear."""
    first = sizes[0] in CHANNELS
    last = sizes[2] in CHANNELS
    if wanted is not None:
        size = sizes[0] if wanted == "nchw" else sizes[2]
        return wanted if size in CHANNELS or isinstance(size, str) else None
    if first != last:
        return "nchw" if first else "nhwc"
    if named and not first and isinstance(sizes[0], str) and not isinstance(sizes[2], str):
        return "nchw"
    return None


def _is_bare_picture(shape: Shape) -> bool:
    """Whether three axes are most likely a picture without a batch axis."""
    for channel, sides in ((shape[0], shape[1:]), (shape[2], shape[:2])):
        if channel in _COLOURS and all(isinstance(side, int) and side >= _SMALLEST_SIDE for side in sides):
            return True
    return False
