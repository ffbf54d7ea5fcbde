"""What framepace itself costs: the null backend in a closed loop, and a real model against a bare ONNX Runtime loop.

The bare loop and framepace run in turn (A B B A ...), so that drift of the machine falls on both. Other programs take
cores away, which the CPU time of the thread does not count: on a machine that is shared it says more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from common import options, show

from framepace.analyze.stats import paired_ratio
from framepace.backends.onnxruntime.backend import load_session
from framepace.clock.system import SystemClock
from framepace.engine.engine import Engine
from framepace.explaining.metrics import Samples
from framepace.facts.plan import Batching, ModelPlan, Plan
from framepace.facts.trace import Trace
from framepace.facts.workload import Closed, Stop, Warmup, Workload
from framepace.measure.session import measure
from framepace.models.spec import inspect, resolve

NULL = Plan(models=(ModelPlan(name="null", model="null", backend="null"),))
# Two items of the many-kernel net take about a millisecond on one core.
MODEL = ModelPlan(name="model", model="builtin:manykernels", threads=1, spinning=False, batch=Batching(max=2))
QUICK = Warmup(seconds_max=0.3)


def null_cost(seconds: float) -> Samples:
    """Wall time per request of the null backend, ns: from one delivery to the next."""
    load = Workload(load=Closed(), scope="model", stop=Stop(seconds=seconds), warmup=QUICK)
    return np.diff(measure(NULL, load).measured().requests["delivered"])


def bare(
    session: object, feed: dict[str, Any], names: list[str], count: int, now: Callable[[], int] = time.perf_counter_ns
) -> Samples:
    """The loop that people write: run, and read the clock around it; ns."""
    run, times = session.run, []  # type: ignore[attr-defined]
    for _ in range(count):
        began = now()
        run(names, feed)
        times.append(now() - began)
    return np.array(times[count // 5 :], dtype=np.float64)


def ours(engine: Engine, count: int) -> Trace:
    """The same model through framepace."""
    load = Workload(load=Closed(), scope="model", stop=Stop(count=count), warmup=QUICK)
    return measure(engine.plan, load, engine=engine)


def main() -> None:
    """Measure and print."""
    args = options(__doc__ or "", pairs=10, count=300)
    null = null_cost(2.0)
    plan, clock = Plan(models=(MODEL,)), SystemClock()
    engine, spec = Engine(plan, clock), inspect(MODEL.model)
    session = load_session(MODEL.model, MODEL, spec, [("CPUExecutionProvider", {})])
    feed = {n: np.random.default_rng(0).random(s, np.float32) for n, s in resolve(spec, MODEL).shapes.items()}
    sides: dict[str, list[Samples]] = {"bare": [], "infer": [], "period": [], "bare cpu": [], "cpu": []}
    names = [tensor.name for tensor in spec.outputs]
    for pair in range(args.pairs):
        for side in ("bare", "ours") if pair % 2 == 0 else ("ours", "bare"):
            if side == "bare":
                sides["bare"].append(bare(session, feed, names, args.count))
                sides["bare cpu"].append(bare(session, feed, names, args.count, time.thread_time_ns))
            else:
                r = ours(engine, args.count).measured().requests
                sides["infer"].append((r["finished"] - r["started"]).astype(np.float64))
                sides["cpu"].append(r["cpu"].astype(np.float64))
                sides["period"].append(np.diff(np.unique(r["delivered"])).astype(np.float64))
    infer, period = (paired_ratio(sides["bare"], sides[name]) for name in ("infer", "period"))
    cpu = paired_ratio(sides["bare cpu"], sides["cpu"])
    cost = float(np.median(null)) / 1000
    rows: list[dict[str, Any]] = [
        {"what": "null backend, a request (median)", "got": f"{cost:.1f} us", "goal": "<= 30 us", "met": cost <= 30},
        {"what": "bare ONNX Runtime loop (median)", "got": f"{np.median(sides['bare']) / 1e6:.3f} ms"},
        _row("inference seen by framepace / bare loop", infer.value, infer.low, infer.high, 0.03, both=True),
        _row("framepace's whole loop / bare loop", period.value, period.low, period.high, 0.03, both=False),
        _row("CPU time of framepace's loop / bare loop", cpu.value, cpu.low, cpu.high, 0.03, both=False),
    ]
    show("overhead", args, rows, null_us=cost, infer_ratio=infer.value, loop_ratio=period.value)


def _row(what: str, value: float, low: float | None, high: float | None, goal: float, both: bool) -> dict[str, Any]:
    met = abs(value - 1) <= goal if both else value - 1 <= goal
    interval = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
    return {"what": what, "got": f"{value:.3f}{interval}", "goal": f"within {goal:.0%}", "met": met}


if __name__ == "__main__":
    main()
