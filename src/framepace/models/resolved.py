"""A model with every dimension known, and what each of its inputs takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.facts.inputs import Window
from framepace.facts.model import TensorSpec

Layout = Literal["nchw", "nhwc"]
PAIR = 6  # channels of two pictures, the one before first


@dataclass(frozen=True)
class Image:
    """An input that takes pictures.

    Attributes:
        layout: whether channels come first or last, whatever axes there are beside them.
        time_axis: the axis of the pictures of a clip, batch included; None for a single picture.
    """

    name: str
    layout: Layout
    channels: int
    height: int
    width: int
    dtype: str
    time_axis: int | None = None


@dataclass(frozen=True)
class SideInput:
    """What an input that takes no picture is given: one array for each frame, in turn.

    `frames` is (number of frames, then the input's shape without its batch axis).
    """

    frames: NDArray[Any]

    @property
    def constant(self) -> bool:
        """Whether it is the same for all frames."""
        return len(self.frames) == 1


@dataclass(frozen=True)
class Resolved:
    """A model with every dimension known.

    Attributes:
        image: the first input that takes the frame.
        batched: inputs that take any batch size.
        axes: where the batch is in each input that has one, fixed or not; the first axis of those in `batched`
            otherwise.
        other_images: further inputs that take the frame.
        previous: those that take the frame before.
        states: outputs by the input that gets them back.
        values: what the others are given, where it is known.
        window: the pictures of a clip.
        question: what to add to the command where nothing says which input takes the frame.
    """

    inputs: tuple[TensorSpec, ...]
    image: Image | None
    batched: frozenset[str]
    axes: Mapping[str, int] = field(default_factory=dict)
    other_images: tuple[Image, ...] = ()
    previous: tuple[Image, ...] = ()
    states: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, SideInput] = field(default_factory=dict)
    window: Window | None = None
    question: str = ""

    @property
    def images(self) -> tuple[Image, ...]:
        """All inputs that take the frame."""
        if self.image is None:
            return ()
        return (self.image, *self.other_images)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Input shapes by name."""
        return {tensor.name: tuple(int(d) for d in tensor.shape) for tensor in self.inputs}

    @property
    def picture_axes(self) -> dict[str, int | None]:
        """The batch axes of the inputs that take pictures."""
        return {image.name: self.axis(image.name) for image in (*self.images, *self.previous)}

    @property
    def made_up(self) -> tuple[str, ...]:
        """Inputs that take no picture and that nobody has given a value."""
        names = (tensor.name for tensor in self.inputs)
        others = self.picture_axes.keys() | self.states.keys() | self.values.keys()
        return tuple(name for name in names if name not in others)

    @property
    def pictures_before(self) -> int:
        """How many pictures before the newest of a source its inputs need."""
        images = (*self.images, *self.previous)
        before = int(bool(self.previous) or any(image.channels == PAIR for image in images))
        if self.window is not None:
            before += self.window.before
        return before

    def axis(self, name: str) -> int | None:
        """The batch axis of an input; None where it has none."""
        if name in self.axes:
            return self.axes[name]
        if name in self.batched:
            return 0
        return None

    @property
    def in_one_piece(self) -> bool:
        """Whether the first items of every input lie together at the beginning of its memory."""
        return all(set(self.shapes[name][: self.axis(name)]) <= {1} for name in self.batched)

    def shape_of(self, name: str, count: int) -> tuple[int, ...]:
        """The shape of an input for `count` items."""
        shape = list(self.shapes[name])
        axis = self.axis(name)
        if axis is not None and name in self.batched:
            shape[axis] = count
        return tuple(shape)

    def first(self, name: str, array: NDArray[Any], count: int) -> NDArray[Any]:
        """The first `count` items of an input's array."""
        axis = self.axis(name)
        if axis is None or name not in self.batched:
            return array
        return array[(*(slice(None),) * axis, slice(count))]

    def item(self, name: str, array: NDArray[Any], place: int) -> NDArray[Any]:
        """The part of an input's array that belongs to place `place`, without the batch axis; all where it has none."""
        axis = self.axis(name)
        if axis is None:
            return array
        index: tuple[Any, ...] = (*(slice(None),) * axis, place, ...)
        item: NDArray[Any] = array[index]
        return item

    def with_image_bytes(self) -> Resolved:
        """The same with a uint8 image, as a backend that normalises it takes it. There must be an image."""
        assert self.image is not None
        image = dataclasses.replace(self.image, dtype="uint8")
        inputs = []
        for tensor in self.inputs:
            if tensor.name == image.name:
                tensor = replace(tensor, dtype="uint8")
            inputs.append(tensor)
        return dataclasses.replace(self, inputs=tuple(inputs), image=image)
