"""What the tensors inside a network hold, in FP32 and in a lower precision: read in parts, to bound the memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.facts.mending import ValueRange
from framepace.numerics.inputs import Inputs
from framepace.numerics.switched import Network
from framepace.numerics.switchedgraph import float_tensors

_PART_BYTES = 256 << 20  # of values that are held at once
_PART_TENSORS = 400
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class TensorValues:
    """A tensor in numbers: its finite values in FP32, and how many in the precision are zero or no longer finite.

    `broken` values are finite in FP32 and not in the precision; `vanished` are zero in the precision alone.
    """

    name: str
    size: int
    lowest: float
    highest: float
    broken: int
    zeros: int
    vanished: int

    @property
    def reach(self) -> float:
        """The largest magnitude in FP32."""
        return max(abs(self.lowest), abs(self.highest))

    @property
    def as_range(self) -> ValueRange:
        """For people."""
        return ValueRange(
            tensor=self.name, lowest=self.lowest, highest=self.highest, zeros=self.zeros, nonfinite=self.broken
        )


def inner_tensors(network: Network) -> list[str]:
    """The float tensors that nodes make, in the order of the graph."""
    floats = float_tensors(network.proto.graph)
    return [name for node in network.proto.graph.node for name in node.output if name in floats]


def tensor_values(
    network: Network, inputs: Inputs, low: Collection[str], tensors: Sequence[str]
) -> dict[str, TensorValues]:
    """The numbers of inner tensors by name, with those nodes in lower precision beside FP32, and of float inputs."""
    values = {name: _numbers(name, array, array) for name, array in inputs.items() if array.dtype == np.float32}
    for part in _parts(network, inputs, tensors):
        watch = network.watched(part)
        plain = watch.run(inputs)
        lowered = watch.run(inputs, low) if low else plain
        values.update({name: _numbers(name, plain[name], lowered[name]) for name in part})
    return values


def _parts(network: Network, inputs: Inputs, tensors: Sequence[str]) -> Iterator[list[str]]:
    """The tensors in parts whose values fit into memory together, in order."""
    sizes = network.sizes(inputs, tensors)
    part: list[str] = []
    held = 0
    for name in tensors:
        size = sizes[name] * _FLOAT_BYTES
        if part and (held + 2 * size > _PART_BYTES or len(part) >= _PART_TENSORS):
            yield part
            part = []
            held = 0
        part.append(name)
        held += 2 * size
    if part:
        yield part


def _numbers(name: str, plain: NDArray[Any], low: NDArray[Any]) -> TensorValues:
    inside = plain[np.isfinite(plain)]
    if not inside.size:
        return TensorValues(name, plain.size, 0.0, 0.0, broken=0, zeros=0, vanished=0)
    if plain.shape != low.shape:  # how many there are depends on the values themselves
        low = plain
    return TensorValues(name, plain.size, float(inside.min()), float(inside.max()), **_lost(plain, low))


def _lost(plain: NDArray[Any], low: NDArray[Any]) -> dict[str, int]:
    """What of a tensor the precision does not hold."""
    zero = low == 0
    places = {"broken": np.isfinite(plain) & ~np.isfinite(low), "zeros": zero, "vanished": zero & (plain != 0)}
    return {name: int(np.count_nonzero(where)) for name, where in places.items()}


def reaches(values: dict[str, TensorValues], names: Iterable[str]) -> float | None:
    """The largest magnitude of some tensors in FP32; None where none is known."""
    return max((values[name].reach for name in names if name in values), default=None)
