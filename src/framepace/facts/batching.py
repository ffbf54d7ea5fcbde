"""How frames share an inference."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from framepace.facts.base import Fact, Setting
from framepace.facts.bounded import Milliseconds, Positive


class Batching(Fact, frozen=True, kw_only=True):
    """How many frames share an inference, and how long the oldest may wait for company.

    `policy` 'window': up to `window_ms` after it was due. 'deadline': while the device is busy and the target's budget,
    less what the batch was measured to cost, allows; batches of `sizes` that suit the hardware are then preferred.

    Where each size has to be set up (CUDA graphs, searched algorithms), `prepared_sizes` are set up and others padded.
    """

    max: Annotated[
        Annotated[int, Meta(ge=1, le=65_536)],
        Setting(
            "batch",
            help="frames in one inference",
            why="more frames per second if one does not fill the device; a frame waits for its batch",
        ),
    ] = 1
    window_ms: Annotated[
        Milliseconds,
        Setting(
            help="how long the oldest frame of a batch may wait",
            why="fuller batches; each frame may wait this long",
        ),
    ] = 0.0
    policy: Annotated[
        Literal["window", "deadline"],
        Setting(
            "batch-policy",
            help="window: a fixed wait; deadline: as the budget allows",
            why_value={
                "deadline": "full batches without a window to choose: a batch waits only while the device is busy"
            },
        ),
    ] = "window"
    sizes: Annotated[
        tuple[Positive, ...],
        Setting(
            "batch-sizes",
            help="sizes preferred by policy deadline, and set up on a GPU, e.g. 4+8",
            why="sizes that the hardware runs well",
        ),
    ] = ()

    @property
    def prepared_sizes(self) -> tuple[int, ...]:
        """`sizes` and the largest; where none are given, powers of two up to the largest."""
        candidates = self.sizes or tuple(2**power for power in range(self.max.bit_length()))
        return tuple(sorted({size for size in candidates if size < self.max} | {self.max}))
