"""Plans, sources and sinks for tests of runs, and whether every picture is accounted for."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from framepace.clock.system import SystemClock
from framepace.facts.plan import EnginePlan, ModelPlan, Plan, Target
from framepace.facts.running import Result, RunStatus, SourceSpec
from framepace.sinks.base import ResultSink
from framepace.sinks.callback import Function
from framepace.sinks.queued import QueuedSink

CLOCK = SystemClock()


def plan(backend: str = "null", workers: int = 1, **fields: Any) -> Plan:
    """A classifier that computes nothing."""
    model = ModelPlan(name="m", model="builtin:classifier", backend=backend)
    return Plan(models=(model,), engine=EnginePlan(workers=workers), target=Target(fps=30), **fields)


class Collected:
    """The results of a run, by source."""

    def __init__(self) -> None:
        self.results: dict[str, list[Result]] = defaultdict(list)

    def __call__(self, result: Result) -> None:
        """Keep one."""
        self.results[result.source].append(result)

    def numbers(self, source: str) -> list[int]:
        """Which frames of a source came out, in which order."""
        return [result.number for result in self.results[source]]


def sink(take: Any) -> QueuedSink:
    """A function, or a sink, behind a queue with room for all results."""
    if not isinstance(take, ResultSink):
        take = Function(take)
    return QueuedSink(take, CLOCK, capacity=100_000)


def assert_accounted(status: RunStatus) -> None:
    """Every picture is in exactly one count, and none waits."""
    for source in status.sources:
        ended = source.delivered + source.skipped + source.failed + sum(source.dropped.values())
        assert source.taken == ended
        assert source.waiting == 0


def free(name: str, path: str, **fields: Any) -> SourceSpec:
    """A file that is read as fast as it is inferred."""
    return SourceSpec(name=name, address=path, pace="free", **fields)
