"""The engine: a plan loaded and run. Workers pull batches from a feed and put them through the pipeline.

Measuring, predicting and serving run this; they differ in the feed they bring, the sink that takes the rows, who loads
the models and who receives their outputs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace as replace_step
from functools import partial
from typing import Any

from msgspec.structs import replace

from framepace.backends.base import Session, Worker, get_backend
from framepace.clock.system import Clock
from framepace.devices.cuda import lock_setup, ordinal
from framepace.engine.corekeeper import kept_awake, usable_cores
from framepace.engine.crops import CropCounts, Cut, OnCut, Read
from framepace.engine.modelprocess import ModelProcesses
from framepace.engine.packedrows import Sink
from framepace.engine.pipeline import Pipeline
from framepace.engine.processstate import interpreter
from framepace.engine.reading import measured_finish
from framepace.engine.slowing import slowed_finish, slowed_step
from framepace.engine.step import Finish, Run, Step, finish_hook, make_step
from framepace.engine.strategies import IN_PROCESS, Strategy, check
from framepace.engine.workerthreads import WorkerThreads
from framepace.engine.wrapping import bare
from framepace.facts.cascade import followed, roots, tree
from framepace.facts.model import Layer, ModelSpec
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.strategy import strategy_of
from framepace.facts.workload import Scope
from framepace.feeds.feed import Feed
from framepace.feeds.runstate import RunState
from framepace.models.answers import answer_reader
from framepace.progress import Tell, silent

_OWN_PROCESS = "own_process"  # option of a backend that simulates it

Load = Callable[[ModelPlan], Session]
"""Loads a model as its plan says."""


class Engine:
    """A plan with its models loaded.

    Args:
        load: loads each model, unless the strategy loads them in their own processes; by default the model's backend
            does. The engine closes what it loads.
        outputs: receives the outputs of each frame; by default the hook that the plan names, if it names one.
        on_cut: learns on which boxes of a frame a model runs that runs after another.
        tell: receives the progress of loading.
        keep: what the workers set up in a run stays for the next one, until `release_workers`. Short runs then follow
            each other sooner, but are not independent. In virtual time nothing is kept: there each run is the same.

    Attributes:
        sessions: the loaded models, in the order of the plan.
        startup: durations of the steps before the load began, in ns (see facts.trace.TraceMeta).
        slowest: what the longest inference took so far, while models were loaded or in earlier runs, in ns.

    Raises ModelError, BackendError or UsageError when a model cannot be loaded as the plan says; what was loaded
    before is freed.
    """

    def __init__(
        self,
        plan: Plan,
        clock: Clock,
        *,
        load: Load | None = None,
        outputs: Finish | None = None,
        on_cut: OnCut | None = None,
        tell: Tell = silent,
        keep: bool = False,
    ) -> None:
        self.plan = plan
        self.clock = clock
        self.startup: dict[str, int] = {}
        self.threads = WorkerThreads()
        self._keeps = keep and not clock.virtual
        self._outputs = outputs
        self._on_cut = on_cut
        self._crops = CropCounts()
        self._readers: dict[int, Read] = {}
        self._reading: list[str] = []
        hook = finish_hook(plan.engine.finish)
        self._processes: ModelProcesses | None = None
        self._open = ExitStack()
        check(plan.engine)
        self.sessions = self._load_all(load, tell)
        self._finish = slowed_finish(outputs or self._measured(hook), plan.engine.slow, clock)
        self.slowest = max((session.slowest for session in self.sessions), default=0)

    def _measured(self, hook: Finish | None) -> Finish | None:
        """What is done with the outputs where nobody receives them; in processes of models that is the hook alone."""
        if self.clock.virtual or self._processes is not None:
            return hook
        return measured_finish(self._loaded(), hook, self._reading.append)

    @property
    def specs(self) -> tuple[ModelSpec, ...]:
        """The models as loaded, every dimension an int."""
        return tuple(session.spec for session in self.sessions)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences of the backends on the models as loaded."""
        of_models = (note for session in self.sessions for note in session.notes)
        return (*of_models, *self._reading, *self._crops.notes)

    @property
    def placement(self) -> dict[str, dict[str, int]]:
        """Number of nodes by where they run, per model name, where the library reports it."""
        return {model.name: dict(session.placement) for model, session in self._loaded() if session.placement}

    @property
    def batch_sizes(self) -> dict[str, tuple[int, ...]]:
        """The sizes to which batches are padded, per model name; models that run any size are left out."""
        return {model.name: session.batch_sizes for model, session in self._loaded() if session.batch_sizes}

    @property
    def gpus(self) -> dict[int, str]:
        """PCI bus ids of the GPUs in use, by their number in the plan."""
        return {ordinal(model.device): session.gpu for model, session in self._loaded() if session.gpu is not None}

    @property
    def libraries(self) -> dict[str, str]:
        """Versions of the libraries that run the models, by name."""
        return {name: version for session in self.sessions for name, version in session.libraries.items()}

    @property
    def simulated(self) -> bool:
        """Whether any model is not computed."""
        return any(session.simulated for session in self.sessions)

    def telemetry(self) -> bytes:
        """Telemetry of devices that only the backends can see (simulated ones)."""
        return b"".join(session.telemetry() for session in self.sessions)

    def layers(self) -> dict[str, tuple[Layer, ...]]:
        """Durations of the layers of each model, by model name, where its library reports them. Runs inferences."""
        layers = {model.name: session.layers() for model, session in self._loaded()}
        return {name: rows for name, rows in layers.items() if rows}

    def run(
        self, scope: Scope, begin: Callable[[], Feed], state: RunState, sink: Sink, picture: Any = None
    ) -> list[Exception]:
        """Run until the feed ends; returns the errors of failed requests (the first of each worker).

        Args:
            scope: 'model' runs inference only, on inputs made once from `picture`.
            begin: makes the feed; called once, when all workers are set up, so that the load begins then.
            sink: takes packed rows (facts.trace.REQUEST_COLUMNS); called from the worker threads.
        """
        self._crops = CropCounts()
        crew = _Crew(self, Run(scope, state, sink, picture, self._finish, on_cut=self._cut), begin)
        keep = False
        try:
            with interpreter(self.plan.engine, self.clock), crew:
                crew.run(self.plan.engine.workers)
            keep = self._keeps and not crew.errors
        finally:
            if not keep:
                self.release_workers()
        return crew.errors

    def _cut(self, model: str, cut: Cut) -> None:
        self._crops.add(model, cut)
        if self._on_cut is not None:
            self._on_cut(model, cut)

    def strategy(self, run: Run, worker: int) -> Strategy:
        """The calling thread as worker number `worker` of a run, set up as the plan's strategy says."""
        if self._processes is not None:
            return self._processes.strategy(run, worker)
        make = IN_PROCESS[self.plan.engine.strategy]
        parts = self._parts(run.scope)
        return make(partial(self._pipeline, run, worker, parts), len(parts), run.state)

    def release_workers(self) -> None:
        """Free the workers that were kept from earlier runs; the models stay."""
        self.threads.close()

    def end_processes(self) -> None:
        """End the processes of the models, where they have some: a call that waits for one returns with an error."""
        if self._processes is not None:
            self._processes.close()

    def close(self) -> None:
        """Free the models. Idempotent."""
        self.release_workers()
        self._open.close()

    def _loaded(self) -> Iterator[tuple[ModelPlan, Session]]:
        return zip(self.plan.models, self.sessions, strict=True)

    def _parts(self, scope: Scope) -> list[list[int]]:
        """The numbers of the models that run independently of each other, each with those that run after it."""
        if scope == "model":
            return [[index] for index, _ in enumerate(self.sessions)]
        return [tree(self.plan.models, root) for root in roots(self.plan.models)]

    def _pipeline(self, run: Run, worker: int, parts: Sequence[Sequence[int]], index: int | None) -> Pipeline:
        """The pipeline of the models of part `index`, or of all (None), for the calling thread; primed."""
        indices: Sequence[int] = range(len(self.sessions))
        if index is not None:
            indices = parts[index]

        def free(step: Step) -> None:
            self._free(self.sessions[step.index], worker, step.worker)

        with lock_setup(), ExitStack() as on_error:
            steps = self._steps(indices, run, worker)
            pipeline = Pipeline(steps, self.clock, run, worker, whole=index is None, free=free)
            on_error.callback(pipeline.close)
            pipeline.prime()
            on_error.pop_all()
        return pipeline

    def _steps(self, indices: Sequence[int], run: Run, number: int) -> list[Step]:
        """The models as worker `number` runs them; called in its thread."""
        steps: list[Step] = []
        with ExitStack() as on_error:
            for index in indices:
                session = self.sessions[index]
                worker = self.threads.worker(session, number)
                step = make_step(index, self.plan.models[index], session, worker, run, number)
                step = replace_step(step, read=self._readers.get(index))
                steps.append(slowed_step(step, self.plan.engine.slow, self.clock))
                on_error.callback(worker.close)
            on_error.pop_all()
        return steps

    def _free(self, session: Session, number: int, worker: Worker) -> None:
        if strategy_of(self.plan.engine).keeps_workers:
            self.threads.park(session, number, bare(worker))
        else:
            worker.close()

    def _load_all(self, load: Load | None, tell: Tell) -> Sequence[Session]:
        """Load the models in turn, or all in processes side by side; after an error none stays loaded."""
        began = self.clock.now()
        try:
            sessions = self._load_sessions(load, tell)
            for index in followed(self.plan.models):
                model = self.plan.models[index]
                self._readers[index] = answer_reader(model, sessions[index].resolved, self._reading.append)
        except BaseException:
            self.close()
            raise
        self.startup["models"] = self.clock.now() - began
        return sessions

    def _load_sessions(self, load: Load | None, tell: Tell) -> Sequence[Session]:
        spawns = strategy_of(self.plan.engine).spawns_models
        if self.clock.virtual or not spawns:
            if load is None:
                load = partial(_load_by_backend, clock=self.clock, tell=tell)
            models = self.plan.models
            if spawns:
                models = tuple(_as_own_process(model) for model in models)
            return [self._load(model, load) for model in models]
        self._processes = ModelProcesses(self.plan, tell, self._outputs)
        self._open.callback(self._processes.close)
        self.startup |= self._processes.startup
        return self._processes.sessions

    def _load(self, model: ModelPlan, load: Load) -> Session:
        began = self.clock.now()
        session = load(model)
        self._open.callback(session.close)
        self.startup[f"load {model.name}"] = self.clock.now() - began
        return session


def _as_own_process(model: ModelPlan) -> ModelPlan:
    """The model as its backend simulates it in a process of its own, where it can."""
    if _OWN_PROCESS not in get_backend(model.backend).options:
        return model
    return replace(model, options={**model.options, _OWN_PROCESS: True})


def _load_by_backend(model: ModelPlan, clock: Clock, tell: Tell) -> Session:
    return get_backend(model.backend).load(model, clock, tell)


class _Crew:
    """The workers of one run: one in the calling thread, several in their own threads. The end closes the feed."""

    def __init__(self, engine: Engine, run: Run, begin: Callable[[], Feed]) -> None:
        self._engine = engine
        self._run = run
        self._begin = begin
        self._feed: Feed | None = None
        self._open = ExitStack()
        self._barrier: threading.Barrier | None = None  # for several workers
        self._fatal: list[BaseException] = []
        self.errors: list[Exception] = []

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def run(self, workers: int) -> None:
        """Work until the feed ends; raises what ended a worker."""
        self._engine.clock.begin()
        self._began = self._engine.clock.now()
        # An event loop gets its own thread: the calling one may run a loop already (a notebook's does).
        if workers == 1 and not strategy_of(self._engine.plan.engine).needs_own_loop:
            self._work(0)
        else:
            self._run_threads(workers)
        if self._fatal:
            raise self._fatal[0]

    def _start(self) -> None:
        """Begin the load, when all workers are set up; nothing to do when they meet again at the end."""
        if self._feed is None:
            self._engine.startup["workers"] = self._engine.clock.now() - self._began
            self._feed = self._open.enter_context(self._begin())

    def _run_threads(self, workers: int) -> None:
        self._barrier = threading.Barrier(workers, action=self._start)
        try:
            self._engine.threads.run(workers, self._guarded)
        except BaseException:
            self._run.state.stop("interrupted")  # the threads end before anything they use is freed
            raise

    def _guarded(self, number: int) -> None:
        """Work; an error ends the other workers too."""
        try:
            self._work(number)
        except BaseException as error:
            if not isinstance(error, threading.BrokenBarrierError):
                self._fatal.append(error)
            self._run.state.stop("failed")
            if self._barrier is not None:
                self._barrier.abort()
            self._engine.clock.abandon()

    def _work(self, number: int) -> None:
        plan = self._engine.plan.engine
        clock = self._engine.clock
        with ExitStack() as stack:
            strategy = self._engine.strategy(self._run, number)
            stack.callback(strategy.close)
            if plan.keeper:
                stack.enter_context(_kept_awake(clock, number))
            # No worker begins before all are set up, and none frees anything before all are done: allocating, capturing
            # and freeing disturb running inferences.
            self._meet()
            assert self._feed is not None
            with clock.joined(number, plan.workers), self._run.state.serving():
                strategy.serve(self._feed, beats=plan.heartbeat_ms is not None)
            if self._barrier is not None:
                self._barrier.wait()
        self.errors.extend(strategy.errors)

    def _meet(self) -> None:
        """Wait until all workers are set up; the last one makes the feed."""
        if self._barrier is None:
            self._start()
        else:
            self._barrier.wait()


def _kept_awake(clock: Clock, number: int) -> AbstractContextManager[None]:
    """The keeper beside worker `number`; a virtual clock has no cores, but knows whether they would halt."""
    if clock.virtual:
        return clock.awake()
    cores = usable_cores()
    return kept_awake(cores[-1 - number % len(cores)])
