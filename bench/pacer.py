"""The pacer's error: how late a paced request starts, as framepace itself records it."""

from __future__ import annotations

import numpy as np
from common import options, show

from framepace.explaining.metrics import Samples
from framepace.facts.plan import EnginePlan, ModelPlan, Plan
from framepace.facts.workload import Paced, Stop, Warmup, Workload
from framepace.measure.session import measure


def error(fps: float, seconds: float, wait: str) -> Samples:
    """Start minus due of every request, ns."""
    engine = EnginePlan(wait=wait)  # type: ignore[arg-type]
    plan = Plan(models=(ModelPlan(name="null", model="null", backend="null"),), engine=engine)
    load = Workload(load=Paced(fps=fps), scope="model", stop=Stop(seconds=seconds), warmup=Warmup(seconds_max=0.2))
    r = measure(plan, load).measured().requests
    return np.asarray(r["captured"] - np.maximum(r["due"], r["available"]), dtype=np.float64)


def main() -> None:
    """Measure and print."""
    args = options(__doc__ or "", seconds=20)
    rows, figures = [], {}
    for fps in (30, 120):
        for wait in ("hybrid", "sleep"):
            late = error(fps, args.seconds if wait == "hybrid" else args.seconds / 4, wait)
            p50, p99 = np.percentile(late, [50, 99]) / 1000
            ours = wait == "hybrid"
            figures[f"{wait}_{fps}"] = {"p50_us": p50, "p99_us": p99, "requests": len(late)}
            rows.append(_row(f"{fps} fps, {wait}, median", p50, 50 if ours else None))
            rows.append(_row(f"{fps} fps, {wait}, p99", p99, 500 if ours else None))
    show("pacer", args, rows, figures=figures)


def _row(what: str, us: float, goal: float | None) -> dict[str, object]:
    if goal is None:
        return {"what": what, "got": f"{us:.1f} us"}
    return {"what": what, "got": f"{us:.1f} us", "goal": f"<= {goal:g} us", "met": bool(us <= goal)}


if __name__ == "__main__":
    main()
