"""A sweep: the same measurement over a grid of settings, one cell per combination."""

from __future__ import annotations

from typing import Any

from framepace.facts.base import Fact
from framepace.facts.place import Site
from framepace.facts.summary import Summary, TierKind


class Settling(Fact, frozen=True, kw_only=True):
    """The latency of a run with a gap after each inference, through its levels, and of the same back to back; ns.

    `level` is the first one, `jump` the request at which it ends, at once or in a ramp (`change`), None where it never
    does; `settle` the request from which the last level holds, None where the run ends in a ramp; `settled` that level.
    """

    level: float
    jump: int | None
    change: TierKind | None
    settle: int | None
    settled: float
    back_to_back: float

    @property
    def cost(self) -> float:
        """What the gap costs once settled, as a share of the latency back to back; negative where it is faster."""
        return self.settled / self.back_to_back - 1


class BatchScaling(Fact, frozen=True, kw_only=True):
    """Times per image (ns) by batch, back to back.

    `knee` is the smallest batch within 5 % of the best time per image, `gain` what the largest one brings over the
    smallest, `added_share` the share of the time of one image that every further image of a batch adds.
    """

    smallest: int
    largest: int
    per_image: dict[int, float]
    knee: int
    gain: float
    added_share: float


class Cell(Fact, frozen=True, kw_only=True):
    """One combination of settings: its summary, or the error that kept it from being measured.

    `why` says why its strategy is faster or slower than another, where the sweep varies that. `settling` is there under
    a load with a gap after each inference, `site` where a cluster measured it.
    """

    settings: dict[str, Any]
    summary: Summary | None = None
    trace: str | None = None
    error: str | None = None
    why: str | None = None
    settling: Settling | None = None
    site: Site | None = None


class Sweep(Fact, frozen=True, kw_only=True):
    """All cells in the order of the grid; `interrupted` when Ctrl-C ended it before the last.

    `answers` are what the cells say together; `notes` are sentences a reader must see, such as a cell that was damaged
    and measured again.
    """

    grid: dict[str, tuple[str, ...]]
    cells: tuple[Cell, ...]
    interrupted: bool = False
    notes: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
