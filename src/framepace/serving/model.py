"""One version of a model that is served: an engine, the feed of its requests, and the thread that runs it."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Literal
from urllib import parse

from numpy.typing import NDArray

from framepace.backends.base import Session, Tensors, get_backend
from framepace.clock.system import Clock
from framepace.engine.engine import Engine
from framepace.errors import FramepaceError, UsageError
from framepace.facts.cascade import refuse_crops
from framepace.facts.model import ModelSpec
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.strategy import strategy_of
from framepace.feeds.batchrules import BatchRule
from framepace.feeds.build import batch_rule, deadline_rule
from framepace.feeds.feed import Feed
from framepace.feeds.pacer import Pacer
from framepace.feeds.runstate import RunState
from framepace.models.batchaxis import batch_symbol, declared_axes
from framepace.models.spec import inspect, metadata
from framepace.openinference.datatypes import BYTES
from framepace.openinference.errors import RequestError
from framepace.openinference.messages import InferAnswer, InferRequest, Output, Region, Wanted
from framepace.openinference.tensors import to_bytes
from framepace.postprocess.names import names_in_file, names_of
from framepace.progress import Tell, silent
from framepace.serving.feed import RequestFeed, Rules, Unfit
from framepace.serving.interface import Interface, interface_of
from framepace.serving.request import Ticket
from framepace.serving.sessions import TensorSession, unfit_texts
from framepace.serving.sharedmemory import SharedMemory
from framepace.serving.statistics import Statistics
from framepace.serving.tracing import ModelTrace, TraceSettings
from framepace.video.frame import Frame

State = Literal["LOADING", "READY", "UNLOADING", "UNAVAILABLE"]
Sink = Callable[[bytes], None]
_END_S = 2.0  # for workers that were being set up


@dataclass(frozen=True)
class Surroundings:
    """What models of a server share.

    Attributes:
        room: items that may wait for a model.
        memory: what clients share.
        traces: the folder of traces, each in that of its model; None: nothing is recorded.
        trace: which requests are recorded.
        tell: is told of slow steps.
        loads: numbers how often each version of a model was loaded.
    """

    clock: Clock
    room: int
    memory: SharedMemory = field(default_factory=SharedMemory)
    traces: Path | None = None
    trace: TraceSettings = field(default_factory=lambda: TraceSettings(available=False))
    tell: Tell = silent
    loads: Mapping[str, Iterator[int]] = field(default_factory=lambda: defaultdict(lambda: count(1)))


class ServedModel:
    """A model of a plan with its own engine. `start` loads it and returns when it takes requests.

    Args:
        plan: with this model alone.
        name: what it is called; by default as the plan calls it.
    """

    interface: Interface
    feed: RequestFeed
    engine: Engine

    def __init__(self, plan: Plan, version: str, surroundings: Surroundings, name: str = "") -> None:
        check(plan)
        self.plan = plan
        self.name = name or plan.models[0].name
        self.version = version
        self.state: State = "LOADING"
        self.reason = ""
        self._failure: FramepaceError | None = None  # why it ended, with what to do
        self.statistics = Statistics()
        self._around = surroundings
        self._clock = clock = surroundings.clock
        self._run_state = RunState(clock)
        self._run_state.succeeded = True  # or ten bad requests at first would end the run
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"model {self.name}", daemon=True)

    def start(self) -> None:
        """Load the model and wait until its workers are set up. Raises FramepaceError."""
        refuse_crops(
            self.plan, "a request has whole pictures", "serve each model alone, or run the plan: framepace run"
        )
        self.engine = Engine(self.plan, self._clock, load=self._load, outputs=self._finish, tell=self._around.tell)
        try:
            self._begin_run()
        except BaseException:
            self._end_run(_END_S)
            self.engine.close()
            raise

    def _begin_run(self) -> None:
        self.interface = self._interface(self.engine.sessions)
        self._axes = {
            model.name: session.output_axes
            for model, session in zip(self.plan.models, self.engine.sessions, strict=True)
        }
        pacer = Pacer(self.plan.engine, self._clock, self._run_state)
        self.feed = RequestFeed(
            self._rules(), self._clock, self._run_state, pacer.beat, self.statistics.executed, self._unfit()
        )
        self._thread.start()
        self._ready.wait()
        if self.state == "UNAVAILABLE":
            raise self._failure or FramepaceError(f"model {self.name!r} cannot be served", got=self.reason)

    def submit(self, ticket: Ticket) -> None:
        """Accept a request whose arrays are bound. Raises RequestError for one that is refused."""
        try:
            self.feed.put(ticket)
        except RequestError as error:
            self.statistics.refused(error.kind)
            raise

    def ticket(self, request: InferRequest, arrived: int, done: Callable[[Ticket], None]) -> Ticket:
        """The request held against the model. Raises RequestError."""
        wanted = self.interface.wanted(request)
        arrays, items = self.interface.bound(request, self._around.memory)
        for output in wanted:
            if output.region is not None:
                self._around.memory.memory(output.region)
        ticket = Ticket(arrays, items, wanted, partial(self._done, done), id=request.id, arrived=arrived)
        ticket.parameters = request.parameters
        return ticket

    def answer(self, ticket: Ticket) -> InferAnswer:
        """The answer to a request that is done. Raises its RequestError."""
        if ticket.error is not None:
            raise ticket.pop_error()
        outputs = [self._output(wanted, ticket.outputs) for wanted in ticket.wanted]
        return InferAnswer(self.name, self.version, outputs, ticket.id)

    def stop(self, seconds: float) -> None:
        """Take no more requests, answer those that were accepted within `seconds`, and free the model."""
        self.state = "UNLOADING"
        gone = RequestError(f"Request for unknown model: '{self.name}' is being unloaded", "unavailable")
        self.feed.close(gone)
        self.feed.drained(seconds)
        self._end_run(seconds)
        self.feed.abandon(gone)
        self.engine.close()
        self.state = "UNAVAILABLE"
        self.reason = "unloaded"

    def _end_run(self, seconds: float) -> None:
        """End the thread of the engine, where it runs, within that time."""
        if self._thread.is_alive():
            self._run_state.stop("finished")
            self.feed.wake()
            self._thread.join(seconds)

    def _load(self, model: ModelPlan) -> Session:
        return self._wrapped(get_backend(model.backend).load(model, self._clock, self._around.tell))

    def _unfit(self) -> Unfit | None:
        """What looks at a request before it runs, where that is needed."""
        has_texts = any(tensor.datatype == BYTES for tensor in self.interface.inputs)
        return unfit_texts if has_texts else None

    def _wrapped(self, session: Session) -> Session:
        """The session as frames with requests are run on it."""
        return TensorSession(session, self._clock.now)

    def _interface(self, sessions: Sequence[Session]) -> Interface:
        return interface_of_model(self.plan.models[0], sessions[0])

    def _output_name(self, model: str, output: str) -> str:
        """What an output of a model is called in answers."""
        return output

    def _rules(self) -> Rules:
        window = batch_rule(self.plan)
        rule = None
        if any(model.batch.policy == "deadline" for model in self.plan.models):
            rule = deadline_rule(self.plan)
        size = min(window.size, max(1, self.interface.most))
        if size < window.size:
            window = BatchRule(size)
            rule = None
        return Rules(size, self.plan.engine.workers, window, rule, self._around.room)

    def _sink(self, stack: ExitStack) -> Sink:
        """What takes the packed rows of inferences: the model's trace, where there is one."""
        folder = self._around.traces
        if folder is None:
            return _forget
        label = f"{parse.quote(self.name, safe='')}-{self.version}"
        path = folder / label / f"load-{next(self._around.loads[label])}"  # while the one before may still end
        trace = ModelTrace(path, self._around.trace, self.plan, self.engine, self._clock)
        return stack.enter_context(trace).sink

    def _begin(self) -> Feed:
        self.state = "READY"
        self._ready.set()
        return self.feed

    def _run(self) -> None:
        """The thread of the engine."""
        try:
            with ExitStack() as stack:
                sink = self._sink(stack)
                self.engine.run("pipeline", self._begin, self._run_state, sink)
            reason: str = self._run_state.stopped or "ended"
        except BaseException as error:
            if isinstance(error, FramepaceError):
                self._failure = error
            reason = str(error).splitlines()[0] or type(error).__name__
        if self.state != "UNLOADING":
            self.state = "UNAVAILABLE"
            self.reason = reason
            self.feed.abandon(RequestError(f"model '{self.name}' is not available: {reason}", "unavailable"))
        self._ready.set()

    def _finish(self, model: str, outputs: Tensors, frame: Frame) -> None:
        item = frame.picture
        item.ticket.inferred = self._clock.now()
        axes = self._axes[model]
        for name, output in outputs.items():
            item.ticket.keep(self._output_name(model, name), output, item.index, axes.get(name))

    def _done(self, done: Callable[[Ticket], None], ticket: Ticket) -> None:
        self.statistics.answered(ticket)
        done(ticket)

    def _output(self, wanted: Wanted, outputs: Mapping[str, NDArray[Any]]) -> Output:
        data = outputs[wanted.name]
        datatype = self.interface.outputs_by_name[wanted.name].datatype
        output = Output(wanted.name, datatype, data.shape, data, wanted)
        if wanted.region is not None:
            self._write(output, wanted.region)
        return output

    def _write(self, output: Output, region: Region) -> None:
        """Write an output into shared memory. Raises RequestError where it does not fit."""
        assert output.data is not None
        data = to_bytes(output.data, output.datatype)
        if len(data) > region.size:
            raise RequestError(
                f"shared memory size specified with the request for output '{output.name}' ({region.size} bytes) "
                f"should be at least {len(data)} bytes to hold the results"
            )
        self._around.memory.memory(region).write(region.offset, data)
        output.data = None


def _forget(row: bytes) -> None:
    """The sink of rows that nobody keeps."""


def interface_of_model(model: ModelPlan, session: Session) -> Interface:
    """What a loaded model takes and gives. Raises ModelError for a dtype that the protocol does not have."""
    axes = session.output_axes
    if model.batch.max == 1:  # nothing was tried: what the file says is only shown
        declared = _declared(model, session)
        axes = declared_axes(declared.outputs, batch_symbol(declared.inputs, session.resolved.picture_axes))
    platform = f"framepace_{model.backend}"
    outputs = session.spec.outputs
    return interface_of(model.name, session.resolved, outputs, axes, model.batch.max, platform, _labels(model))


def _labels(model: ModelPlan) -> Sequence[str]:
    """Names of a model's classes, from the file of its plan or its own. Raises UsageError as `names_in_file`."""
    if model.post.names:
        return names_in_file(model.post.names)
    try:
        return names_of(metadata(model.model))
    except FramepaceError:
        return ()


def _declared(model: ModelPlan, session: Session) -> ModelSpec:
    """What the model's file says; the session's own where it does not say."""
    try:
        return inspect(model.model)
    except FramepaceError:
        return session.spec


def check(plan: Plan) -> None:
    """Raise UsageError for a plan that cannot be served."""
    if strategy_of(plan.engine).models_run != "in the worker" or plan.engine.strategy == "worker-processes":
        raise UsageError("this strategy cannot be served", got=plan.engine.strategy, fix="--set strategy=workers")
    for model in plan.models:
        if model.prepare.constant:
            raise UsageError("constant inputs cannot be served", got=model.name, fix="--set prepare-constant=off")
