"""What framepace itself costs: the null backend in a closed loop, with one worker and with several, and a real model
against a bare ONNX Runtime loop.

The bare loop and framepace run in turn (A B B A ...), so that drift of the machine falls on both. Other programs take
cores away, which the CPU time of the thread does not count: on a machine that is shared it says more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from common import options, show
from msgspec.structs import replace

from framepace.analyze.stats import paired_ratio
from framepace.backends.onnxruntime.backend import load_session
from framepace.clock.system import SystemClock
from framepace.engine.engine import Engine
from framepace.explaining.metrics import Samples
from framepace.facts.plan import EnginePlan, ModelPlan, Plan
from framepace.facts.summary import Estimate
from framepace.facts.trace import Trace
from framepace.facts.workload import Closed, Stop, Warmup, Workload
from framepace.measure.session import measure
from framepace.models.spec import inspect, resolve

Row = dict[str, Any]
NULL = Plan(models=(ModelPlan(name="null", model="null", backend="null"),))
# The first takes about a millisecond on a core, in many small kernels; the second several.
MODELS = ("builtin:manykernels", "builtin:classifier")
QUICK = Warmup(seconds_max=0.3)
_GOAL = 0.03
_GOAL_US = 30.0
_GOAL_WORKERS = 0.25
_SLOTS = 4


@dataclass
class Sides:
    """Blocks of the bare loop and of framepace's, one array per pair; ns."""

    bare: list[Samples] = field(default_factory=list)
    bare_cpu: list[Samples] = field(default_factory=list)
    inference: list[Samples] = field(default_factory=list)
    period: list[Samples] = field(default_factory=list)
    cpu: list[Samples] = field(default_factory=list)


def null_cost(seconds: float) -> Samples:
    """Wall time per request of the null backend, ns: from one delivery to the next."""
    load = Workload(load=Closed(), scope="model", stop=Stop(seconds=seconds), warmup=QUICK)
    return np.diff(measure(NULL, load).measured().requests["delivered"])


def workers_ratio(workers: int, pairs: int) -> Estimate:
    """Time per request with so many workers over that with one: what they wait for each other, as all is Python here.

    Blocks of both in turn, with four requests in flight per worker.
    """
    sides: tuple[list[Samples], list[Samples]] = ([], [])
    for pair in range(pairs):
        for side in (0, 1) if pair % 2 else (1, 0):
            sides[side].append(np.array([_per_request(workers if side else 1)]))
    return paired_ratio(*sides)


def _per_request(workers: int, seconds: float = 0.3) -> float:
    """ns, of all workers together."""
    model = replace(NULL.models[0], slots=_SLOTS)
    plan = Plan(models=(model,), engine=EnginePlan(workers=workers))
    load = Closed(concurrency=workers * _SLOTS)
    trace = measure(plan, Workload(load=load, scope="model", stop=Stop(seconds=seconds), warmup=QUICK))
    delivered = np.sort(trace.measured().requests["delivered"])
    return float(delivered[-1] - delivered[0]) / (len(delivered) - 1)


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


def compared(location: str, pairs: int, count: int) -> Sides:
    """Short blocks of both loops in turn: a machine that is shared changes its speed from second to second."""
    model = ModelPlan(name="model", model=location, threads=1, spinning=False)
    spec = inspect(location)
    engine = Engine(Plan(models=(model,)), SystemClock())
    session = load_session(location, model, spec, [("CPUExecutionProvider", {})])
    shapes = resolve(spec, model).shapes
    rng = np.random.default_rng(0)
    feed = {name: rng.random(shape, np.float32) for name, shape in shapes.items()}
    names = [tensor.name for tensor in spec.outputs]
    sides = Sides()
    for pair in range(pairs):
        if pair % 2:
            _add_ours(sides, engine, count)
            _add_bare(sides, session, feed, names, count)
        else:
            _add_bare(sides, session, feed, names, count)
            _add_ours(sides, engine, count)
    return sides


def _add_bare(sides: Sides, session: object, feed: dict[str, Any], names: list[str], count: int) -> None:
    sides.bare.append(bare(session, feed, names, count))
    sides.bare_cpu.append(bare(session, feed, names, count, time.thread_time_ns))


def _add_ours(sides: Sides, engine: Engine, count: int) -> None:
    rows = ours(engine, count).measured().requests
    sides.inference.append((rows["finished"] - rows["started"]).astype(np.float64))
    sides.cpu.append(rows["cpu"].astype(np.float64))
    sides.period.append(np.diff(np.unique(rows["delivered"])).astype(np.float64))


def main() -> None:
    """Measure and print."""
    args = options(__doc__ or "", pairs=60, count=30)
    null_us = float(np.median(null_cost(2.0))) / 1000
    goal = f"<= {_GOAL_US:g} us"
    rows: list[Row] = [{"what": "null backend", "got": f"{null_us:.1f} us", "goal": goal, "met": null_us <= _GOAL_US}]
    ratios: dict[str, float] = {}
    for workers in (2, 4):
        ratio = workers_ratio(workers, min(args.pairs, 10))
        ratios[f"{workers} workers"] = ratio.value
        rows.append(_row(f"{workers} workers, time per request / one worker's", ratio, _GOAL_WORKERS))
    for location in MODELS:
        sides = compared(location, args.pairs, args.count)
        rows.append({"what": f"{location}, bare loop (median)", "got": f"{np.median(sides.bare) / 1e6:.3f} ms"})
        for what, before, after in _ratios(sides):
            ratio = paired_ratio(before, after)
            ratios[f"{location}, {what}"] = ratio.value
            rows.append(_row(f"  {what} / bare loop", ratio))
    show("overhead", args, rows, null_us=null_us, ratios=ratios)


def _ratios(sides: Sides) -> tuple[tuple[str, list[Samples], list[Samples]], ...]:
    return (
        ("inference seen by framepace", sides.bare, sides.inference),
        ("framepace's whole loop", sides.bare, sides.period),
        ("CPU time of framepace's loop", sides.bare_cpu, sides.cpu),
    )


def _row(what: str, ratio: Estimate, goal: float = _GOAL) -> Row:
    interval = ""
    if ratio.low is not None and ratio.high is not None:
        interval = f" [{ratio.low:.3f}, {ratio.high:.3f}]"
    met = ratio.value - 1 <= goal
    return {"what": what, "got": f"{ratio.value:.3f}{interval}", "goal": f"within {goal:.0%}", "met": met}


if __name__ == "__main__":
    main()
