"""What a measurement runs: an engine of this process, or worker processes with engines of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Protocol

from framepace.clock.system import Clock
from framepace.engine.engine import Engine
from framepace.engine.packedrows import Sink
from framepace.errors import SourceError, UsageError
from framepace.facts.model import Layer
from framepace.facts.plan import Plan
from framepace.facts.strategy import strategy_of
from framepace.facts.workload import Workload
from framepace.feeds.feed import Feed
from framepace.feeds.runstate import RunState
from framepace.measure.frames import Frames
from framepace.measure.standstill import MORE_TIME
from framepace.measure.workerprocesses import WorkerProcesses
from framepace.progress import Tell
from framepace.recording.describing import Loaded as Described

Execute = Callable[[RunState, Sink], list[Exception]]
"""Runs to the end, which the state decides; returns the errors of failed requests and sources."""


class Loaded(Described, Protocol):
    """What a measurement asks of its models, whoever loaded them (see Engine)."""

    startup: dict[str, int]
    slowest: int

    @property
    def notes(self) -> tuple[str, ...]:
        """See Engine."""

    @property
    def gpus(self) -> dict[int, str]:
        """See Engine."""

    def telemetry(self) -> bytes:
        """See Engine."""

    def layers(self) -> dict[str, tuple[Layer, ...]]:
        """See Engine."""


@contextmanager
def opened(
    plan: Plan, workload: Workload, clock: Clock, frames: Frames, engine: Engine | None, tell: Tell
) -> Iterator[tuple[Loaded, Execute]]:
    """The models of `plan`, loaded, and what runs them; freed at the end.

    A loaded `engine` of the plan is used and left open. Where the strategy has engines in their own processes, no
    model is loaded here.
    """
    if strategy_of(plan.engine).spawns_engines:
        with closing(WorkerProcesses(plan, workload, clock, tell)) as processes:
            yield processes, partial(_run_there, processes, frames)
    elif engine is not None:
        yield engine, partial(_run_here, engine, plan, workload, frames)
    else:
        with closing(Engine(plan, clock, tell=tell)) as own_engine:
            yield own_engine, partial(_run_here, own_engine, plan, workload, frames)


def _run_here(
    engine: Engine, plan: Plan, workload: Workload, frames: Frames, state: RunState, sink: Sink
) -> list[Exception]:
    feeds: list[Feed] = []

    def begin() -> Feed:
        feeds.append(frames.feed(plan, workload, engine.clock, state, sink))
        state.look(engine.clock.now())
        return feeds[0]

    errors = engine.run(workload.scope, begin, state, sink, frames.sample)
    errors += [error for feed in feeds for error in feed.errors.values()]
    _check_measured(state, frames, errors)
    return errors


def _run_there(processes: WorkerProcesses, frames: Frames, state: RunState, sink: Sink) -> list[Exception]:
    errors = processes.run(state, sink)
    _check_measured(state, frames, errors)
    return errors


def _check_measured(state: RunState, frames: Frames, errors: list[Exception]) -> None:
    """Raises if the run ended before anything was measured: an empty trace is not a success."""
    if state.measured or state.stopped != "finished" or errors:
        return
    if frames.live:
        got = "; ".join(frames.notes) or ", ".join(frames.names)
        fix = "check that the camera sends, or measure longer"
        raise SourceError("no picture arrived during the measurement", got=got, expected="pictures", fix=fix)
    got = f"requests in warm-up: {state.deliveries}, after it: none"
    fix = f"{MORE_TIME}, or a higher rate (--fps)"
    raise UsageError("the run was over before a request was measured", got=got, fix=fix)
