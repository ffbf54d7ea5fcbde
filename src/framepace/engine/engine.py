"""The engine: a plan loaded and run. Workers pull batches from a feed and put them through the pipeline.

Measuring and serving both run this; they differ in the feed they bring and the sink that takes the rows.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from framepace.backends.base import Session, get_backend
from framepace.clock.system import Clock
from framepace.devices.cuda import lock_setup, ordinal
from framepace.engine.corekeeper import kept_awake, usable_cores
from framepace.engine.modelprocess import ModelProcesses
from framepace.engine.pipeline import Finish, Pipeline, Sink, Step
from framepace.engine.processstate import interpreter
from framepace.engine.steps import make_step
from framepace.engine.strategies import IN_PROCESS, Strategy, check
from framepace.engine.workerthreads import Seats
from framepace.facts.model import Layer, ModelSpec
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.strategy import strategy_of
from framepace.facts.workload import Scope
from framepace.feeds.feed import Feed
from framepace.feeds.runstate import RunState
from framepace.hooks import load_hook
from framepace.progress import Tell, silent


class Engine:
    """A plan with its models loaded; `tell` hears of what takes long.

    With `keep`, what the workers set up in a run stays for the next one, until `rest`: short runs then follow each
    other sooner, but are no independent set-ups. In virtual time nothing is kept, so that each run is the same.

    Raises ModelError, BackendError or UsageError when a model cannot be loaded as the plan says; what was loaded
    before is freed. `startup` holds what was spent before the load began (see facts.trace.TraceMeta).
    """

    def __init__(self, plan: Plan, clock: Clock, tell: Tell = silent, keep: bool = False) -> None:
        self.plan, self.clock, self._tell = plan, clock, tell
        self._keep, self.seats = keep and not clock.virtual, Seats()
        self.startup: dict[str, int] = {}
        self.libraries: dict[str, str] = {}
        self.simulated = False
        self._kind = strategy_of(plan.engine)
        self._processes: ModelProcesses | None = None
        self._open = ExitStack()
        self._finish: Finish | None = load_hook(plan.engine.finish) if plan.engine.finish else None
        with ExitStack() as on_error:
            on_error.callback(self.close)
            check(plan.engine, clock)
            began = clock.now()
            self._models: list[Session] = self._load_all()
            self.startup["models"] = clock.now() - began
            on_error.pop_all()

    @property
    def specs(self) -> tuple[ModelSpec, ...]:
        """The models as loaded, every dimension an int."""
        return tuple(session.spec for session in self._models)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the backends have to say of the models as loaded."""
        return tuple(note for session in self._models for note in session.notes)

    @property
    def placement(self) -> dict[str, dict[str, int]]:
        """Nodes by where they run, by model, where the library tells."""
        pairs = zip(self.plan.models, self._models, strict=True)
        return {model.name: dict(session.placement) for model, session in pairs if session.placement}

    @property
    def batch_sizes(self) -> dict[str, tuple[int, ...]]:
        """The sizes to which batches are padded, of models that do not run any number of frames."""
        pairs = zip(self.plan.models, self._models, strict=True)
        return {model.name: session.batch_sizes for model, session in pairs if session.batch_sizes}

    @property
    def gpus(self) -> dict[int, str]:
        """PCI bus ids of the GPUs in use, by their number in the plan."""
        pairs = zip(self.plan.models, self._models, strict=True)
        return {ordinal(model.device): session.gpu for model, session in pairs if session.gpu is not None}

    def telemetry(self) -> bytes:
        """Telemetry of devices that only the backends can see (simulated ones)."""
        return b"".join(session.telemetry() for session in self._models)

    def run(
        self, scope: Scope, begin: Callable[[], Feed], state: RunState, sink: Sink, picture: Any = None
    ) -> list[Exception]:
        """Run until the feed ends; returns the errors of failed requests (the first of each worker).

        Args:
            scope: 'model' runs inference only, on inputs made once from `picture`.
            begin: makes the feed; called once, when all workers are set up, so that the load begins then.
            sink: takes packed rows (facts.trace.REQUEST_COLUMNS); called from the worker threads.
        """
        crew, kept = _Crew(self, scope, begin, state, sink, picture), False
        try:
            with interpreter(self.plan.engine):
                try:
                    crew.run(self.plan.engine.workers)
                finally:
                    crew.close()
            kept = self._keep and not crew.errors
        finally:
            if not kept:
                self.rest()
        return crew.errors

    def rest(self) -> None:
        """Free what was kept from the runs so far, other than the models."""
        self.seats.close()

    def close(self) -> None:
        """Free the models. Idempotent."""
        self.rest()
        self._open.close()

    def _load(self, model: ModelPlan) -> Session:
        backend = get_backend(model.backend)
        began = self.clock.now()
        session = backend.load(model, self.clock, self._tell)
        self._open.callback(session.close)
        self.startup[f"load {model.name}"] = self.clock.now() - began
        self.libraries |= backend.versions()
        self.simulated |= backend.simulated
        return session

    def layers(self) -> dict[str, tuple[Layer, ...]]:
        """What each layer of each model takes, by model name, where its library tells. Runs inferences."""
        names = [model.name for model in self.plan.models]
        found = {name: session.layers() for name, session in zip(names, self._models, strict=True)}
        return {name: layers for name, layers in found.items() if layers}

    def steps(self, scope: Scope, picture: Any, worker: int = 0) -> list[Step]:
        """The models as worker number `worker` runs them; called in its thread."""
        with ExitStack() as on_error:
            steps = []
            for index in range(len(self._models)):
                steps.append(self._step(index, scope, picture, worker))
                on_error.callback(steps[-1].worker.close)
            on_error.pop_all()
        return steps

    def strategy(
        self, scope: Scope, picture: Any, state: RunState, sink: Sink, worker: int, batch_ids: Iterator[int]
    ) -> Strategy:
        """The calling thread as worker number `worker`, set up as the plan's strategy says."""
        if self._processes is not None:
            return self._processes.strategy(scope, picture, state, sink, worker)
        finish = None if scope == "model" else self._finish
        kept = self._kind.keeps_workers

        def free(step: Step) -> None:
            if kept:
                self.seats.leave(self._models[step.index], worker, step.worker)
            else:
                step.worker.close()

        def make(index: int | None) -> Pipeline:
            whole, given = index is None, (scope, picture, worker)
            with lock_setup(), ExitStack() as on_error:
                steps = self.steps(*given) if index is None else [self._step(index, *given)]
                pipeline = Pipeline(steps, self.clock, state, sink, finish, worker, batch_ids, whole, free)
                on_error.callback(pipeline.close)
                pipeline.prime()
                on_error.pop_all()
            return pipeline

        return IN_PROCESS[self.plan.engine.strategy](make, len(self._models), state)

    def _step(self, index: int, scope: Scope, picture: Any, number: int) -> Step:
        session = self._models[index]
        return make_step(index, self.plan.models[index], session, scope, picture, self.seats.worker(session, number))

    def _load_all(self) -> list[Session]:
        if not self._kind.spawns_models:
            return [self._load(model) for model in self.plan.models]
        self._processes = ModelProcesses(self.plan, self._tell)
        self._open.callback(self._processes.close)
        self.startup |= self._processes.startup
        self.libraries |= self._processes.libraries
        return self._processes.sessions


class _Crew:
    """The workers of one run: one in the calling thread, several in threads of their own."""

    def __init__(
        self, engine: Engine, scope: Scope, begin: Callable[[], Feed], state: RunState, sink: Sink, picture: Any
    ) -> None:
        self._engine, self._scope, self._begin, self._state = engine, scope, begin, state
        self._sink, self._picture = sink, picture
        self._feed: Feed | None = None
        self._batch_ids = itertools.count()
        self._fatal: list[BaseException] = []
        self._together: threading.Barrier | None = None
        self.errors: list[Exception] = []

    def run(self, workers: int) -> None:
        """Work until the feed ends; raises what ended a worker."""
        self._began = self._engine.clock.now()
        # An event loop gets a thread of its own: the calling one may run a loop already (a notebook's does).
        if workers == 1 and not strategy_of(self._engine.plan.engine).needs_own_loop:
            self._work(0)
        else:
            self._threads(workers)
        if self._fatal:
            raise self._fatal[0]

    def close(self) -> None:
        """End the feed, if the run came so far."""
        if self._feed is not None:
            self._feed.close()

    def _start(self) -> None:
        if self._feed is None:
            self._engine.startup["workers"] = self._engine.clock.now() - self._began
            self._feed = self._begin()

    def _threads(self, workers: int) -> None:
        self._together = threading.Barrier(workers, action=self._start)
        try:
            self._engine.seats.run(workers, self._guarded)
        except BaseException:
            self._state.stop("interrupted")  # the threads end before what they use is freed
            raise

    def _guarded(self, index: int) -> None:
        try:
            self._work(index)
        except BaseException as error:
            if not isinstance(error, threading.BrokenBarrierError):
                self._fatal.append(error)
            self._state.stop("failed")
            if self._together is not None:
                self._together.abort()

    def _work(self, index: int) -> None:
        engine = self._engine.plan.engine
        with ExitStack() as stack:
            strategy = self._strategy(index)
            stack.callback(strategy.close)
            if engine.keeper:
                stack.enter_context(_kept_awake(self._engine.clock, index))
            # Nobody begins before all are set up, and nobody frees anything before all are done: allocating, capturing
            # and freeing disturb what runs.
            self._meet()
            assert self._feed is not None
            with self._engine.clock.joined(index, engine.workers):
                strategy.serve(self._feed, beats=engine.heartbeat_ms is not None)
            if self._together is not None:
                self._together.wait()
        self.errors.extend(strategy.errors)

    def _strategy(self, index: int) -> Strategy:
        return self._engine.strategy(self._scope, self._picture, self._state, self._sink, index, self._batch_ids)

    def _meet(self) -> None:
        if self._together is None:
            self._start()
        else:
            self._together.wait()


def _kept_awake(clock: Clock, index: int) -> AbstractContextManager[None]:
    """The keeper beside worker `index`; a virtual clock has no cores, but knows whether they would halt."""
    if clock.virtual:
        return clock.awake()
    cores = usable_cores()
    return kept_awake(cores[-1 - index % len(cores)])
