"""Doubles for tests of the engine: a worker whose durations and failures are scripted, and a run that collects rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from framepace.backends.base import Session, Tensors, Worker, get_backend
from framepace.clock.system import Clock, SystemClock
from framepace.engine.engine import Load
from framepace.engine.packedrows import Sink
from framepace.engine.step import Finish, Run, Step
from framepace.errors import BackendError
from framepace.facts.plan import ModelPlan
from framepace.facts.trace import REQUEST_COLUMNS, Column, table
from framepace.facts.workload import Stop, Warmup
from framepace.feeds.runstate import RunState
from framepace.measure.stoprules import Enough, Steady
from framepace.video.frame import Frame

MS = 1_000_000


def watched(made: Callable[[Worker], None], clock: Clock | None = None) -> Load:
    """What loads models for an engine, as their backends do, and calls `made` with every worker they make."""

    def load(model: ModelPlan) -> Session:
        session = get_backend(model.backend).load(model, clock or SystemClock())
        make = session.worker

        def worker(index: int = 0) -> Worker:
            worker = make(index)
            made(worker)
            return worker

        session.worker = worker  # type: ignore[method-assign]
        return session

    return load


class ScriptedWorker(Worker):
    """Takes `durations[i]` ns for inference i (the last one for the rest), fails where the duration is negative."""

    def __init__(self, clock: Clock, durations: Sequence[int], output: float = 1.0) -> None:
        self._clock, self._durations, self._runs, self._output = clock, durations, 0, output
        self._input = {"x": np.zeros((8, 1), np.float32)}
        self.seen: list[float] = []
        self.counts: list[int] = []

    def staging(self, slot: int) -> Tensors:
        """One input 'x' of shape (8, 1)."""
        return self._input

    def enqueue(self, slot: int, count: int) -> None:
        """Spin for the scripted time."""
        duration = self._durations[min(self._runs, len(self._durations) - 1)]
        self._runs += 1
        self.counts.append(count)
        self.seen.extend(self._input["x"][:count, 0].tolist())
        if duration < 0:
            raise BackendError("scripted failure")
        self._clock.spin_until(self._clock.now() + duration)

    def wait(self, slot: int) -> Tensors:
        """One output 'y' of shape (8, 1)."""
        return {"y": np.full((8, 1), self._output, np.float32)}


def step(worker: Worker, *, index: int = 0, batch: int = 1, clock: Clock | None = None, prepare_ns: int = 0) -> Step:
    """A step whose preparation copies the picture's number and takes `prepare_ns`."""

    def prepare(frame: Frame, inputs: Tensors, place: int) -> None:
        if clock is not None:
            clock.spin_until(clock.now() + prepare_ns)
        inputs["x"][place, 0] = frame.picture

    return Step(index, f"model-{index}", worker, batch, prepare)


def run_of(state: RunState, sink: Sink, finish: Finish | None = None) -> Run:
    """A run of whole frames."""
    return Run("pipeline", state, sink, finish=finish)


class Rows:
    """A sink that gives its rows back as columns."""

    def __init__(self) -> None:
        self.packed: list[bytes] = []

    def __call__(self, row: bytes) -> None:
        """Keep the row."""
        self.packed.append(row)

    @property
    def columns(self) -> dict[str, Column]:
        """The rows so far."""
        rows = np.frombuffer(b"".join(self.packed), np.int64).reshape(-1, len(REQUEST_COLUMNS))
        return table(REQUEST_COLUMNS, rows)


def run_state(count: int, warmup: float = 0.0) -> RunState:
    """A state that ends after `count` frames (one more while warm-up is zero seconds long)."""
    return RunState(SystemClock(), Steady(Warmup(seconds_max=warmup)), Enough(Stop(count=count)))
