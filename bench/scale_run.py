"""A run over places of a cluster: how fast sources are placed, what the death of engines costs, and what a result.

    python bench/scale_run.py [--cameras 200] [--places 8] [--seconds 300]

Without computation, on places of this machine: one engine is killed every 10 s. Needs the extra 'ray'.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import options, show
from run import plan, video

from framepace.clock.system import SystemClock
from framepace.cluster import Cluster, connect
from framepace.facts.answers import Detections
from framepace.facts.running import Result, RunStatus, SourceSpec
from framepace.fleet.ledger import Ledger
from framepace.fleet.messages import Orders, Reply
from framepace.fleet.onray import fleet_run
from framepace.fleet.outbox import Outbox
from framepace.fleet.placing import Capacity, Load, place, predicted
from framepace.fleet.run import FleetRun
from framepace.progress import silent
from framepace.running.options import Options
from framepace.sinks.callback import Function
from framepace.sinks.queued import QueuedSink

Row = dict[str, Any]
_FPS = 5
_KILL_EVERY_S = 10.0
_SETTLING_S = 5.0
_BATCH = 64
_BATCHES = 200
_NAMES = tuple(f"class {number}" for number in range(80))


def run_rows(cameras: int, places: int, seconds: int) -> Iterator[Row]:
    """The rows of the table, as they come; engines are killed for `seconds`."""
    yield _placed_on_paper()
    with tempfile.TemporaryDirectory() as folder:
        path = video(Path(folder) / "tiny.mp4", (32, 32), fps=_FPS)
        with connect(f"local:{places}") as cluster:
            yield _overhead(cluster)
            yield from _Trial(cluster, path, cameras).rows(seconds)


def _placed_on_paper() -> Row:
    """10,000 cameras of four rates over 1,000 places of two kinds."""
    loads = {f"camera-{number}": Load(5.0 + number % 4 * 8, 1e6 * (1 + number % 5)) for number in range(10_000)}
    capacities = {f"place-{number}": Capacity(200.0 + 200 * (number % 2), 1e8) for number in range(1_000)}
    began = time.perf_counter()
    found = place(loads, capacities)
    took = time.perf_counter() - began
    fullest = max(asked.share for asked in predicted(loads, capacities, found).values())
    text = f"{took:.2f} s"
    return {"what": f"10,000 cameras over 1,000 places on paper (fullest {fullest:.0%})", "got": text}


class Flood:
    """An engine that always has results: boxes of a detector."""

    def __init__(self) -> None:
        self._outbox = Outbox()
        self._number = 0

    def exchange(self, orders: Orders) -> Reply:
        """The next batch."""
        first, _ = self._outbox.take(orders.acknowledged)
        for _ in range(_BATCH):
            self._outbox.put(_result(self._number))
            self._number += 1
        first, results = self._outbox.take(orders.acknowledged)
        return Reply(first, results)


def _result(number: int) -> Result:
    rng = np.random.default_rng(number % 7)
    found = Detections(
        boxes=rng.random((10, 4), np.float32),
        scores=rng.random(10, np.float32),
        labels=rng.integers(0, 80, 10),
        names=_NAMES,
    )
    return Result(source="door", number=number, time=0.0, age_ms=20.0, late=False, answers={"detector": found})


def _overhead(cluster: Cluster) -> Row:
    """Time per result from the engine's sink to that of the run, both processes one after the other."""
    actor = cluster.actor(cluster.places[0], Flood)
    actor.call("exchange", Orders(0))
    ledger = Ledger()
    ledger.note(SourceSpec(name="door", address="synthetic"))
    ledger.open("door", "engine")
    sink = QueuedSink(Function(lambda result: None), SystemClock(), capacity=100_000)
    sink.start()
    arrived = 0
    began = time.perf_counter()
    for _ in range(_BATCHES):
        reply: Reply = actor.call("exchange", Orders(arrived))
        for result in reply.results:
            if ledger.take("engine", result):
                sink.put(result)
        arrived = reply.first + len(reply.results)
    took = time.perf_counter() - began
    sink.close()
    actor.end()
    cost = took / (_BATCHES * _BATCH) * 1e6
    text = f"a result of 10 boxes, {_BATCH} per message: made, sent, counted, queued"
    return {"what": text, "got": f"{cost:.0f} us", "goal": "<= 200 us", "met": cost <= 200}


class Arrivals:
    """When the results of each source came, and which."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = defaultdict(list)
        self.numbers: dict[str, list[int]] = defaultdict(list)
        self._changed = threading.Condition()

    def __call__(self, result: Result) -> None:
        """Note one."""
        with self._changed:
            self.times[result.source].append(time.monotonic())
            self.numbers[result.source].append(result.number)
            self._changed.notify_all()

    def wait_for(self, sources: list[str], limit_s: float = 60.0) -> None:
        """Until each has a result."""
        with self._changed:
            self._changed.wait_for(lambda: all(self.times[name] for name in sources), limit_s)

    def first_after(self, name: str, at: float) -> float:
        """How long after a moment the next result of a source came."""
        return next((time_s - at for time_s in self.times[name] if time_s > at), float("inf"))

    def longest_gap(self, name: str, since: float, until: float) -> float:
        """The longest time without a result of a source."""
        times = [since, *(time_s for time_s in self.times[name] if since < time_s < until), until]
        return max(np.diff(times))


class _Trial:
    """One run: sources are placed, and engines die."""

    def __init__(self, cluster: Cluster, path: str, cameras: int) -> None:
        self._arrivals = Arrivals()
        self._names = [f"camera-{number}" for number in range(cameras)]
        self._path = path
        sink = QueuedSink(Function(self._arrivals), SystemClock(), capacity=1_000_000)
        self._run: FleetRun = fleet_run(plan(constant=True), [], [sink], Options(stays=True), cluster, silent)
        self._kills: list[tuple[float, str, set[str]]] = []

    def rows(self, seconds: int) -> Iterator[Row]:
        """The rows of this trial."""
        began = time.perf_counter()
        self._run.start()
        engines = len(self._run.status().engines)
        yield {"what": f"{engines} engines started and measured", "got": f"{time.perf_counter() - began:.1f} s"}
        yield from self._place()
        time.sleep(_SETTLING_S)
        self._kill_for(seconds)
        status = self._ended()
        yield from self._recovered()
        yield self._disturbed()
        yield from _accounted(status, self._arrivals)

    def _place(self) -> Iterator[Row]:
        began = time.monotonic()
        for name in self._names:
            self._run.add(SourceSpec(name=name, address=self._path, loop=True))
        while any(source.engine is None for source in self._run.status().sources):
            time.sleep(0.02)
        placed = time.monotonic() - began
        self._arrivals.wait_for(self._names)
        live = time.monotonic() - began
        what = f"{len(self._names)} cameras added and placed on {len(self._run.status().engines)} engines"
        yield {"what": what, "got": f"{placed:.2f} s", "goal": "<= 5 s", "met": placed <= 5}
        yield {"what": "  until every one of them had a result", "got": f"{live:.2f} s"}

    def _kill_for(self, seconds: int) -> None:
        end = time.monotonic() + seconds
        number = 0
        while time.monotonic() < end:
            live = [engine.name for engine in self._run.status().engines if engine.state == "live"]
            victim = live[number % len(live)]
            number += 1
            orphans = {source.name for source in self._run.status().sources if source.engine == victim}
            self._kills.append((time.monotonic(), victim, orphans))
            self._run.kill(victim)
            time.sleep(_KILL_EVERY_S)

    def _ended(self) -> RunStatus:
        self._run.stop()
        return self._run.wait(60)

    def _recovered(self) -> Iterator[Row]:
        """The time from a kill to the next result of the last of its sources."""
        times = [
            max((self._arrivals.first_after(name, at) for name in orphans), default=0.0)
            for at, _, orphans in self._kills
        ]
        count = sum(len(orphans) for _, _, orphans in self._kills)
        what = f"{len(self._kills)} engines killed, {count} sources moved: recovery, longest"
        yield {"what": what, "got": f"{max(times):.2f} s", "goal": "<= 3 s", "met": max(times) <= 3}
        within = sum(time_s <= 3 for time_s in times)
        yield {"what": f"  recovery, median; within 3 s {within} of {len(times)}", "got": f"{np.median(times):.2f} s"}

    def _disturbed(self) -> Row:
        """The longest gap of sources of other engines in the 3 s after a kill, beside the 3 s before it."""
        before = []
        after = []
        for at, _, orphans in self._kills[1:]:
            others = [name for name in self._names if name not in orphans]
            before += [self._arrivals.longest_gap(name, at - 3, at) for name in others]
            after += [self._arrivals.longest_gap(name, at, at + 3) for name in others]
        if not before:
            return {"what": "the others: not measured", "got": "one kill"}
        quantiles = [float(np.quantile(gaps, 0.99)) for gaps in (before, after)]
        ratio = quantiles[1] / quantiles[0]
        what = f"the others: longest gap, p99, in the 3 s before a kill {quantiles[0]:.2f} s, after it"
        return {"what": what, "got": f"{quantiles[1]:.2f} s ({ratio:.2f})"}


def _accounted(status: RunStatus, arrivals: Arrivals) -> Iterator[Row]:
    doubled = sum(len(numbers) - len(set(numbers)) for numbers in arrivals.numbers.values())
    disordered = sum(numbers != sorted(numbers) for numbers in arrivals.numbers.values())
    counted = sum(source.delivered + source.failed for source in status.sources)
    came = sum(map(len, arrivals.numbers.values()))
    missing = sum(
        source.taken - source.delivered - source.failed - source.skipped - sum(source.dropped.values())
        for source in status.sources
    )
    lost = sum(source.dropped.get("engine lost", 0) for source in status.sources)
    yield {"what": "results that arrived twice", "got": str(doubled), "goal": "0", "met": doubled == 0}
    yield {"what": "sources out of order", "got": str(disordered), "goal": "0", "met": disordered == 0}
    yield {
        "what": f"results counted that never came, of {came:,}", "got": str(counted - came), "goal": "0",
        "met": counted == came,
    }  # fmt: skip
    yield {"what": "pictures without an account", "got": str(missing), "goal": "0", "met": missing == 0}
    yield {"what": f"pictures lost with their engines, of {sum(s.taken for s in status.sources):,}", "got": str(lost)}


def told(rows: Iterator[Row]) -> list[Row]:
    """The rows, each said on standard error when it comes."""
    kept = []
    for row in rows:
        print(f"{row['what']}: {row['got']}", file=sys.stderr, flush=True)
        kept.append(row)
    return kept


if __name__ == "__main__":
    args = options(__doc__ or "", cameras=200, places=8, seconds=300)
    show("scale: run", args, told(run_rows(args.cameras, args.places, args.seconds)))
