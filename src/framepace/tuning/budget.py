"""How a tuning shares out its time limit, and how long its runs are."""

from __future__ import annotations

from dataclasses import dataclass

from framepace.facts.workload import Warmup


@dataclass(frozen=True, kw_only=True)
class RunLength:
    """A run lasts for `frames` at the rate it is measured at, within limits in seconds."""

    frames: int
    shortest_s: float
    longest_s: float

    def seconds(self, fps: float, at_least: float = 0.0) -> float:
        """The length at `fps` frames per second, `at_least` so many seconds where the limits allow."""
        return between(max(at_least, self.frames / fps), self.shortest_s, self.longest_s)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Shares (0-1) are of the time limit, times in seconds.

    Attributes:
        primitives_share: planned for the primitives of all ways to run the models.
        primitives_share_max: from then on no further way is begun.
        predictions_share: for predictions, from the end of the primitives on.
        confirming_share_max: kept for a last, longer run of the best.
        reserve_s: for loading libraries before, and writing the report after.
        runs_per_model: runs that the primitives of a model take.
        run_factor: a run of a primitive takes that many times its length: with a warm-up, and again where neighbours
            disturb it.
        point_s: shortest and longest run of a primitive.
        point_virtual_s: the length in virtual time.
        batch_spread: primitives are measured up to that many times the smallest batch on a CPU.
        trial: one measurement of a candidate.
        confirming: that which confirms the best (p99 needs 662 frames).
        prediction: one run in virtual time.
        prediction_budgets: latency budgets that a predicted run lasts at least.
        prediction_warmup_s: its longest warm-up.
        disturbed_share: of the CPU that neighbours may take before a miss is measured again.
    """

    primitives_share: float = 0.35
    primitives_share_max: float = 0.5
    predictions_share: float = 0.2
    confirming_share_max: float = 0.25
    reserve_s: float = 3.0
    runs_per_model: int = 8
    run_factor: float = 2.5
    point_s: tuple[float, float] = (0.25, 1.0)
    point_virtual_s: float = 0.3
    batch_spread: int = 8
    trial: RunLength = RunLength(frames=300, shortest_s=1.5, longest_s=6.0)
    confirming: RunLength = RunLength(frames=700, shortest_s=4.0, longest_s=15.0)
    prediction: RunLength = RunLength(frames=300, shortest_s=0.4, longest_s=10.0)
    prediction_budgets: int = 8
    prediction_warmup_s: float = 0.3
    disturbed_share: float = 0.05


BUDGET = Budget()
WARMUP = Warmup(tolerance=0.15, seconds_max=1.0)


def between(value: float, low: float, high: float) -> float:
    """`value` within limits."""
    return min(high, max(low, value))
