"""Batching: fixed windows against deadlines. Cameras out of phase at 30 fps; how many are carried with p99 in budget.

On the simulated device in virtual time, with one worker and several; then a model on this machine's CPU in real time,
the policies in turn (A B B A ...). Both get the same cameras, in the order in which their frames are due.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
from common import options, show

from framepace.clock.system import Clock, SystemClock
from framepace.clock.virtual import VirtualClock
from framepace.engine.engine import Engine
from framepace.facts.plan import Batching, EnginePlan, ModelPlan, Plan
from framepace.facts.trace import REQUEST_COLUMNS, Mark, table
from framepace.facts.workload import Paced, Stop, Warmup
from framepace.feeds.arrivals import Interleaved
from framepace.feeds.batchrules import BatchRule, DeadlineRule
from framepace.feeds.deadline import DeadlineBatcher, DeadlineFeed
from framepace.feeds.feed import Feed
from framepace.feeds.inline import InlineFeed
from framepace.feeds.pacer import Pacer
from framepace.feeds.runstate import RunState
from framepace.measure.load import Open
from framepace.measure.stoprules import Enough, Steady
from framepace.units import NS_PER_MS, NS_PER_S

FPS, BUDGET_MS, MOST = 30.0, 1000 / 30, 96
IDEAL: dict[str, Any] = {"device": "ideal", "kernels": 1, "gflops": 0.001, "mbytes": 0, "weights_mb": 0, "jitter": 0.03}
# Bandwidth-bound, 4 ms and 0.5 ms per image; a network that leaves most of the device free; steps of eight images.
AFFINE = {**IDEAL, "weights_mb": 3200, "mbytes": 400, "dram_gb_s": 1000, "dram_efficiency": 0.8}
SMALL = {**IDEAL, "gflops": 1.0, "blocks": 5, "efficiency": 0.1}
STEPS = {**IDEAL, "gflops": 4.0, "blocks": 12.5, "efficiency": 0.5}
RESNET = {"device": "t4", "load_share": 0}
POLICIES: Mapping[str, tuple[str, float]] = {
    **{f"window {ms} ms": ("window", float(ms)) for ms in (0, 5, 10, 20)},
    "deadline": ("deadline", 0.0),
}


@dataclass(frozen=True)
class Setup:
    """A model on its device and what runs it."""

    name: str
    model: ModelPlan
    workers: int
    step: int = 1

    def plan(self) -> Plan:
        """One plan; the policy is the feed's."""
        return Plan(models=(self.model,), engine=EnginePlan(workers=self.workers, wait="hybrid"))


def simulated(name: str, given: Mapping[str, Any], workers: int, slots: int = 1, step: int = 1, **more: Any) -> Setup:
    """A setup on the simulated device, inputs resident."""
    model = ModelPlan(**{"name": "m", "model": "null", **more}, backend="simulated", options=dict(given), slots=slots,
                      transfer="device", batch=Batching(max=32))  # fmt: skip
    return Setup(f"{name}, {workers} worker{'s' if workers > 1 else ''} of {slots}", model, workers, step)


SETUPS = (
    simulated("4 ms + 0.5 ms per image", AFFINE, 1),
    simulated("4 ms + 0.5 ms per image", AFFINE, 4),
    simulated("resnet50 on a T4", RESNET, 1, 2, model="builtin:resnet50"),
    simulated("resnet50 on a T4", RESNET, 4, model="builtin:resnet50"),
    simulated("2 ms, a device hardly filled", SMALL, 4),
    simulated("steps of 8 images", STEPS, 2, step=8),
)


def run(
    setup: Setup, cameras: int, policy: tuple[str, float], seed: int, seconds: float, clock: Clock,
    sizes: tuple[int, ...] = (), engine: Engine | None = None,
) -> dict[str, float]:  # fmt: skip
    """One measurement past two seconds of warm-up: latencies in ms, misses, mean batch, frames/s, padding."""
    loaded = engine or Engine(setup.plan(), clock)
    state = RunState(clock, Steady(Warmup(seconds_max=2.0, window=10**6)), Enough(Stop(seconds=seconds)))
    rows: list[bytes] = []

    def begin() -> Feed:
        return _feed(setup, cameras, policy, seed, clock, state, sizes)

    loaded.run("model", begin, state, rows.append)
    if engine is None:
        loaded.close()
    return _figures(b"".join(rows), setup.step)


def _feed(
    setup: Setup, cameras: int, policy: tuple[str, float], seed: int, clock: Clock, state: RunState,
    sizes: tuple[int, ...],
) -> Feed:  # fmt: skip
    start, size = clock.now() + 20 * NS_PER_MS, setup.model.batch.max
    phases = np.sort(np.random.default_rng(seed).uniform(0, 1, cameras)) / FPS * NS_PER_S
    parts = [Open(Paced(fps=FPS), start + int(phase), seed) for phase in phases]
    pacer, sources = Pacer(setup.plan().engine, clock, state), [_Pictures() for _ in parts]
    kind, window = policy
    if kind == "window":
        return InlineFeed(sources, Interleaved(parts), BatchRule(size, round(window * NS_PER_MS)), pacer)
    state.batches = batcher = DeadlineBatcher(DeadlineRule(size, round(BUDGET_MS * NS_PER_MS), sizes))
    return DeadlineFeed(sources, parts, batcher, pacer)


class _Pictures:
    """The scope 'model' does not look at its pictures."""

    live = False

    def __init__(self) -> None:
        self.read = cycle([()]).__next__


def _figures(packed: bytes, step: int) -> dict[str, float]:
    r = table(REQUEST_COLUMNS, np.frombuffer(packed, np.int64).reshape(-1, len(REQUEST_COLUMNS)))
    keep = (r["marks"] & Mark.WARMUP) == 0
    latency = (r["delivered"] - r["due"])[keep] / NS_PER_MS
    _, first = np.unique(r["batch_id"][keep], return_index=True)
    sizes = r["batch_size"][keep][first]
    span = (r["delivered"][keep].max() - r["due"][keep].min()) / NS_PER_S
    return {
        "p50_ms": float(np.quantile(latency, 0.5)),
        "p99_ms": float(np.quantile(latency, 0.99)),
        "missed": float((latency > BUDGET_MS).mean()),
        "batch": float(sizes.mean()),
        "frames_per_s": len(latency) / span,
        "padding": 1 - float(sizes.sum() / (-(-sizes // step) * step).sum()),
    }


def carried(setup: Setup, policy: tuple[str, float], seeds: list[int], seconds: float) -> int:
    """The most cameras with p99 within the budget for every seed, by bisection."""
    low, high = 0, MOST
    while low < high:
        middle = (low + high + 1) // 2
        runs = (run(setup, middle, policy, seed, seconds, VirtualClock()) for seed in seeds)
        low, high = (middle, high) if all(r["p99_ms"] <= BUDGET_MS for r in runs) else (low, middle - 1)
    return low


def virtual(seed: int, seconds: float) -> list[dict[str, Any]]:
    """Every setup under every policy: cameras carried, and what happens at nine tenths of the most that any carries."""
    rows = []
    for setup in SETUPS:
        seeds = [seed * 100 + i for i in range(3)]
        most = {name: carried(setup, policy, seeds, seconds) for name, policy in POLICIES.items()}
        load = max(1, round(0.9 * max(most.values())))
        rows += [_row(setup, name, load, seeds[0], seconds, most[name]) for name in POLICIES]
        if setup.step > 1:
            preferred = tuple(range(setup.step, setup.model.batch.max + 1, setup.step))
            rows.append(_row(setup, "deadline", load, seeds[0], seconds, None, preferred))
    return rows


def _row(
    setup: Setup, name: str, cameras: int, seed: int, seconds: float, most: int | None, sizes: tuple[int, ...] = ()
) -> dict[str, Any]:
    got = run(setup, cameras, POLICIES[name], seed, seconds, VirtualClock(), sizes)
    what = f"{name}, sizes {'+'.join(map(str, sizes))}" if sizes else name
    return {"setup": setup.name, "what": what, "carried": most, "cameras": cameras, **got}


def real(seed: int, seconds: float, pairs: int, cameras: int) -> list[dict[str, Any]]:
    """A model of many small kernels on the CPU, two workers: each policy's median over interleaved runs."""
    model = ModelPlan(name="m", model="builtin:manykernels", threads=1, spinning=False, batch=Batching(max=16))
    setup, clock = Setup("manykernels on this CPU, 2 workers of 1", model, 2), SystemClock()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in POLICIES}
    engine = Engine(setup.plan(), clock)
    for pair in range(pairs):
        for name in list(POLICIES) if pair % 2 == 0 else reversed(list(POLICIES)):
            found[name].append(run(setup, cameras, POLICIES[name], seed + pair, seconds, clock, engine=engine))
    engine.close()
    medians = {n: {key: float(np.median([r[key] for r in runs])) for key in runs[0]} for n, runs in found.items()}
    return [{"setup": setup.name, "what": n, "carried": None, "cameras": cameras, **m} for n, m in medians.items()]


def _text(row: Mapping[str, Any]) -> dict[str, Any]:
    carries = "" if row["carried"] is None else f"{row['carried']} cameras"
    got = f"p50 {row['p50_ms']:6.2f}  p99 {row['p99_ms']:6.2f} ms  missed {row['missed']:6.1%}"
    more = f"batch {row['batch']:5.2f}  {row['frames_per_s']:6.1f} frames/s  padding {row['padding']:4.0%}"
    what = f"{row['setup']}; {row['what']} (at {row['cameras']})"
    return {"what": what, "got": f"{carries:>11}  {got}  {more}"}


def main() -> None:
    """Measure and print."""
    args = options(__doc__ or "", seconds=6, pairs=4, real_cameras=24)
    rows = virtual(args.seed, args.seconds)
    if args.pairs:
        rows += real(args.seed, args.seconds, args.pairs, args.real_cameras)
    show("batching", args, rows if args.json else [_text(row) for row in rows])


if __name__ == "__main__":
    main()
