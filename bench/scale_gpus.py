"""Cameras of one GPU and of two, paired, and of an engine that dies: `framepace run --ray local`, by its library.

    python bench/scale_gpus.py --export retinanet.onnx         once, anywhere: torch and torchvision
    python bench/scale_gpus.py --network retinanet.onnx        on a host with two GPUs: four minutes at most
    python bench/scale_gpus.py --dry-run                       anywhere: the null backend on two shares of the cores

An engine per GPU, H.264 files of 640x360 as cameras in real time (5 frames/s, so that a camera is about a per cent of
what a GPU carries), a detector in FP16. A number of cameras is carried when 99 % of the results were at the sinks of
the run within 100 ms after their pictures, and 99 % of the pictures have one. One GPU and both are searched in turn,
and what was found is measured again, A B B A. Then an engine is killed under as many cameras as the other carries
alone. Rows go to --rows as they come; the table is last.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from scale_gpus_network import SIZE, export

from framepace.clock.system import SystemClock
from framepace.cluster import connect
from framepace.facts.batching import Batching
from framepace.facts.plan import EnginePlan, ModelPlan, Plan, Target
from framepace.facts.prepare import Prepare
from framepace.facts.running import Result, RunStatus, SourceSpec
from framepace.fleet.onray import fleet_run
from framepace.fleet.run import FleetRun
from framepace.recording.machine import probe
from framepace.reporting.views.machine import machine_line
from framepace.running.options import Options
from framepace.sinks.callback import Function
from framepace.sinks.queued import QueuedSink

Row = dict[str, Any]
FPS = 5
LIMIT_MS = 100.0
DELIVERED = 0.99  # of the pictures that were due
GOAL = 1.9
_EXACT = 0.02  # share of a number of cameras up to which it is looked for
_SETTLING_S = 2.0
_WINDOW_S = 3.0
_CONFIRMED_S = 5.0
_KILLED_S = 12.0
_RECOVERED_S = 5.0
_MOST = 600


@dataclass(frozen=True)
class Step:
    """How a number of cameras was carried."""

    gpus: int
    cameras: int
    p99_ms: float
    engine_p99_ms: float
    share: float  # of the pictures that were due which have a result

    @property
    def holds(self) -> bool:
        """Whether it is carried."""
        return self.p99_ms <= LIMIT_MS and self.share >= DELIVERED


class Arrivals:
    """The results of the run: when each came, how old it was then, and how old when its engine had it."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, float, float]] = []
        self.times: dict[str, list[float]] = defaultdict(list)
        self.numbers: dict[str, list[int]] = defaultdict(list)
        self._lock = threading.Lock()

    def __call__(self, result: Result) -> None:
        """Note one."""
        now = time.monotonic()
        with self._lock:
            self.rows.append((now, 1000 * (time.time() - result.time), result.age_ms))
            self.times[result.source].append(now)
            self.numbers[result.source].append(result.number)

    def between(self, since: float, until: float) -> np.ndarray[Any, Any]:
        """Ages (ms) at the sinks and at the engines, [results, 2]."""
        with self._lock:
            rows = [row for row in self.rows[-400_000:] if since <= row[0] < until]
        return np.array([row[1:] for row in rows]).reshape(-1, 2)


class Trial:
    """One run with all its engines, whose cameras come and go.

    Args:
        paths: files that cameras take in turn.
        limit_s: for everything.
    """

    def __init__(self, run: FleetRun, arrivals: Arrivals, paths: list[str], limit_s: float) -> None:
        self._run = run
        self._arrivals = arrivals
        self._paths = paths
        self._until = time.monotonic() + limit_s
        self._count = 0
        self.names = [engine.name for engine in run.status().engines if engine.state == "live"]

    @property
    def left_s(self) -> float:
        """Time that is left."""
        return self._until - time.monotonic()

    def guess(self) -> int:
        """What one engine was predicted to carry."""
        capacity = max(engine.capacity or FPS for engine in self._run.status().engines)
        return int(min(_MOST, max(2, capacity / FPS)))

    def step(self, gpus: int, cameras: int, window_s: float = _WINDOW_S) -> Step:
        """So many cameras on one GPU or on all."""
        self._set(gpus, cameras)
        time.sleep(_SETTLING_S)
        since = time.monotonic()
        time.sleep(window_s)
        ages = self._arrivals.between(since, time.monotonic())
        share = len(ages) / (cameras * FPS * window_s)
        at_sinks, at_engines = np.quantile(ages, 0.99, axis=0) if len(ages) else (np.inf, np.inf)
        return Step(gpus, cameras, round(float(at_sinks), 1), round(float(at_engines), 1), round(share, 4))

    def _set(self, gpus: int, cameras: int) -> None:
        self._run.restrict(self.names[:gpus])
        for number in range(cameras, self._count):
            self._run.remove(f"camera-{number}")
        for number in range(self._count, cameras):
            path = self._paths[number % len(self._paths)]
            self._run.add(SourceSpec(name=f"camera-{number}", address=path, loop=True))
        self._count = cameras

    def searched(self, first: int) -> Iterator[Step]:
        """Steps of one GPU and both in turn, until both are known or the time is needed for the rest."""
        searches = {1: Search(first), len(self.names): Search(first * len(self.names))}
        while self.left_s > 4 * (_SETTLING_S + _CONFIRMED_S) + _KILLED_S + 10:
            wanted = {gpus: count for gpus, search in searches.items() if (count := search.next()) is not None}
            if not wanted:
                return
            for gpus, count in wanted.items():
                step = self.step(gpus, count)
                searches[gpus].note(step)
                yield step

    def killed(self, cameras: int) -> Iterator[Row]:
        """An engine dies under cameras that the other carries alone."""
        self._set(len(self.names), cameras)
        time.sleep(2 * _SETTLING_S)
        victim = self.names[-1]
        orphans = [source.name for source in self._run.status().sources if source.engine == victim]
        at = time.monotonic()
        self._run.kill(victim)
        engines: set[str | None] = {None}
        while time.monotonic() < at + _RECOVERED_S and engines & {None, victim}:
            engines = {source.engine for source in self._run.status().sources if source.name in orphans}
        time.sleep(_KILLED_S)
        times = [next((t - at for t in self._arrivals.times[name] if t > at), np.inf) for name in orphans]
        longest = round(float(max(times, default=np.inf)), 2)
        yield {
            "what": f"{victim} killed with {len(orphans)} of {cameras} cameras",
            "recovery_s": longest,
            "went_to": sorted(map(str, engines)),
        }
        self._run.stop()
        yield accounted(self._run.wait(60), self._arrivals)


class Search:
    """The largest number of cameras that is carried: from a guess outwards, then by halving. Pure."""

    def __init__(self, first: int) -> None:
        self.held = 0
        self.missed: int | None = None
        self._first = first

    def next(self) -> int | None:
        """The number to try next; None when it is known well enough."""
        if self.missed is None and not self.held:
            return self._first
        if self.missed is None:
            return None if self.held >= _MOST else min(_MOST, max(self.held + 1, round(self.held * 1.3)))
        if self.missed - self.held <= max(1, _EXACT * self.held):
            return None
        if not self.held:
            return max(1, round(self.missed * 0.7))
        return (self.held + self.missed) // 2

    def note(self, step: Step) -> None:
        """What a step showed; a number that holds after all takes back what missed below it."""
        if step.holds:
            self.held = max(self.held, step.cameras)
        elif self.missed is None or step.cameras < self.missed:
            self.missed = step.cameras


def accounted(status: RunStatus, arrivals: Arrivals) -> Row:
    """What became of all pictures of the run."""
    dropped: dict[str, int] = defaultdict(int)
    for source in status.sources:
        for cause, count in source.dropped.items():
            dropped[cause] += count
    taken = sum(source.taken for source in status.sources)
    others = sum(source.delivered + source.failed + source.skipped for source in status.sources)
    came = {name: len(numbers) for name, numbers in arrivals.numbers.items()}
    told = {source.name: source.delivered + source.failed for source in status.sources}
    return {
        "what": "accounts at the end",
        "taken": taken,
        "unaccounted": taken - others - sum(dropped.values()),
        "doubled": sum(len(numbers) - len(set(numbers)) for numbers in arrivals.numbers.values()),
        "counted_not_come": sum(abs(told[name] - came.get(name, 0)) for name in told),
        "dropped": dict(dropped),
    }


def videos(folder: Path, count: int) -> list[str]:
    """Files of ten seconds of moving pictures, each another."""
    return [_video(folder / f"camera-{number}.mp4", number) for number in range(count)]


def _video(path: Path, seed: int) -> str:
    rng = np.random.default_rng(seed)
    image = np.kron(rng.integers(0, 256, (SIZE[0] // 20, SIZE[1] // 20, 3), np.uint8), np.ones((20, 20, 1), np.uint8))
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=FPS)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        stream.options = {"preset": "veryfast", "g": "30", "bf": "2"}
        for step in range(10 * FPS):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(image, 3 * step, 1), format="rgb24")))
        container.mux(stream.encode())
    return str(path)


def plan_of(args: argparse.Namespace) -> Plan:
    """The detector in FP16 on a GPU, in batches as the budget allows; or nothing that computes."""
    target = Target(fps=FPS, p99_ms=LIMIT_MS)
    if args.dry_run:
        model = ModelPlan(
            name="null", model="builtin:classifier", backend="null", options={"latency_us": 10_000, "cpu": "sleep"}
        )
        return Plan(models=(model,), target=target)
    model = ModelPlan(
        name="retinanet",
        model=str(args.network),
        backend=args.backend,
        precision="fp16",
        device="cuda",
        batch=Batching(max=8, policy="deadline", sizes=(4,)),
        prepare=Prepare(place="graph"),
        options={"algorithms": "heuristic"} if args.backend == "onnxruntime" else {},  # or a search of a minute
    )
    return Plan(models=(model,), engine=EnginePlan(workers=args.workers), target=target)


class Rows:
    """Rows as they come: into a file, and on standard error."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.kept: list[Row] = []
        path.write_text("", encoding="utf-8")

    def add(self, row: Row) -> None:
        """Keep one."""
        self.kept.append(row)
        line = json.dumps(row)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
        print(line, file=sys.stderr, flush=True)


def _step_row(step: Step, what: str) -> Row:
    return {
        "what": what, "gpus": step.gpus, "cameras": step.cameras, "p99_ms": step.p99_ms,
        "engine_p99_ms": step.engine_p99_ms, "delivered": step.share, "holds": step.holds,
    }  # fmt: skip


def measure(trial: Trial, rows: Rows, first: int | None) -> None:
    """The search, the pairs, the kill."""
    gpus = len(trial.names)
    best = dict.fromkeys((1, gpus), 0)
    for step in trial.searched(first or trial.guess()):
        rows.add(_step_row(step, "search"))
        if step.holds:
            best[step.gpus] = max(best[step.gpus], step.cameras)
    for count in (1, gpus, gpus, 1):
        if best[count]:
            rows.add(_step_row(trial.step(count, best[count], _CONFIRMED_S), "again"))
    for row in trial.killed(max(2, round(0.85 * best[1]))):
        rows.add(row)
    ratio = round(best[gpus] / best[1], 3) if best[1] else None
    rows.add({"what": f"cameras of {gpus} engines against one", "ratio": ratio, "goal": GOAL, "counts": best})


def table(rows: list[Row]) -> str:
    """The rows as lines of columns."""
    return "\n".join("  ".join(f"{name}={value}" for name, value in row.items()) for row in rows)


def arguments() -> argparse.Namespace:
    """What was asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--export", type=Path, help="only write the network")
    parser.add_argument("--network", type=Path, default=Path("retinanet.onnx"))
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--first", type=int, help="cameras of one GPU to begin with; by default what is predicted")
    parser.add_argument("--limit", type=float, default=225.0, help="seconds for everything")
    parser.add_argument("--rows", type=Path, default=Path("scale_gpus.jsonl"))
    parser.add_argument("--dry-run", action="store_true", help="no GPU: two shares of the cores, nothing computed")
    return parser.parse_args()


def main() -> None:
    """Everything, or the export."""
    args = arguments()
    if args.export is not None:
        print(export(args.export, args.backbone))
        return
    began = time.monotonic()
    if not args.dry_run:
        export(args.network, args.backbone)
    rows = Rows(args.rows)
    rows.add({"what": machine_line(probe()), **probe().libraries})
    arrivals = Arrivals()
    sink = QueuedSink(Function(arrivals), SystemClock(), capacity=2_000_000)
    with tempfile.TemporaryDirectory() as folder, connect("local:2") as cluster:
        paths = videos(Path(folder), 8)
        plan = plan_of(args)
        run = fleet_run(
            plan, [], [sink], Options(stays=True), cluster, lambda text, share: print(text, file=sys.stderr)
        )
        run.start()
        for engine in run.status().engines:
            carried = None if engine.capacity is None else round(engine.capacity / FPS, 1)
            rows.add({"what": f"{engine.name} ({engine.place}) is {engine.state}", "predicted_cameras": carried})
        rows.add({"what": "ready", "seconds": round(time.monotonic() - began, 1)})
        try:
            measure(Trial(run, arrivals, paths, args.limit - (time.monotonic() - began)), rows, args.first)
        finally:
            run.stop()
            run.wait(60)
    rows.add({"what": "all of it", "seconds": round(time.monotonic() - began, 1)})
    print(table(rows.kept))


if __name__ == "__main__":
    main()
