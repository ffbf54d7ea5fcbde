"""False alarms: healthy cases must be explained without a cause.

Each seeded run is a whole `explain` in virtual time: a backend with noise and outliers and nothing wrong with it, so that
every confirmed cause is a false one. Only the numbers are made; the engine, the trials and the verdicts are the real ones.
"""

from __future__ import annotations

from common import options, show

from framepace.api import make_case
from framepace.explaining.run import explain
from framepace.facts.plan import ModelPlan, Plan
from framepace.testing import FakeClock

NOISES = ({"noise": 0.02}, {"noise": 0.1, "outlier_share": 0.01}, {"noise": 0.2, "outlier_share": 0.02})


def confirmed(seed: int) -> list[str]:
    """The causes named in one healthy run."""
    asked = {"latency_us": 500 * (1 + seed % 20), "seed": seed, **NOISES[seed % len(NOISES)]}
    plan = Plan(models=(ModelPlan(name="m", model="null", backend="null", options=asked),))
    return [f.code for f in explain(make_case(plan, fps=30, seed=seed), clock=FakeClock()).confirmed]


def main() -> None:
    """Measure and print."""
    args = options(__doc__ or "", runs=50)
    found = [confirmed(args.seed * 1000 + i) for i in range(args.runs)]
    flagged = sum(bool(codes) for codes in found)
    row = {"what": "healthy runs with a cause named", "got": f"{flagged} of {args.runs}", "goal": "<= 1 in 50"}
    show("healthy", args, [{**row, "met": flagged * 50 <= args.runs}], flagged=flagged, runs=args.runs)


if __name__ == "__main__":
    main()
