"""What an input holds before a run: the value it was given, zeros for a state, else what nobody brings."""

from __future__ import annotations

from shlex import quote
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.facts.model import TensorSpec
from framepace.models.dtypes import dtype_of, is_float
from framepace.models.resolved import Resolved


def staged(resolved: Resolved, tensor: TensorSpec) -> NDArray[Any]:
    """A new array for an input, filled as `fill` does."""
    array = np.empty(resolved.shapes[tensor.name], dtype_of(tensor.dtype))
    fill(resolved, tensor, array)
    return array


def example(resolved: Resolved, count: int | None = None) -> dict[str, NDArray[Any]]:
    """New arrays for all inputs, of `count` items (as many as fit by default)."""
    arrays = {tensor.name: staged(resolved, tensor) for tensor in resolved.inputs}
    if count is None:
        return arrays
    return {name: resolved.first(name, array, count) for name, array in arrays.items()}


def fill(resolved: Resolved, tensor: TensorSpec, into: NDArray[Any]) -> None:
    """Fill the staging array of an input: the same every time."""
    name = tensor.name
    if name in resolved.values:
        frames = resolved.values[name].frames
        for place in range(_places(resolved, name, into)):
            resolved.item(name, into, place)[...] = frames[place % len(frames)]
    elif name in resolved.states:
        into[...] = _zero(into.dtype)
    else:
        draw(into, np.random.default_rng(0))


def draw(into: NDArray[Any], rng: np.random.Generator) -> None:
    """Fill an array: random within what the dtype and an image allow."""
    if into.dtype.kind == "O":
        into[...] = ""
    elif into.dtype.kind == "c" or is_float(into.dtype.name):
        into[...] = rng.random(into.shape, dtype=np.float32).astype(into.dtype)
    else:
        into[...] = rng.integers(0, 2, into.shape).astype(into.dtype)


def made_up_note(resolved: Resolved) -> str:
    """Which inputs hold values that nobody gave, and how to give them; '' if none does."""
    names = resolved.made_up
    if not names:
        return ""
    verb = "holds" if len(names) == 1 else "hold"
    return f"{', '.join(names)} {verb} made-up values (0 to 1), for nobody gave any: --input {quote(names[0])}=VALUE"


def _zero(dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "O":
        return ""
    return np.zeros((), dtype)


def _places(resolved: Resolved, name: str, array: NDArray[Any]) -> int:
    axis = resolved.axis(name)
    if axis is None:
        return 1
    return int(array.shape[axis])
