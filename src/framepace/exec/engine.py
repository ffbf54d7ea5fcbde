"""The engine: a plan loaded and run. Workers pull batches from a feed and put them through the pipeline.

Measuring and serving both run this; they differ in the feed they bring and the sink that takes the rows.
"""

from __future__ import annotations

import gc
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

from framepace.errors import ModelError, UsageError
from framepace.exec.backend import Session, Tell, get_backend, silent
from framepace.exec.clock import Clock
from framepace.exec.control import Control
from framepace.exec.cuda import lock_setup, ordinal
from framepace.exec.feed import Feed, Idle
from framepace.exec.hooks import load_hook
from framepace.exec.keeper import kept_awake, usable_cores
from framepace.exec.models import Resolved
from framepace.exec.pipeline import Finish, Pipeline, Prepare, Sink, Step
from framepace.exec.prepare import Preparer
from framepace.exec.usage import GC_CLOCK
from framepace.facts.model import Layer, ModelSpec
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.workload import Scope


class Engine:
    """A plan with its models loaded; `tell` hears of what takes long.

    Raises ModelError, BackendError or UsageError when a model cannot be loaded as the plan says; what was loaded
    before is freed. `startup` holds the load times in ns.
    """

    def __init__(self, plan: Plan, clock: Clock, tell: Tell = silent) -> None:
        self.plan, self.clock, self._tell = plan, clock, tell
        self.startup: dict[str, int] = {}
        self.libraries: dict[str, str] = {}
        self.simulated = False
        self._open = ExitStack()
        self._finish: Finish | None = load_hook(plan.engine.finish) if plan.engine.finish else None
        with ExitStack() as on_error:
            on_error.callback(self.close)
            self._models = [self._load(model) for model in plan.models]
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
    def gpus(self) -> dict[int, str]:
        """PCI bus ids of the GPUs in use, by their number in the plan."""
        pairs = zip(self.plan.models, self._models, strict=True)
        return {ordinal(model.device): session.gpu for model, session in pairs if session.gpu is not None}

    def telemetry(self) -> bytes:
        """Telemetry of devices that only the backends can see (simulated ones)."""
        return b"".join(session.telemetry() for session in self._models)

    def run(
        self, scope: Scope, begin: Callable[[], Feed], control: Control, sink: Sink, picture: Any = None
    ) -> list[Exception]:
        """Run until the feed ends; returns the errors of failed requests (the first of each worker).

        Args:
            scope: 'model' runs inference only, on inputs made once from `picture`.
            begin: makes the feed; called once, when all workers are set up, so that the load begins then.
            sink: takes packed rows (facts.trace.REQUEST_COLUMNS); called from the worker threads.
        """
        crew = _Crew(self, scope, begin, control, sink, picture)
        with _interpreter(self.plan.engine.gc), _memory(self.plan.engine.lock_memory):
            try:
                crew.run(self.plan.engine.workers)
            finally:
                crew.close()
        return crew.errors

    def close(self) -> None:
        """Free the models. Idempotent."""
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

    def _step(self, index: int, scope: Scope, picture: Any, number: int) -> Step:
        session = self._models[index]
        model, resolved = self.plan.models[index], session.resolved
        worker = session.worker(number)
        prepare = _preparer(model, resolved, scope)
        if prepare is None or resolved.image is None:
            return Step(index, model.name, worker, model.batch.max, None, None)
        name = resolved.image.name
        for slot in range(worker.slots):
            for place in worker.staging(slot)[name]:
                if picture is not None:
                    prepare(picture, place)
        if scope == "model" or model.prepare.constant:
            return Step(index, model.name, worker, model.batch.max, None, None)
        return Step(index, model.name, worker, model.batch.max, name, prepare)

    def pipeline(
        self, scope: Scope, picture: Any, control: Control, sink: Sink, worker: int, batch_ids: Iterator[int]
    ) -> Pipeline:
        """A pipeline for the calling thread, which is worker number `worker`."""
        finish, steps = None if scope == "model" else self._finish, self.steps(scope, picture, worker)
        return Pipeline(steps, self.clock, control, sink, finish, worker, batch_ids)


def _preparer(model: ModelPlan, resolved: Resolved, scope: Scope) -> Prepare | None:
    image = resolved.image
    if image is None:
        if scope == "model":
            return None
        shapes = {i.name: i.shape for i in resolved.inputs}
        fix = "measure it with --scope model, or say which layout its image input has with --layout"
        raise ModelError(f"model {model.name!r} has no image input", got=shapes, expected="a rank-4 input", fix=fix)
    return Preparer(model.prepare, (image.height, image.width), image.layout, image.channels, image.dtype)


class _Crew:
    """The workers of one run: one in the calling thread, several in threads of their own."""

    def __init__(
        self, engine: Engine, scope: Scope, begin: Callable[[], Feed], control: Control, sink: Sink, picture: Any
    ) -> None:
        self._engine, self._scope, self._begin, self._control = engine, scope, begin, control
        self._sink, self._picture = sink, picture
        self._feed: Feed | None = None
        self._batch_ids = itertools.count()
        self._fatal: list[BaseException] = []
        self._together: threading.Barrier | None = None
        self.errors: list[Exception] = []

    def run(self, workers: int) -> None:
        """Work until the feed ends; raises what ended a worker."""
        if workers == 1:
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
            self._feed = self._begin()

    def _threads(self, workers: int) -> None:
        self._together = threading.Barrier(workers, action=self._start)
        threads = [threading.Thread(target=self._guarded, args=(i,), name=f"worker-{i}") for i in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _guarded(self, index: int) -> None:
        try:
            self._work(index)
        except BaseException as error:
            if not isinstance(error, threading.BrokenBarrierError):
                self._fatal.append(error)
            self._control.stop("failed")
            if self._together is not None:
                self._together.abort()

    def _work(self, index: int) -> None:
        engine = self._engine.plan.engine
        with ExitStack() as stack:
            with lock_setup():
                pipeline = self._pipeline(index)
                stack.callback(pipeline.close)
                pipeline.prime()
            if engine.keeper:
                stack.enter_context(_kept_awake(self._engine.clock, index))
            # Nobody begins before all are set up, and nobody frees anything before all are done: allocating, capturing
            # and freeing disturb what runs.
            self._meet()
            assert self._feed is not None
            with _on_the_clock(self._engine.clock, index, engine.workers):
                _serve(pipeline, self._feed, pipeline.beat if engine.heartbeat_ms is not None else None)
            if self._together is not None:
                self._together.wait()
        self.errors.extend(pipeline.errors)

    def _pipeline(self, index: int) -> Pipeline:
        return self._engine.pipeline(self._scope, self._picture, self._control, self._sink, index, self._batch_ids)

    def _meet(self) -> None:
        if self._together is None:
            self._start()
        else:
            self._together.wait()


def _kept_awake(clock: Clock, index: int) -> AbstractContextManager[None]:
    """The keeper beside a worker; on a virtual clock there is no core, but the clock knows."""
    awake: Callable[[], AbstractContextManager[None]] | None = getattr(clock, "awake", None)
    cores = usable_cores()
    return awake() if awake is not None else kept_awake(cores[-1 - index % len(cores)])


def _on_the_clock(clock: Clock, index: int, of: int) -> AbstractContextManager[None]:
    """On a virtual clock that knows several threads, they take turns."""
    thread: Callable[[int, int], AbstractContextManager[None]] | None = getattr(clock, "thread", None)
    return thread(index, of) if thread is not None and of > 1 else nullcontext()


def _serve(pipeline: Pipeline, feed: Feed, idle: Idle | None) -> None:
    """Until the feed ends: take what is ready while there is room, and collect what is in flight."""
    while (frames := feed.take(idle, wait=not pipeline.flying)) is not None:
        if frames:
            pipeline.submit(frames)
        if pipeline.full or not frames:
            pipeline.collect()
    pipeline.drain()


@contextmanager
def _interpreter(mode: str) -> Iterator[None]:
    """Garbage collection as the plan says, its time counted; what was garbage before is gone when the run begins."""
    gc.collect()
    GC_CLOCK.start()
    enabled = gc.isenabled()
    if mode == "off":
        gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
        GC_CLOCK.stop()


@contextmanager
def _memory(lock: bool) -> Iterator[None]:
    """All pages locked in memory for the time of the run, if asked (mlockall; Linux, needs the memlock limit)."""
    if not lock:
        yield
        return
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(3) != 0:  # MCL_CURRENT | MCL_FUTURE
        raise UsageError("memory cannot be locked", got=f"errno {ctypes.get_errno()}", fix="raise 'ulimit -l'")
    try:
        yield
    finally:
        libc.munlockall()
