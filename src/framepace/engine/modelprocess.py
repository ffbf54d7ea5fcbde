"""The strategy 'processes': each model in its own process, with its own interpreter.

Frames are decoded by the worker and put into shared memory once; what crosses the pipes is where they are, and rows.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from framepace.backends.base import Session, Tensors, Worker, get_backend
from framepace.clock.system import SystemClock
from framepace.devices.cuda import lock_setup
from framepace.engine.childprocess import ChildProcess, Progress, sendable, serve_calls
from framepace.engine.packedrows import marked_warmup
from framepace.engine.pipeline import Delivered, Pipeline
from framepace.engine.processstate import interpreter
from framepace.engine.step import Finish, Run, finish_hook, make_step
from framepace.engine.strategies import FrameByFrame, Strategy
from framepace.errors import BackendError
from framepace.facts.model import Layer, ModelSpec
from framepace.facts.plan import EnginePlan, ModelPlan, Plan
from framepace.facts.trace import Stopped
from framepace.facts.workload import Scope
from framepace.feeds.runstate import RunState
from framepace.models.spec import Resolved
from framepace.progress import Tell
from framepace.video import history
from framepace.video.frame import Frame
from framepace.video.sharedframes import Reader, Shared, Writer


@dataclass(frozen=True)
class Loaded:
    """The message of a process that has loaded its model; times in ns."""

    spec: ModelSpec
    resolved: Resolved
    notes: tuple[str, ...]
    placement: dict[str, int]
    gpu: str | None
    batch_sizes: tuple[int, ...]
    libraries: dict[str, str]
    slowest: int
    began: int
    loading: int


class Done(NamedTuple):
    """The answer of a process to a batch: its rows, new errors, why the run must stop if it must, what came out.

    `outputs` holds, by the number of the frame, what the parent wants to have; nothing where it wants none. `notes` are
    the session's where there are new ones.
    """

    delivered: Delivered
    rows: bytes
    errors: list[Exception]
    stopped: Stopped | None
    outputs: dict[int, Tensors]
    notes: tuple[str, ...]


class ModelProcess(Session):
    """A model loaded by its own process, which starts at once; `wait` until it is loaded before anything else."""

    def __init__(self, plan: Plan, index: int) -> None:
        self._model = plan.models[index]
        self.spawned = SystemClock().now()
        self._child = ChildProcess(
            f"the process of model {self._model.name!r}",
            _serve_model,
            self._model,
            plan.engine,
            index,
            len(plan.models),
            pipes=plan.engine.workers,
        )
        self.channels = self._child.channels  # one per worker

    def wait(self, tell: Tell) -> Loaded:
        """What was loaded, once it is. Raises what loading raised, and BackendError when the process has died."""
        loaded: Loaded = self._child.channel.receive(tell)
        self.spec = loaded.spec
        self.resolved = loaded.resolved
        self.notes = loaded.notes
        self.placement = loaded.placement
        self.gpu = loaded.gpu
        self.batch_sizes = loaded.batch_sizes
        self.libraries = loaded.libraries
        self.slowest = loaded.slowest
        return loaded

    def take_notes(self, notes: Sequence[str]) -> None:
        """Add what its session said since it was loaded."""
        self.notes = (*self.notes, *(note for note in notes if note not in self.notes))

    def layers(self) -> tuple[Layer, ...]:
        """See Session."""
        self._child.channel.call("layers")
        layers: tuple[Layer, ...] = self._child.channel.answer()
        return layers

    def _worker(self, index: int) -> Worker:
        raise BackendError(f"model {self._model.name!r} runs in another process")

    def _close(self) -> None:
        self._child.end()


class ModelProcesses:
    """The models of a plan, loaded side by side by their own processes.

    `outputs` receives in this process what the models say, in place of the plan's hook in theirs.

    `startup` holds for each model 'start NAME', what its process took until it began to load, and 'load NAME', in ns.
    Raises what loading a model raises; no process is left then.
    """

    def __init__(self, plan: Plan, tell: Tell, outputs: Finish | None = None) -> None:
        self._plan = plan
        self._outputs = outputs
        self._processes: list[ModelProcess] = []
        self.startup: dict[str, int] = {}
        with ExitStack() as on_error:
            on_error.callback(self.close)
            for index in range(len(plan.models)):
                self._processes.append(ModelProcess(plan, index))
            for model, process in zip(plan.models, self._processes, strict=True):
                loaded = process.wait(tell)
                self.startup[f"start {model.name}"] = loaded.began - process.spawned
                self.startup[f"load {model.name}"] = loaded.loading
            on_error.pop_all()

    @property
    def sessions(self) -> list[Session]:
        """The models, in the order of the plan."""
        return list(self._processes)

    def strategy(self, run: Run, worker: int) -> Strategy:
        """Worker number `worker`, set up for the calling thread."""
        return Processes(self._processes, self._plan, run, worker, self._outputs)

    def close(self) -> None:
        """End the processes. Idempotent."""
        for process in reversed(self._processes):
            process.close()


class Processes(FrameByFrame):
    """A worker whose models run in processes: it decodes, and waits for them."""

    def __init__(
        self, processes: Sequence[ModelProcess], plan: Plan, run: Run, worker: int, outputs: Finish | None = None
    ) -> None:
        super().__init__(run.state)
        self._processes = processes
        self._channels = [process.channels[worker] for process in processes]
        self._names = plan.names
        self._outputs = outputs
        self._sink = run.sink
        self._writer = Writer()
        self._errors: list[Exception] = []
        self._sends_pictures = run.scope != "model" and any(not model.prepare.constant for model in plan.models)
        with ExitStack() as on_error:
            on_error.callback(self._writer.close)
            for channel in self._channels:
                on_error.callback(channel.hang_up, "close")
            self._set_up(run.scope, run.picture, worker)
            self._open = on_error.pop_all()

    @property
    def errors(self) -> list[Exception]:
        """See Strategy."""
        return self._errors

    def run(self, frames: Sequence[Frame]) -> Sequence[Delivered]:
        """See FrameByFrame."""
        places = None
        if self._sends_pictures:
            places = self._writer.put([picture for frame in frames for picture in history.pictures(frame.picture)])
        bare_frames = [replace(frame, picture=history.without_pictures(frame.picture)) for frame in frames]
        answers: list[Done] = self._call_all("run", bare_frames, places)
        for process, name, done in zip(self._processes, self._names, answers, strict=True):
            self._record(done)
            process.take_notes(done.notes)
            self._hand_out(name, done, frames)
        return [done.delivered for done in answers]

    def beat(self) -> None:
        """See FrameByFrame."""
        self._call_all("beat")

    def _set_up(self, scope: Scope, picture: Any, worker: int) -> None:
        places = None if picture is None else self._writer.put([picture])
        # One after the other: setting one up must not disturb what another measures.
        for process, channel in zip(self._processes, self._channels, strict=True):
            channel.call("set_up", scope, places, worker, self._outputs is not None)
            process.take_notes(channel.answer())

    def _call_all(self, method: str, *arguments: Any) -> list[Any]:
        for channel in self._channels:
            channel.call(method, *arguments)
        return [channel.answer() for channel in self._channels]

    def _hand_out(self, name: str, done: Done, frames: Sequence[Frame]) -> None:
        if self._outputs is None:
            return
        for frame in frames:
            if frame.number in done.outputs:
                self._outputs(name, done.outputs[frame.number], frame)

    def _record(self, done: Done) -> None:
        self._sink(marked_warmup(done.rows) if self._state.warming else done.rows)
        self._errors.extend(done.errors)
        if done.delivered.failed:
            self._state.failed()
        else:
            self._state.succeeded = True
        if done.stopped == "device lost":
            self._state.stop(done.stopped)


def _serve_model(pipes: list[Connection], model: ModelPlan, engine: EnginePlan, index: int, models: int) -> None:
    """The body of a process: load, report it, and answer each worker on its own thread until it hangs up."""
    first = pipes[0]
    batch_ids = itertools.count(index, models)
    with ExitStack() as stack, suppress(BrokenPipeError):
        try:
            session, loaded = _load(model, lambda text, share: first.send(Progress(text, share)))
            stack.callback(session.close)
            stack.enter_context(interpreter(engine, SystemClock()))
            finish = finish_hook(engine.finish)
        except Exception as error:
            first.send(sendable(error))
            return
        first.send(loaded)
        threads = [
            threading.Thread(target=_serve_worker, args=(pipe, _Served(index, model, session, finish, batch_ids)))
            for pipe in pipes
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _load(model: ModelPlan, tell: Tell) -> tuple[Session, Loaded]:
    clock = SystemClock()
    began = clock.now()
    session = get_backend(model.backend).load(model, clock, tell)
    loaded = Loaded(
        spec=session.spec,
        resolved=session.resolved,
        notes=session.notes,
        placement=dict(session.placement),
        gpu=session.gpu,
        batch_sizes=session.batch_sizes,
        libraries=dict(session.libraries),
        slowest=session.slowest,
        began=began,
        loading=clock.now() - began,
    )
    return session, loaded


def _serve_worker(pipe: Connection, served: _Served) -> None:
    serve_calls(pipe, served.methods)
    served.close()


class _Served:
    """A model as it runs for one worker."""

    def __init__(
        self, index: int, model: ModelPlan, session: Session, finish: Finish | None, batch_ids: Iterator[int]
    ) -> None:
        self._index = index
        self._model = model
        self._session = session
        self._finish = finish
        self._batch_ids = batch_ids
        self._reader = Reader()
        self._rows: list[bytes] = []
        self._outputs: dict[int, Tensors] = {}
        self._pipeline: Pipeline | None = None
        self._errors_sent = 0
        self._notes_sent = 0

    @property
    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """The methods that the parent may call, by name."""
        return {
            "set_up": self.set_up,
            "run": self.run,
            "beat": self.beat,
            "layers": self._session.layers,
            "close": self.close,
        }

    def set_up(
        self, scope: Scope, places: Sequence[Shared] | None, worker: int, sends_outputs: bool
    ) -> tuple[str, ...]:
        """Make the pipeline and prime it; what the session says of it."""
        finish = self._keep if sends_outputs else self._finish
        picture = self._reader.get(places)[0] if places else None
        with lock_setup():
            self._state = RunState(SystemClock())  # the parent decides on warm-up and end
            run = Run(scope, self._state, self._rows.append, picture, finish, self._batch_ids)
            step = make_step(self._index, self._model, self._session, self._session.worker(worker), run, worker)
            self._pipeline = Pipeline([step], SystemClock(), run, worker, whole=False)
            self._errors_sent = 0
            self._pipeline.prime()
        return self._new_notes()

    def run(self, frames: Sequence[Frame], places: Sequence[Shared] | None) -> Done:
        """Run the model on frames whose pictures are at `places`."""
        assert self._pipeline is not None
        pictures = iter(self._reader.get(places or ()))
        for frame in frames:
            frame.picture = history.with_pictures(frame.picture, pictures)
        delivered = self._pipeline.process(frames)
        rows = b"".join(self._rows)
        self._rows.clear()
        errors = self._pipeline.errors[self._errors_sent :]
        self._errors_sent += len(errors)
        outputs = self._outputs
        self._outputs = {}
        sent = [sendable(error) for error in errors]
        return Done(delivered, rows, sent, self._state.stopped, outputs, self._new_notes())

    def _new_notes(self) -> tuple[str, ...]:
        """What the session said since it was asked last."""
        notes = self._session.notes[self._notes_sent :]
        self._notes_sent += len(notes)
        return notes

    def _keep(self, model: str, outputs: Tensors, frame: Frame) -> None:
        """Keep a frame's outputs for the parent; the worker's buffers are used again."""
        self._outputs[frame.number] = {name: np.array(array) for name, array in outputs.items()}

    def beat(self) -> None:
        """Keep the model warm."""
        assert self._pipeline is not None
        self._pipeline.beat()

    def close(self) -> None:
        """Free the pipeline; another may be set up."""
        if self._pipeline is not None:
            self._pipeline.close()
            self._pipeline = None
        self._reader.close()
