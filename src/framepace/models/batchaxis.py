"""The batch axis of inputs and outputs: found by its name and place, and the only one along which outputs are divided.

Pure, but for what is given.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from framepace.facts.model import TensorSpec

Tensors = Mapping[str, NDArray[Any]]
_NAMES = frozenset({"batch", "batch_size", "batchsize", "n", "b", "bs", "num_batch", "batch_dim"})
_UNNAMED = "?"
# Names that exporters make up for each tensor anew: they say nothing of what an axis is.
_MADE_UP = re.compile(
    r"\?|unk\w*|None|-?\d+|(p2o\.)?dynamicdimension[.\d]*|.*(_dim_|_dynamic_axes_)\d+|\w+__\d+", re.IGNORECASE
)
ANY_RANK = ("...",)


def input_axes(
    inputs: Sequence[TensorSpec], pictures: Mapping[str, int | None], batch: int
) -> tuple[dict[str, int], frozenset[str]]:
    """The batch axis of each input that has one, and the inputs that take any batch size.

    The batch is the axis that the file calls like the first axis of the picture (or like a batch, where no picture
    goes in), wherever it is in the other inputs; and an open first axis.

    Args:
        pictures: the inputs that take pictures, and their batch axes; None for pictures without one.
        batch: the plan's; several frames may share an inference of a file whose first axes are that long.
    """
    if pictures and all(axis is None for axis in pictures.values()):
        return {}, frozenset()
    axes = _axes(inputs, pictures)
    opened = frozenset(t.name for t in inputs if t.name in axes and isinstance(t.shape[axes[t.name]], str))
    if not pictures.keys() & axes.keys() <= opened:  # a picture whose batch is fixed: nothing else varies either
        return axes, frozenset()
    if not opened and batch > 1:
        return {tensor.name: 0 for tensor in inputs if tensor.shape}, frozenset()
    return {name: axis for name, axis in axes.items() if name in opened}, opened


def _axes(inputs: Sequence[TensorSpec], pictures: Mapping[str, int | None]) -> dict[str, int]:
    """The batch axis of each input that has one, fixed in pictures, open in all others."""
    symbol = batch_symbol(inputs, pictures)
    axes = {tensor.name: _axis(tensor, symbol) for tensor in inputs}
    axes |= pictures
    if 0 in axes.values():
        axes |= {t.name: 1 for t in inputs if axes[t.name] is None and t.name not in pictures and _is_recurrent(t)}
    return {name: axis for name, axis in axes.items() if axis is not None}


def batch_symbol(inputs: Sequence[TensorSpec], pictures: Mapping[str, int | None]) -> str | None:
    """What the file calls the batch; None where it has no name for it."""
    of_pictures = [_called(tensor, pictures.get(tensor.name)) for tensor in inputs]
    if any(axis is not None for axis in pictures.values()):
        return next(filter(None, of_pictures), None)
    symbols = [dim for tensor in inputs for dim in tensor.shape if isinstance(dim, str)]
    likely = Counter(symbol for symbol in symbols if _is_called_batch(symbol))
    if not likely:
        return None
    return likely.most_common(1)[0][0]


def _called(tensor: TensorSpec, axis: int | None) -> str | None:
    """The name of an open axis, if it has one."""
    if axis is None or tensor.shape[axis] == _UNNAMED or not isinstance(tensor.shape[axis], str):
        return None
    return str(tensor.shape[axis])


def _is_called_batch(name: str) -> bool:
    return name.lower() in _NAMES or "batch" in name.lower()


def _axis(tensor: TensorSpec, symbol: str | None) -> int | None:
    if tensor.shape == ANY_RANK:
        return 0
    if symbol is not None and symbol in tensor.shape:
        return tensor.shape.index(symbol)
    if tensor.shape and isinstance(tensor.shape[0], str) and _may_be_batch(tensor.shape[0], symbol):
        return 0
    return None


def _is_recurrent(tensor: TensorSpec) -> bool:
    """Whether the shape is that of a recurrent network's state, (layers, batch, size), with no name for the batch."""
    if len(tensor.shape) != 3 or not isinstance(tensor.shape[1], str):
        return False
    layers, batch, size = tensor.shape
    return isinstance(layers, int) and isinstance(size, int) and _says_nothing(str(batch))


def _may_be_batch(name: str, symbol: str | None) -> bool:
    """Whether an axis of that name may be the batch, which the file calls `symbol`."""
    if symbol is None or name == symbol or _says_nothing(symbol) or _says_nothing(name):
        return True
    return _is_called_batch(name)


def _says_nothing(name: str) -> bool:
    return _MADE_UP.fullmatch(name) is not None


def declared_axes(outputs: Sequence[TensorSpec], symbol: str | None) -> dict[str, int]:
    """The batch axis of outputs by what the file calls it; a first axis without a name counts too."""
    axes = {}
    for tensor in outputs:
        if tensor.shape == ANY_RANK:
            continue
        if symbol is not None and symbol in tensor.shape:
            axes[tensor.name] = tensor.shape.index(symbol)
        elif tensor.shape and isinstance(tensor.shape[0], str) and _may_be_batch(tensor.shape[0], symbol):
            axes[tensor.name] = 0
    return axes


def measured_axes(
    one: Mapping[str, Sequence[int]],
    two: Mapping[str, Sequence[int]],
    declared: Sequence[TensorSpec],
    symbol: str | None,
) -> dict[str, int]:
    """The batch axis of outputs by their shapes for one item and for two: the only axis that went from 1 to 2.

    An axis to which the file gives a name other than the batch's is none: so many boxes were found, say.
    """
    shapes = {tensor.name: tensor.shape for tensor in declared}
    axes = {}
    for name, first in one.items():
        axis = _doubled(first, two[name])
        if axis is None:
            continue
        if _is_unnamed_or_batch(shapes.get(name, ()), axis, symbol):
            axes[name] = axis
    return axes


def _is_unnamed_or_batch(shape: Sequence[int | str], axis: int, symbol: str | None) -> bool:
    """Whether the file does not call an axis something other than the batch."""
    if shape == ANY_RANK or axis >= len(shape):
        return True
    called = shape[axis]
    return not isinstance(called, str) or _may_be_batch(called, symbol)


def _doubled(one: Sequence[int], two: Sequence[int]) -> int | None:
    """The only axis in which two shapes differ, if it went from 1 to 2."""
    if len(one) != len(two):
        return None
    changed = [axis for axis, sizes in enumerate(zip(one, two, strict=True)) if sizes[0] != sizes[1]]
    if len(changed) != 1 or (one[changed[0]], two[changed[0]]) != (1, 2):
        return None
    return changed[0]


def divided(outputs: Tensors, place: int, axes: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    """The outputs of the frame at `place` of a batch: cut along their batch axis, which stays; others whole."""
    return {name: part(output, place, axes.get(name)) for name, output in outputs.items()}


def part(output: NDArray[Any], place: int, axis: int | None) -> NDArray[Any]:
    """One frame's part of an output; all of it without a batch axis."""
    if axis is None:
        return output
    if axis == 0:
        return output[place : place + 1]
    return output[(*(slice(None),) * axis, slice(place, place + 1))]
