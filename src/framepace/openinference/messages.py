"""A request for an inference and its answer, whichever way they travel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from msgspec import Struct, field
from numpy.typing import NDArray

from framepace.openinference.datatypes import BYTES, NUMPY_NAMES, item_size
from framepace.openinference.errors import RequestError

Parameter = bool | int | float | str
LARGEST = (1 << 63) - 1  # the most elements of a tensor


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a registered shared memory region, in bytes."""

    name: str
    offset: int
    size: int


class Input(Struct):
    """A tensor that was sent: as an array of its datatype and shape, or where it lies in shared memory."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: NDArray[Any] | None = None
    region: Region | None = None


class Wanted(Struct, frozen=True):
    """An output that was asked for: as bytes or as numbers in JSON, into shared memory, or as its highest classes."""

    name: str
    binary: bool = False
    region: Region | None = None
    classes: int = 0


class InferRequest(Struct):
    """A request for an inference.

    `outputs` are all of the model's if none is named, as bytes where `binary` says so.
    """

    inputs: list[Input]
    outputs: list[Wanted]
    id: str = ""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    binary: bool = False


class Output(Struct, eq=False):
    """A tensor of an answer; `data` is None where it was written into shared memory."""

    name: str
    datatype: str
    shape: Sequence[int]
    data: NDArray[Any] | None
    wanted: Wanted


class InferAnswer(Struct, eq=False):
    """The answer to a request."""

    model: str
    version: str
    outputs: list[Output]
    id: str = ""
    parameters: Mapping[str, Parameter] = {}


def check_name(name: str, seen: set[str], what: str) -> None:
    """Raise RequestError for a tensor that is named twice."""
    if name in seen:
        raise RequestError(f"{what} '{name}' already exists in request")
    seen.add(name)


def element_count(name: str, datatype: str, shape: Sequence[int]) -> int:
    """How many elements a tensor has. Raises RequestError for a datatype or shape that cannot be."""
    if datatype not in NUMPY_NAMES:
        raise RequestError(f"invalid datatype for input {name}: got '{datatype}', expected {', '.join(NUMPY_NAMES)}")
    if min(shape, default=0) < 0:
        raise RequestError(
            f"invalid shape for input '{name}': shape {shape_text(shape)} contains one or more invalid dimensions"
        )
    count = prod(shape)
    if count > LARGEST:
        raise RequestError(
            f"invalid shape for input '{name}': shape {shape_text(shape)} causes total element count to exceed "
            f"maximum size of {LARGEST}"
        )
    if datatype != BYTES and count * item_size(datatype) > LARGEST:
        raise RequestError(
            f"byte size overflow for input '{name}': element count ({count}) * data type size ({item_size(datatype)}) "
            f"exceeds maximum allowed size ({LARGEST})"
        )
    return count


def shape_text(shape: Sequence[int]) -> str:
    """A shape as the protocol's servers write it: [1,3,480,640]."""
    return "[" + ",".join(map(str, shape)) + "]"
