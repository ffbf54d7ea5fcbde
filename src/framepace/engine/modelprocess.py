"""The strategy 'processes': each model in a process of its own, with its own interpreter.

Frames are decoded here and put into shared memory once; what crosses the pipes is where they are, and rows.
"""

from __future__ import annotations

import itertools
import multiprocessing
import pickle
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from framepace.backends.base import Session, Worker, get_backend
from framepace.clock.system import SystemClock
from framepace.devices.cuda import lock_setup
from framepace.engine.pipeline import Delivered, Pipeline, Sink
from framepace.engine.processstate import interpreter
from framepace.engine.steps import make_step
from framepace.engine.strategies import FrameByFrame
from framepace.errors import BackendError
from framepace.facts.model import Layer, ModelSpec
from framepace.facts.plan import EnginePlan, ModelPlan, Plan
from framepace.facts.trace import REQUEST_COLUMNS, Mark, Stopped
from framepace.facts.workload import Scope
from framepace.feeds.runstate import Control
from framepace.hooks import load_hook
from framepace.models.spec import Resolved
from framepace.progress import Tell
from framepace.video.frame import Frame
from framepace.video.sharedframes import Reader, Shared, Writer

_MARKS = tuple(REQUEST_COLUMNS).index("marks")
GUARD = "a script that starts processes does its work under: if __name__ == '__main__'"
_PATIENCE_S = 5.0  # for a process to end by itself


@dataclass(frozen=True)
class Loaded:
    """What a process says of its model when it has loaded it; times in ns."""

    spec: ModelSpec
    resolved: Resolved
    notes: tuple[str, ...]
    placement: dict[str, int]
    gpu: str | None
    batch_sizes: tuple[int, ...]
    libraries: dict[str, str]
    began: int
    loading: int


class Done(NamedTuple):
    """What a process answers for a batch: its rows, new errors, and why the run must stop if it must."""

    delivered: Delivered
    rows: bytes
    errors: list[Exception]
    stopped: Stopped | None


class Link:
    """One worker's line to the process of a model: calls, answered in order."""

    def __init__(self, name: str, pipe: Connection, process: Any) -> None:
        self._name, self._pipe, self._process = name, pipe, process
        self._pending = 0

    def send(self, method: str, *given: Any) -> None:
        """Call without waiting. Raises BackendError when the process has died."""
        try:
            self._pipe.send((method, given))
        except OSError as error:
            raise self._died() from error
        self._pending += 1

    def answer(self) -> Any:
        """The answer to the oldest call; raises what was raised there, and BackendError when the process has died."""
        self._pending -= 1
        return self._receive()

    def loaded(self, tell: Tell) -> Loaded:
        """Wait until the model is loaded, passing on what the process tells meanwhile."""
        while isinstance(told := self._receive(), tuple):
            tell(*told)
        return told  # type: ignore[no-any-return]

    def close(self) -> None:
        """Free what the process holds for this worker, if it lives."""
        with suppress(Exception):
            while self._pending:
                with suppress(Exception):
                    self.answer()
            self.send("close")
            self.answer()

    def _receive(self) -> Any:
        try:
            told = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._died() from error
        if isinstance(told, BaseException):
            raise told
        return told

    def _died(self) -> BackendError:
        self._process.join(timeout=_PATIENCE_S)
        got, fix = f"exit code {self._process.exitcode}", f"see its message above; {GUARD}"
        return BackendError(f"the process of model {self._name!r} died", got=got, fix=fix)


class ModelProcess(Session):
    """A model loaded by a process of its own, which starts at once; `wait` until it is loaded before anything else."""

    def __init__(self, plan: Plan, index: int) -> None:
        self._model = plan.models[index]
        self.spawned = SystemClock().now()
        context = multiprocessing.get_context("spawn")
        pairs = [context.Pipe() for _ in range(plan.engine.workers)]
        theirs = [pair[1] for pair in pairs]
        given = (theirs, self._model, plan.engine, index, len(plan.models))
        self._process = context.Process(target=_main, args=given, name=self._model.name, daemon=True)
        self._process.start()
        for pipe in theirs:
            pipe.close()
        self._pipes = [pair[0] for pair in pairs]
        self.links = [Link(self._model.name, pipe, self._process) for pipe in self._pipes]

    def wait(self, tell: Tell) -> Loaded:
        """What was loaded, once it is. Raises what loading raised, and BackendError when the process has died."""
        found = self.links[0].loaded(tell)
        self.spec, self.resolved, self.notes = found.spec, found.resolved, found.notes
        self.placement, self.gpu, self.batch_sizes = found.placement, found.gpu, found.batch_sizes
        return found

    def layers(self) -> tuple[Layer, ...]:
        """See Session."""
        self.links[0].send("layers")
        found: tuple[Layer, ...] = self.links[0].answer()
        return found

    def _worker(self, index: int) -> Worker:
        raise BackendError(f"model {self._model.name!r} runs in another process")

    def _close(self) -> None:
        for pipe in self._pipes:
            pipe.close()  # which ends the process
        self._process.join(timeout=_PATIENCE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


class Processes(FrameByFrame):
    """A worker whose models run in processes: it decodes, and waits for them."""

    def __init__(
        self, links: Sequence[Link], plan: Plan, scope: Scope, picture: Any, worker: int, control: Control, sink: Sink
    ) -> None:
        super().__init__(control)
        self._links, self._sink, self._writer = links, sink, Writer()
        self._errors: list[Exception] = []
        self._seen = scope != "model" and any(not model.prepare.constant for model in plan.models)
        with ExitStack() as on_error:
            on_error.callback(self._writer.close)
            for link in links:
                on_error.callback(link.close)
            self._set_up(scope, picture, worker)
            self._open = on_error.pop_all()

    @property
    def errors(self) -> list[Exception]:
        """See Strategy."""
        return self._errors

    def run(self, frames: Sequence[Frame]) -> Sequence[Delivered]:
        """See FrameByFrame."""
        places = self._writer.put([frame.picture for frame in frames]) if self._seen else None
        bare = [replace(frame, picture=None) for frame in frames]
        found: list[Done] = self._ask("run", bare, places)
        for done in found:
            self._keep(done)
        return [done.delivered for done in found]

    def beat(self) -> None:
        """See FrameByFrame."""
        self._ask("beat")

    def _set_up(self, scope: Scope, picture: Any, worker: int) -> None:
        places = None if picture is None else self._writer.put([picture])
        for link in self._links:  # one after the other: what is measured while it is set up must not be disturbed
            link.send("set_up", scope, places, worker)
            link.answer()

    def _ask(self, method: str, *given: Any) -> list[Any]:
        for link in self._links:
            link.send(method, *given)
        return [link.answer() for link in self._links]

    def _keep(self, done: Done) -> None:
        rows = done.rows
        if self._control.warming:
            table = np.frombuffer(rows, np.int64).reshape(-1, len(REQUEST_COLUMNS)).copy()
            table[:, _MARKS] |= Mark.WARMUP
            rows = table.tobytes()
        self._sink(rows)
        self._errors.extend(done.errors)
        if done.stopped is not None:
            self._control.stop(done.stopped)


def _main(pipes: list[Connection], model: ModelPlan, engine: EnginePlan, index: int, of: int) -> None:
    """The body of a process: load, say so, and answer each worker on a thread of its own until it hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    first, ids = pipes[0], itertools.count(index, of)
    with ExitStack() as stack, suppress(BrokenPipeError):
        try:
            session, loaded = _load(model, lambda *told: first.send(told))
            stack.callback(session.close)
            stack.enter_context(interpreter(engine))
            finish = load_hook(engine.finish) if engine.finish else None
        except Exception as error:
            first.send(sendable(error))
            return
        first.send(loaded)
        threads = [
            threading.Thread(target=_answer, args=(pipe, _Served(index, model, session, finish, ids))) for pipe in pipes
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _load(model: ModelPlan, tell: Tell) -> tuple[Session, Loaded]:
    clock = SystemClock()
    began, backend = clock.now(), get_backend(model.backend)
    s = backend.load(model, clock, tell)
    said = (s.spec, s.resolved, s.notes, dict(s.placement), s.gpu, s.batch_sizes, backend.versions())
    return s, Loaded(*said, began=began, loading=clock.now() - began)


def _answer(pipe: Connection, served: _Served) -> None:
    """Answer calls until the other side hangs up."""
    with suppress(EOFError, OSError):
        while True:
            method, given = pipe.recv()
            try:
                told = getattr(served, method)(*given)
            except Exception as error:
                told = sendable(error)
            pipe.send(told)
    served.close()


class _Served:
    """A model as it runs for one worker."""

    def __init__(self, index: int, model: ModelPlan, session: Session, finish: Any, ids: Iterator[int]) -> None:
        self._index, self._model, self._session, self._finish, self._ids = index, model, session, finish, ids
        self._reader, self._rows = Reader(), list[bytes]()
        self._pipeline: Pipeline | None = None
        self._told = 0

    def set_up(self, scope: Scope, places: Sequence[Shared] | None, worker: int) -> None:
        """Make the pipeline and prime it."""
        picture = self._reader.get(places)[0] if places else None
        finish = None if scope == "model" else self._finish
        with lock_setup():
            step = make_step(self._index, self._model, self._session, scope, picture, self._session.worker(worker))
            self._control = Control(_Never(), _Never())
            given = (self._control, self._rows.append, finish, worker, self._ids)
            self._pipeline, self._told = Pipeline([step], SystemClock(), *given, whole=False), 0
            self._pipeline.prime()
        self._control.warming = False  # the parent's to say

    def run(self, frames: Sequence[Frame], places: Sequence[Shared] | None) -> Done:
        """Run the model on frames whose pictures are at `places`."""
        assert self._pipeline is not None
        for frame, picture in zip(frames, self._reader.get(places or ()), strict=False):
            frame.picture = picture
        delivered = self._pipeline.process(frames)
        rows, errors = b"".join(self._rows), self._pipeline.errors[self._told :]
        self._rows.clear()
        self._told += len(errors)
        return Done(delivered, rows, [sendable(error) for error in errors], self._control.stopped)

    def beat(self) -> None:
        """Keep the model warm."""
        assert self._pipeline is not None
        self._pipeline.beat()

    def layers(self) -> tuple[Layer, ...]:
        """See Session."""
        return self._session.layers()

    def close(self) -> None:
        """Free the pipeline; another may be set up."""
        if self._pipeline is not None:
            self._pipeline.close()
            self._pipeline = None
        self._reader.close()


class _Never:
    """A rule that ends nothing."""

    def add(self, latency: int, now: int) -> bool:
        """See StopRule."""
        return False


def sendable(error: Exception) -> Exception:
    """The error, or its words where it does not survive the way through a pipe."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(str(error))
    return error
