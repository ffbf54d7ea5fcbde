"""The engine: a plan loaded and run. Workers pull batches from a feed and put them through the pipeline.

Measuring and serving both run this; they differ in the feed they bring and the sink that takes the rows.
"""

from __future__ import annotations

import gc
import itertools
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from framepace.errors import ModelError, UsageError
from framepace.exec.backend import Session, get_backend
from framepace.exec.clock import Clock
from framepace.exec.control import Control
from framepace.exec.feed import Feed
from framepace.exec.hooks import load_hook
from framepace.exec.keeper import kept_awake, usable_cores
from framepace.exec.models import Resolved, inspect, resolve
from framepace.exec.pipeline import Finish, Pipeline, Prepare, Sink, Step
from framepace.exec.prepare import Preparer
from framepace.exec.usage import GC_CLOCK
from framepace.facts.model import ModelSpec
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.workload import Scope


class Engine:
    """A plan with its models loaded.

    Raises ModelError, BackendError or UsageError when a model cannot be loaded as the plan says; what was loaded
    before is freed. `startup` holds the load times in ns.
    """

    def __init__(self, plan: Plan, clock: Clock) -> None:
        self.plan, self.clock = plan, clock
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
        return tuple(session.spec for session, _ in self._models)

    def run(self, scope: Scope, feed: Feed, control: Control, sink: Sink, picture: Any = None) -> list[Exception]:
        """Run until the feed ends; returns the errors of failed requests (the first of each worker).

        Args:
            scope: 'model' runs inference only, on inputs made once from `picture`.
            sink: takes packed rows (facts.trace.REQUEST_COLUMNS); called from the worker threads.
        """
        crew = _Crew(self, scope, feed, control, sink, picture)
        with _interpreter(self.plan.engine.gc), _memory(self.plan.engine.lock_memory):
            try:
                crew.run(self.plan.engine.workers)
            finally:
                feed.close()
        return crew.errors

    def close(self) -> None:
        """Free the models. Idempotent."""
        self._open.close()

    def _load(self, model: ModelPlan) -> tuple[Session, Resolved]:
        backend = get_backend(model.backend)
        began = self.clock.now()
        session = backend.load(model, self.clock)
        self._open.callback(session.close)
        self.startup[f"load {model.name}"] = self.clock.now() - began
        self.libraries |= backend.versions()
        self.simulated |= backend.simulated
        return session, resolve(inspect(model.model), model)

    def steps(self, scope: Scope, picture: Any) -> list[Step]:
        """The models as one worker runs them; called in the worker's thread."""
        return [self._step(i, scope, picture) for i in range(len(self._models))]

    def _step(self, index: int, scope: Scope, picture: Any) -> Step:
        session, resolved = self._models[index]
        model = self.plan.models[index]
        worker = session.worker()
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

    def pipeline(self, scope: Scope, picture: Any, control: Control, sink: Sink, **numbers: Any) -> Pipeline:
        """A pipeline for the calling thread."""
        finish = None if scope == "model" else self._finish
        return Pipeline(self.steps(scope, picture), self.clock, control, sink, finish, **numbers)


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

    def __init__(self, engine: Engine, scope: Scope, feed: Feed, control: Control, sink: Sink, picture: Any) -> None:
        self._engine, self._scope, self._feed, self._control = engine, scope, feed, control
        self._sink, self._picture = sink, picture
        self._batch_ids = itertools.count()
        self._fatal: list[BaseException] = []
        self.errors: list[Exception] = []

    def run(self, workers: int) -> None:
        """Work until the feed ends; raises what ended a worker."""
        if workers == 1:
            self._work(0)
        else:
            self._threads(workers)
        if self._fatal:
            raise self._fatal[0]

    def _threads(self, workers: int) -> None:
        threads = [threading.Thread(target=self._guarded, args=(i,), name=f"worker-{i}") for i in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _guarded(self, index: int) -> None:
        try:
            self._work(index)
        except BaseException as error:
            self._fatal.append(error)
            self._control.stop("failed")

    def _work(self, index: int) -> None:
        engine = self._engine.plan.engine
        pipeline = self._engine.pipeline(
            self._scope, self._picture, self._control, self._sink, worker=index, batch_ids=self._batch_ids
        )
        idle = pipeline.beat if engine.heartbeat_ms is not None else None
        with ExitStack() as stack:
            stack.callback(pipeline.close)
            if engine.keeper:
                cores = usable_cores()
                stack.enter_context(kept_awake(cores[-1 - index % len(cores)]))
            while (frames := self._feed.take(idle)) is not None:
                pipeline.process(frames)
        self.errors.extend(pipeline.errors)


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
