"""Calibration: a null backend of known latency is measured; the tool must recover level, tail and change.

Each seeded run passes real time: a level with 10 % noise and 1 % outliers, and in some of the runs a second tier that
is reached over a ramp. The truth of a run is the latency that the backend was told to take.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from common import options, show

from framepace.analyze.stats import percentile
from framepace.analyze.summary import summarize
from framepace.backends.null import durations
from framepace.clock.system import SystemClock
from framepace.engine.engine import Engine
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.workload import Closed, Stop, Warmup, Workload
from framepace.measure.session import measure

REQUESTS = 1000
CHANGE = 500
NOISE = {"latency_us": 1000, "noise": 0.1, "outlier_share": 0.01, "outlier_factor": 4.0}


def run(seed: int, **more: Any) -> dict[str, Any]:
    """One run: the mean's error, whether the p99 interval holds the true p99, and the change points found."""
    asked = {**NOISE, "seed": seed, **more}
    plan = Plan(models=(ModelPlan(name="null", model="null", backend="null", options=asked),))
    load = Workload(load=Closed(), scope="model", stop=Stop(count=REQUESTS), warmup=Warmup(seconds_max=0.0))
    trace = measure(plan, load, engine=Engine(plan, SystemClock()), telemetry=False)
    drawn = durations(asked, len(trace)).astype(np.float64)
    kept = trace.measured()
    first = len(trace) - len(kept)
    seen = kept.latency.astype(np.float64)
    p99 = percentile(seen, 99).estimate
    tiers = [t for t in summarize(trace).frames.tiers if t.kind == "level"]
    return {
        "mean_error": seen.mean() / drawn[first:].mean() - 1,
        "p99_held": p99 is not None and p99.low is not None and p99.low <= true_p99(asked) <= (p99.high or 0),
        "levels": len(tiers),
        "change": tiers[1].first + first if len(tiers) > 1 else None,
    }


def true_p99(asked: dict[str, Any]) -> float:
    """The 99th percentile of the distribution that the run's durations were drawn from, ns."""
    return float(np.percentile(durations({**asked, "seed": 10**6}, 400_000), 99))


def main() -> None:
    """Measure and print."""
    args = options(__doc__ or "", runs=100)
    steady = [run(args.seed * 1000 + i) for i in range(args.runs)]
    step = [run(args.seed * 1000 + i, tier_at=CHANGE, tier_factor=2.0) for i in range(args.runs // 4)]
    ramp = [run(args.seed * 1000 + i, tier_at=CHANGE, tier_factor=2.0, ramp=150) for i in range(args.runs // 4)]
    means = sorted(abs(r["mean_error"]) for r in steady + step)
    near = sum(error <= 0.02 for error in means)
    held = sum(r["p99_held"] for r in steady)
    off = [abs(r["change"] - CHANGE) if r["change"] is not None else REQUESTS for r in step]
    settled = [abs(r["change"] - CHANGE - 150) if r["change"] is not None else REQUESTS for r in ramp]
    false = sum(r["levels"] != 1 for r in steady)
    rows = [
        _row("mean within 2 %, runs", f"{near} of {len(means)}", "all", near == len(means)),
        _row("mean, median and worst of the runs", f"{np.median(means):.2%}, {means[-1]:.2%} off", "", None),
        _row("true p99 within its interval", f"{held} of {args.runs}", ">= 95 %", held >= 0.95 * args.runs),
        _row(
            "a step's place, runs within 5 requests", f"{sum(o <= 5 for o in off)} of {len(off)}", "all", max(off) <= 5
        ),
        _row("a ramp's end, median distance", f"{np.median(settled):.0f} requests", "", None),
        _row("a steady level taken for several", f"{false} of {args.runs}", "<= 2 %", false <= 0.02 * args.runs),
    ]
    show("calibration", args, rows, mean_errors=means, p99_held=held, step_off=off, ramp_off=settled, false_tiers=false)


def _row(what: str, got: str, goal: str, met: bool | None) -> dict[str, Any]:
    return {"what": what, "got": got, "goal": goal, "met": met}


if __name__ == "__main__":
    main()
