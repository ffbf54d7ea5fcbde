"""The capacity of a plan: how many cameras it carries, and the result at each count."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from framepace.facts.base import Fact
from framepace.facts.bounded import NonNegative, Positive, PositiveNumber
from framepace.facts.summary import Estimate


class CapacityPoint(Fact, frozen=True, kw_only=True):
    """One count of cameras, measured (or predicted, where `measured` is False) for `seconds`.

    `holds`: the budget was met and nothing was dropped; `sure` is False where so few frames decide that another run
    might say otherwise. `late` is the share of frames that were not delivered within the budget, dropped and failed
    ones included, and `lost` the number of those. `p99` in ns, or why there is none in `refused`; `throughput` in
    frames per second, `cpu` in cores busy. `limited_by` says what limits this count, `trace` where the trace is.
    """

    cameras: Positive
    holds: bool
    late: NonNegative
    seconds: NonNegative
    sure: bool = True
    lost: int = 0
    p99: Estimate | None = None
    refused: str | None = None
    throughput: NonNegative = 0.0
    cpu: float | None = None
    limited_by: str = ""
    measured: bool = True
    trace: str | None = None


class Capacity(Fact, frozen=True, kw_only=True):
    """The most `cameras` at `fps` frames per second each that a plan carried within `budget` (ns).

    `missed` is the smallest count that did not hold, None where all held: then more may be possible. `limited_by`
    says what limits it there. `points` has one for each count, predicted ones after measured ones; `predicted` is
    the capacity by prediction. `stopped` says why the search ended early ('' where it did not). `notes` are sentences a
    reader must see.
    """

    cameras: Annotated[int, Meta(ge=0)]
    fps: PositiveNumber
    budget: PositiveNumber
    missed: Positive | None = None
    limited_by: str = ""
    points: tuple[CapacityPoint, ...] = ()
    predicted: int | None = None
    stopped: str = ""
    simulated: bool = False
    notes: tuple[str, ...] = ()

    @property
    def fits(self) -> bool | None:
        """Whether the plan carries one camera; None where nothing was measured."""
        if self.cameras:
            return True
        if self.missed is None:
            return None
        return False

    @property
    def exact(self) -> bool:
        """Whether one camera more was measured and did not hold."""
        return self.missed == self.cameras + 1
