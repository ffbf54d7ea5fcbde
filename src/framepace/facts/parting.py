"""Where the outputs of two ways to run a model part."""

from __future__ import annotations

from framepace.facts.base import Fact
from framepace.facts.bounded import NonNegative, Positive


class PartedNode(Fact, frozen=True, kw_only=True):
    """A node of the file by whose output both ways have parted: `error` is its relative L2 error over the frames.

    `before` is the largest error of what it reads, None where that was not compared.
    """

    node: str
    operator: str
    tensor: str
    error: float
    before: float | None = None


class Parting(Fact, frozen=True, kw_only=True):
    """The first node of the file whose output differs by more than `limit`, of `compared` of `tensors` in between.

    None of them where both agree at every node that was compared; `notes` say what that means, or why nothing but the
    outputs can be compared.
    """

    frames: Positive
    limit: NonNegative
    tensors: int = 0
    compared: int = 0
    first: PartedNode | None = None
    notes: tuple[str, ...] = ()
