"""Outputs of backends that compute nothing."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from framepace.facts.model import TensorSpec


def fixed_outputs(outputs: Iterable[TensorSpec], batch: int) -> tuple[TensorSpec, ...]:
    """The outputs with every dimension an int: unknown ones are 1, since nobody reads outputs that are not computed."""
    return tuple(replace(tensor, shape=_fixed(tensor.shape, batch)) for tensor in outputs)


def _fixed(shape: tuple[int | str, ...], batch: int) -> tuple[int, ...]:
    unknown_sizes = [batch, *[1] * len(shape)]
    return tuple(dim if isinstance(dim, int) else size for dim, size in zip(shape, unknown_sizes, strict=False))
