"""What is known of a network beside its outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from numpy.typing import NDArray

from framepace.postprocess.names import literal

Outputs: TypeAlias = Mapping[str, NDArray[Any]]
"""One frame's outputs by name; a batch axis, where there is one, has length 1."""
Size = tuple[int, int]
_NUMBERS = "fViu"  # kinds of dtype; 'V' is bfloat16
_STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (16, 32), (8, 16), (8, 16, 32, 64, 128))


@dataclass(frozen=True)
class Network:
    """A network, as far as its outputs depend on it.

    Attributes:
        name: in the plan.
        size: (height, width) of its image input; None: every picture at its own.
        resize: how a picture is fitted into the input.
        metadata: texts in the model's file by their keys.
    """

    name: str
    size: Size | None = None
    resize: Literal["stretch", "letterbox"] = "stretch"
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class View:
    """One frame's outputs as families look at them.

    Attributes:
        arrays: outputs of numbers by name, without a batch axis of length 1.
        size: (height, width) of the input; None where it is not known.
        names: of classes or characters; empty where there are none.
        metadata: texts in the model's file.
    """

    arrays: Mapping[str, NDArray[Any]]
    size: Size | None = None
    names: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def task(self) -> str:
        """What ultralytics says that the network does: 'detect', 'segment', 'pose', 'obb', 'classify'; '' elsewhere."""
        return self.metadata.get("task", "")

    @property
    def has_ready_rows(self) -> bool:
        """Whether ultralytics says that suppression, or a head without overlaps, is in the graph."""
        options = literal(self.metadata.get("args", ""))
        in_graph = isinstance(options, dict) and options.get("nms") is True
        return in_graph or self.metadata.get("end2end") == "True" or self.has_queries

    @property
    def has_queries(self) -> bool:
        """Whether ultralytics says that it is an RT-DETR, whose rows are by centre."""
        return self.metadata.get("head") == "RTDETRDecoder"

    def only(self, rank: int) -> NDArray[Any] | None:
        """The one output of so many axes; None where there is none, or there are several."""
        fitting = [array for array in self.arrays.values() if array.ndim == rank]
        return fitting[0] if len(fitting) == 1 else None

    def named(self, *parts: str) -> NDArray[Any] | None:
        """The first output whose name has one of the parts in it."""
        for part in parts:
            for name, array in self.arrays.items():
                if part in name.lower():
                    return array
        return None

    def is_grid(self, count: int, anchors: int = 1) -> bool:
        """Whether `count` boxes are what a head gives for this size of input, with so many anchors per cell."""
        if self.size is None:
            return False
        return any(count == anchors * cells(self.size, strides) for strides in _STRIDES)


def cells(size: Size, strides: tuple[int, ...]) -> int:
    """How many cells grids of these strides have over an input of (height, width)."""
    height, width = size
    return sum(-(-height // stride) * -(-width // stride) for stride in strides)


def strides_of(size: Size, count: int) -> tuple[int, ...] | None:
    """The strides whose grids have `count` cells together; None where there are none."""
    return next((strides for strides in _STRIDES if cells(size, strides) == count), None)


def view_of(outputs: Outputs, network: Network, names: tuple[str, ...], size: Size | None) -> View:
    """The outputs without their batch axes."""
    arrays = {name: without_batch(array) for name, array in outputs.items() if array.dtype.kind in _NUMBERS}
    return View(arrays, size, names, network.metadata)


def without_batch(array: NDArray[Any]) -> NDArray[Any]:
    """The array without a first axis of length 1, which a single axis keeps."""
    return array[0] if array.ndim > 1 and array.shape[0] == 1 else array
