"""What is known of a network beside its outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from numpy.typing import NDArray

Outputs: TypeAlias = Mapping[str, NDArray[Any]]
"""One frame's outputs by name; a batch axis, where there is one, has length 1."""


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
    size: tuple[int, int] | None = None
    resize: Literal["stretch", "letterbox"] = "stretch"
    metadata: Mapping[str, str] = field(default_factory=dict)
