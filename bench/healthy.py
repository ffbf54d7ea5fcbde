"""False alarms: healthy cases must be explained without a cause.

Each seeded run is a whole `explain` in virtual time: a backend with noise and outliers and nothing wrong with it, so
that every confirmed cause is a false one. Only the numbers are made; engine, trials and verdicts are the real ones.
"""

from __future__ import annotations

from typing import Any

from common import options, show

from framepace.api import make_case
from framepace.explaining.metrics import LATENCY
from framepace.explaining.run import explain
from framepace.explaining.trial import Blocks, judge
from framepace.facts.bounded import Option
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.settings import Case, apply
from framepace.lab.lab import Lab
from framepace.testing import FakeClock

NOISES: tuple[dict[str, Option], ...] = (
    {"noise": 0.02},
    {"noise": 0.1, "outlier_share": 0.01},
    {"noise": 0.2, "outlier_share": 0.02},
)


def case(seed: int) -> Case:
    """A healthy case: 0.5 to 10 ms of work at 30 fps."""
    asked = {"latency_us": 500 * (1 + seed % 20), "seed": seed, **NOISES[seed % len(NOISES)]}
    plan = Plan(models=(ModelPlan(name="m", model="null", backend="null", options=asked),))
    return make_case(plan, fps=30, seed=seed)


def confirmed(seed: int) -> list[str]:
    """The causes named in one healthy run."""
    return [f.code for f in explain(case(seed), clock=FakeClock()).confirmed]


def fooled(seed: int) -> bool:
    """Whether a trial that changes nothing is called confirmed. The blocks differ in their noise alone."""
    base, blocks = case(seed), Blocks()
    with Lab(90.0, clock=FakeClock()) as lab:
        for block in range(8):
            side = blocks.before if block % 4 in (0, 3) else blocks.after
            side.append(lab.run(apply(base, {"option.seed": 1000 * seed + block}), 1.2))
    return judge(blocks.ratio(LATENCY)) == "confirmed"


def main() -> None:
    """Measure and print."""
    args = options(__doc__ or "", runs=50)
    found = [confirmed(args.seed * 1000 + i) for i in range(args.runs)]
    flagged = sum(bool(codes) for codes in found)
    wrong = sum(fooled(args.seed * 1000 + i) for i in range(2 * args.runs))
    rows = [
        _row("healthy runs with a cause named", flagged, args.runs),
        _row("no-op trials confirmed", wrong, 2 * args.runs),
    ]
    show("healthy", args, rows, flagged=flagged, fooled=wrong, runs=args.runs)


def _row(what: str, count: int, of: int) -> dict[str, Any]:
    return {"what": what, "got": f"{count} of {of}", "goal": "<= 1 in 50", "met": count * 50 <= of}


if __name__ == "__main__":
    main()
