"""Values of inputs that take no picture: typed as text or read from a file, then shaped to the input."""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace import values
from framepace.errors import ModelError
from framepace.facts.model import TensorSpec
from framepace.inputfile import InputKind, read_file
from framepace.models.dtypes import dtype_of
from framepace.models.resolved import SideInput

SUFFIXES = (".npy", ".npz")
_MOST_BYTES = 4 << 30
_SHAPE_OF_ONE = "give the values of one frame, or of many on a first axis"


def read_value(name: str, text: str) -> NDArray[Any]:
    """The array that 'NAME=text' stands for: a number, a list, true or false, letters, or a file of numbers.

    Raises ModelError for a file that holds none.
    """
    if text.lower().endswith(SUFFIXES):
        return _read_file(name, text, _stamp(text))
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        parsed = _numbers_or_text(text)
    try:
        return np.asarray(parsed)
    except (ValueError, OverflowError) as error:
        message = f"the value of input {name!r} is no array"
        expected = "a number, or lists of the same length"
        raise ModelError(message, got=values.shown(text), expected=expected, fix=f"--input {name}=NUMBER") from error


def _numbers_or_text(text: str) -> Any:
    """'1,2.5' as numbers; anything else as it is."""
    try:
        return [json.loads(part) for part in text.split(",")]
    except ValueError:
        pass
    try:
        return float(text)  # nan and inf
    except ValueError:
        return text


def _stamp(path: str) -> int:
    """A number that changes with the file."""
    try:
        return os.stat(path).st_mtime_ns
    except (OSError, ValueError):
        return 0


@lru_cache(maxsize=16)
def _read_file(name: str, path: str, modified: int) -> NDArray[Any]:
    kind = InputKind(
        f"the file for input {name!r}", ModelError, "a .npy or .npz file", "write it with numpy.save(path, array)"
    )
    data = read_file(path, kind, _MOST_BYTES)
    try:
        content = np.load(io.BytesIO(data), allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        return _member(name, path, content)
    except (ValueError, EOFError, OSError, KeyError) as error:
        raise kind.unreadable(path, error) from error


def _member(name: str, path: str, content: Any) -> NDArray[Any]:
    """The array of an .npz file that is called like the input, or its only one."""
    if name in content:
        return np.asarray(content[name])
    if len(content.files) == 1:
        return np.asarray(content[content.files[0]])
    fix = f"name one of them {name!r}: numpy.savez(path, **{{{name!r}: array}})"
    raise ModelError(f"the file has no array {name!r}", got=path, expected=", ".join(content.files[:20]), fix=fix)


def open_sizes(tensor: TensorSpec, array: NDArray[Any], axis: int | None) -> tuple[int | str, ...]:
    """The shape of an input with the sizes that the file leaves open taken from its value, the batch left as it is."""
    shape = list(tensor.shape)
    if tensor.shape == ("...",):
        return array.shape
    sizes = _frame_sizes(array.shape, len(shape), axis)
    if len(sizes) != len(shape):
        return tuple(shape)
    for place, size in enumerate(sizes):
        if isinstance(shape[place], str) and place != axis:
            shape[place] = size
    return tuple(shape)


def _frame_sizes(sizes: tuple[int, ...], rank: int, axis: int | None) -> tuple[int, ...]:
    """The sizes of a value as those of one frame: without an axis of frames, with the batch that it leaves out."""
    if len(sizes) == rank + 1:
        return sizes[1:]
    if len(sizes) == rank - 1 and axis == 0:
        return (1, *sizes)
    return sizes


def fitted(name: str, array: NDArray[Any], tensor: TensorSpec, axis: int | None) -> SideInput:
    """The value of an input in its shape and dtype, one array for each frame.

    A single number fills the input. An array of one axis more has frames on its first axis; so has one that is longer
    there than a frame needs. Raises ModelError where the numbers cannot be right.
    """
    item = [int(size) for size in tensor.shape]
    if axis is not None:
        del item[axis]
    frames = _framed(array, tuple(item), tuple(int(size) for size in tensor.shape), axis)
    if frames is None:
        fix = f"{_SHAPE_OF_ONE}: {item or 'a single number'}"
        message = f"the value of input {name!r} does not fit"
        raise ModelError(message, got=f"shape {list(array.shape)}", expected=f"shape {list(tensor.shape)}", fix=fix)
    return SideInput(_converted(name, frames, tensor.dtype))


def _framed(
    array: NDArray[Any], item: tuple[int, ...], whole: tuple[int, ...], axis: int | None
) -> NDArray[Any] | None:
    """(frames, *item) of a value; None where it does not fit."""
    one = list(whole)
    if axis is not None:
        one[axis] = 1
    if array.ndim == 0 or (array.size == 1 and 0 not in item):
        return np.broadcast_to(array.reshape(()), (1, *item))
    if array.shape[1:] in (tuple(one), item) and array.shape != tuple(one):
        return array.reshape(len(array), *item)
    if array.ndim == len(whole) and _has_rows(array.shape, one):
        return array.reshape(-1, *item)
    if array.size == math.prod(item):
        return array.reshape(1, *item)
    return None


def _has_rows(shape: Sequence[int], one: Sequence[int]) -> bool:
    """Whether an array has the rows of several frames on its first axis, where a frame has those of `one`."""
    return tuple(shape[1:]) == tuple(one[1:]) and one[0] > 0 and shape[0] > one[0] and shape[0] % one[0] == 0


def _converted(name: str, frames: NDArray[Any], dtype: str) -> NDArray[Any]:
    """The frames in the input's dtype. Raises ModelError for what that cannot hold."""
    target = dtype_of(dtype)
    if target.kind == "O":
        return frames.astype(str).astype(object)
    if frames.dtype.kind not in "biufV":
        raise _wrong(name, frames, dtype, "a number")
    if target.kind in "iu":
        _check_whole(name, frames, target)
    return np.ascontiguousarray(frames).astype(target)


def _check_whole(name: str, frames: NDArray[Any], target: np.dtype[Any]) -> None:
    """Raises ModelError for fractions, and for numbers that the integers of the input do not reach."""
    limits = np.iinfo(target)
    wide = frames.astype(np.float64)
    if not (np.isfinite(wide).all() and (wide == np.trunc(wide)).all()):
        raise _wrong(name, frames, target.name, "whole numbers")
    if frames.size and (frames.min() < limits.min or frames.max() > limits.max):
        raise _wrong(name, frames, target.name, f"{limits.min} to {limits.max}")


def _wrong(name: str, frames: NDArray[Any], dtype: str, expected: str) -> ModelError:
    got = values.shown(str(frames.ravel()[:4].tolist()))
    fix = f"--input {name}=VALUE with {expected}"
    return ModelError(f"input {name!r} is {dtype}: it cannot take that value", got=got, expected=expected, fix=fix)
