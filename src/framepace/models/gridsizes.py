"""Picture sizes that a network of patches was made for, though its file leaves them open: read from its weights.

Such a network cuts the picture into patches and adds one vector to each, for its place. There are as many vectors as
patches, and perhaps one or two more for tokens that stand before them; so the side is a patch's times their root.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any

_SMALLEST_PATCH = 4
_SMALLEST_GRID = 4
_TOKENS_BEFORE = (1, 0, 2)  # one for the class, most often
_MOST_SIDES = 4
_MOST_BYTES = 1 << 29  # a larger file is not read for a question


def grid_sides(location: str) -> tuple[int, ...]:
    """Sides of the square pictures that an ONNX file was likely made for, the likeliest first; empty where unknown."""
    if not location.endswith(".onnx"):
        return ()
    graph = _graph(location)
    if graph is None:
        return ()
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    patches = [patch for node in graph.node for patch in _patch(node, shapes)]
    sides = [side for patch, width in patches for side in _sides(shapes, patch, width)]
    return tuple(dict.fromkeys(sides))[:_MOST_SIDES]


def _graph(location: str) -> Any:
    """The graph of a file, without weights beside it; None where it is not to be had."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        if os.path.getsize(location) > _MOST_BYTES:
            return None
        return onnx.load(location, load_external_data=False).graph
    except (OSError, DecodeError):  # what is wrong with the file is said when it is loaded
        return None


def _patch(node: Any, shapes: dict[str, tuple[int, ...]]) -> Iterator[tuple[int, int]]:
    """A patch's side and the length of its vector, where the node cuts pictures into patches."""
    if node.op_type != "Conv" or len(node.input) < 2:
        return
    weights = shapes.get(node.input[1], ())
    strides = next((tuple(item.ints) for item in node.attribute if item.name == "strides"), ())
    if len(weights) == 4 and weights[2:] == strides and strides[0] == strides[1] >= _SMALLEST_PATCH:
        yield strides[0], weights[0]


def _sides(shapes: dict[str, tuple[int, ...]], patch: int, width: int) -> Iterator[int]:
    """Sides of pictures whose patches have a vector each of that length; those of vectors called positions first."""
    counts = {name: shape[-2] for name, shape in shapes.items() if _are_vectors(shape, width)}
    for name in sorted(counts, key=lambda name: "pos" not in name.lower()):
        for tokens in _TOKENS_BEFORE:
            patches = counts[name] - tokens
            grid = math.isqrt(max(patches, 0))
            if grid >= _SMALLEST_GRID and grid**2 == patches:
                yield patch * grid


def _are_vectors(shape: tuple[int, ...], width: int) -> bool:
    """Whether a tensor is a list of vectors of that length, with or without a batch axis."""
    return shape[-1:] == (width,) and len(shape) in (2, 3) and shape[:-2] in ((), (1,))
