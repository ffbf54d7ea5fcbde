"""The strategy 'worker-processes': every worker is a process with its own interpreter and its own models.

Open loads are dealt out in turn; a closed loop runs in each process. Rows come back through a pipe. The measuring
process loads no model.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.clock.system import Clock, SystemClock
from framepace.engine.childprocess import Channel, ChildProcess, Progress, end_all, sendable
from framepace.engine.engine import Engine
from framepace.engine.packedrows import Sink, mark_warmup, unpacked
from framepace.errors import UsageError
from framepace.facts.model import Layer, ModelSpec
from framepace.facts.plan import Plan
from framepace.facts.trace import REQUEST_COLUMNS, Outcome
from framepace.facts.workload import Closed, Stop, Warmup, Workload
from framepace.feeds.runstate import RunState
from framepace.measure.frames import LEAD_NS, Frames, open_frames
from framepace.measure.stoprules import Enough, Steady
from framepace.progress import Tell, silent
from framepace.recording.recorder import Rows

_AT = {name: index for index, name in enumerate(REQUEST_COLUMNS)}
_POLL_S = 0.1  # rows are sent, and the end of the run is noticed, that often
_FOREVER_S = 86400.0
_STOP = "stop"
_LAYERS = "layers"


@dataclass(frozen=True)
class LoadedEngine:
    """The facts that a worker process sends about its engine once it is loaded (see Engine)."""

    specs: tuple[ModelSpec, ...]
    notes: tuple[str, ...]
    placement: dict[str, dict[str, int]]
    batch_sizes: dict[str, tuple[int, ...]]
    gpus: dict[int, str]
    libraries: dict[str, str]
    simulated: bool
    slowest: int
    startup: dict[str, int]


@dataclass(frozen=True)
class Ended:
    """What a worker process sends when it is done: errors of its requests, and what its sessions said."""

    errors: list[Exception]
    notes: tuple[str, ...]


class WorkerProcesses:
    """The processes of one measurement, with their models loaded. Describes them as an Engine does.

    The first process loads before the others start: what it builds and caches (TensorRT engines, converted models),
    they find. `startup` is that of the first, with 'workers' for what the others took (ns).

    Raises UsageError where the case cannot be split, and what loading raises; no process is left then.
    """

    def __init__(self, plan: Plan, workload: Workload, clock: Clock, tell: Tell) -> None:
        if clock.virtual:
            raise UsageError("processes cannot share a virtual clock", fix="use strategy: workers")
        self._clock = clock
        self._last_model = len(plan.models) - 1
        self._children: list[ChildProcess] = []
        try:
            loaded = self._start_all(plan, workload, tell)
        except BaseException:
            self.close()
            raise
        self.specs = loaded.specs
        self.notes = loaded.notes
        self.placement = loaded.placement
        self.batch_sizes = loaded.batch_sizes
        self.gpus = loaded.gpus
        self.libraries = loaded.libraries
        self.simulated = loaded.simulated
        self.slowest = loaded.slowest
        self.startup = loaded.startup

    def _start_all(self, plan: Plan, workload: Workload, tell: Tell) -> LoadedEngine:
        """Start the first process, then the others; what the first has loaded."""
        workers = plan.engine.workers
        part = _part(plan, workload, workers)
        began = self._clock.now()
        loaded = self._start(part, range(1), workers, tell)[0]
        first_loaded = self._clock.now()
        self._start(part, range(1, workers), workers, silent)
        durations = {"models": first_loaded - began, "workers": self._clock.now() - first_loaded}
        return dataclasses.replace(loaded, startup=loaded.startup | durations)

    def _start(self, part: tuple[Plan, Workload], indices: range, workers: int, tell: Tell) -> list[LoadedEngine]:
        """Start processes and wait until all of them have loaded their models."""
        children = [ChildProcess(f"worker process {index}", _serve, *part, index, workers) for index in indices]
        self._children += children
        return [child.channel.receive(tell) for child in children]

    def telemetry(self) -> bytes:
        """Nothing: devices that are simulated have a virtual clock, which processes cannot share."""
        return b""

    def run(self, state: RunState, sink: Sink) -> list[Exception]:
        """Let all begin at one time; rows go to `sink`, deliveries to `state`, until it stops the run.

        Returns the errors of failed requests. Raises what ended a process, and BackendError when one has died.
        """
        begin = self._clock.now() + LEAD_NS
        running = dict(enumerate(child.channel for child in self._children))
        _send_to_all(running, begin)
        with state.serving():
            return self._serve(running, state, sink)

    def _serve(self, running: dict[int, Channel], state: RunState, sink: Sink) -> list[Exception]:
        """Take what the processes send until they are done."""
        errors: list[Exception] = []
        stopping = False
        while running:
            state.look(self._clock.now())
            if state.stopped is not None and not stopping:
                stopping = True
                _send_to_all(running, _STOP)
            errors += self._receive(running, state, sink)
        return errors

    def _receive(self, running: dict[int, Channel], state: RunState, sink: Sink) -> list[Exception]:
        """Take what the processes have sent; those that are done leave `running`. The errors of their requests."""
        errors: list[Exception] = []
        for index in _ready(running):
            message: bytes | Ended = running[index].receive()
            if isinstance(message, bytes):
                self._record(message, index, state, sink)
                continue
            errors.extend(message.errors)
            self.notes = (*self.notes, *(note for note in message.notes if note not in self.notes))
            del running[index]
        return errors

    def layers(self) -> dict[str, tuple[Layer, ...]]:
        """See Engine; after the run."""
        channel = self._children[0].channel
        channel.send(_LAYERS)
        layers: dict[str, tuple[Layer, ...]] = channel.receive()
        return layers

    def close(self) -> None:
        """End the processes. Idempotent."""
        end_all(self._children)

    def _record(self, packed: bytes, index: int, state: RunState, sink: Sink) -> None:
        """Rows of process number `index`, numbered as those of one run."""
        rows = self._renumbered(unpacked(packed), index)
        state.succeeded = state.succeeded or bool((rows[:, _AT["outcome"]] == Outcome.OK).any())
        last = rows[rows[:, _AT["model"]] == self._last_model]
        for due, delivered in last[:, [_AT["due"], _AT["delivered"]]].tolist():
            state.delivered(delivered - due, delivered)
        if state.warming:
            mark_warmup(rows)
        sink(rows.tobytes())

    def _renumbered(self, rows: NDArray[np.int64], index: int) -> NDArray[np.int64]:
        rows[:, _AT["worker"]] = index
        for column in (_AT["frame"], _AT["batch_id"]):
            rows[:, column] = rows[:, column] * len(self._children) + index
        return rows


def _send_to_all(channels: Mapping[int, Channel], message: int | str) -> None:
    for channel in channels.values():
        channel.send(message)


def _ready(channels: Mapping[int, Channel]) -> list[int]:
    """Keys of the channels with a message; none after a moment without."""
    pipes = wait([channel.pipe for channel in channels.values()], timeout=_POLL_S)
    return [key for key, channel in channels.items() if channel.pipe in pipes]


def _part(plan: Plan, workload: Workload, workers: int) -> tuple[Plan, Workload]:
    """What one process runs: one worker, its part of the load, until it is told to stop."""
    load = workload.load
    if isinstance(load, Closed):
        load = Closed(concurrency=max(1, (load.concurrency or workers) // workers))
    engine = replace(plan.engine, workers=1, strategy="workers", decode="inline")
    no_warmup = Warmup(seconds_max=0.0)  # the parent judges it, over all processes
    stop = Stop(seconds=_FOREVER_S)
    return replace(plan, engine=engine), replace(workload, load=load, stop=stop, warmup=no_warmup)


def _serve(pipes: list[Connection], plan: Plan, workload: Workload, index: int, workers: int) -> None:
    """The body of a worker process. What goes wrong is sent; where nobody listens any more, it ends."""
    pipe = pipes[0]
    with ExitStack() as stack:
        try:
            _work(stack, pipe, plan, workload, (index, workers))
        except (EOFError, BrokenPipeError):
            return
        except Exception as error:
            pipe.send(sendable(error))


def _work(stack: ExitStack, pipe: Connection, plan: Plan, workload: Workload, share: tuple[int, int]) -> None:
    """Load, report it, run until told to stop; then layers are measured when asked. `stack` closes what is opened."""
    clock = SystemClock()
    engine = Engine(plan, clock, tell=lambda text, share: pipe.send(Progress(text, share)))
    stack.callback(engine.close)
    frames = open_frames(workload, clock)
    stack.callback(frames.close)
    pipe.send(_describe(engine))
    pipe.send(_run(pipe, engine, frames, workload, share))
    while pipe.recv() != _LAYERS:  # a stop that came when the run was over
        pass
    pipe.send(engine.layers())
    pipe.recv()


def _describe(engine: Engine) -> LoadedEngine:
    return LoadedEngine(
        specs=engine.specs,
        notes=engine.notes,
        placement=engine.placement,
        batch_sizes=engine.batch_sizes,
        gpus=engine.gpus,
        libraries=engine.libraries,
        simulated=engine.simulated,
        slowest=engine.slowest,
        startup=engine.startup,
    )


def _run(pipe: Connection, engine: Engine, frames: Frames, workload: Workload, share: tuple[int, int]) -> Ended:
    """Wait for the time to begin; run, sending rows, until the parent says so."""
    begin: int = pipe.recv()
    state = RunState(engine.clock, Steady(workload.warmup), Enough(workload.stop))
    rows = Rows()
    feed = partial(frames.feed, engine.plan, workload, engine.clock, state, rows.add, start=begin, share=share)
    with _sending(pipe, rows, state):
        errors = engine.run(workload.scope, feed, state, rows.add, frames.sample)
    notes = [note for session in engine.sessions for note in session.notes]
    return Ended([sendable(error) for error in errors], tuple(notes))


@contextmanager
def _sending(pipe: Connection, rows: Rows, state: RunState) -> Iterator[None]:
    """Inside, a thread sends the rows as they come; afterwards all of them are sent."""
    over = threading.Event()
    sender = threading.Thread(target=_send_rows, args=(pipe, rows, state, over), daemon=True)
    sender.start()
    try:
        yield
    finally:
        over.set()
        sender.join()


def _send_rows(pipe: Connection, rows: Rows, state: RunState, over: threading.Event) -> None:
    """Send rows every moment until the run is `over`; stop it when the parent says so or is gone."""
    ended = False
    while not ended:
        ended = over.wait(_POLL_S)  # and then once more, for the rows of the frames that were in work
        try:
            if pipe.poll():
                pipe.recv()
                state.stop("finished")
            if packed := rows.drain():
                pipe.send(packed)
        except (EOFError, OSError):
            state.stop("finished")
            return
