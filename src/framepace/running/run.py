"""A plan on live sources: loaded, started, watched over, and ended so that every picture is accounted for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from framepace.clock.system import Clock, SystemClock
from framepace.deadline import together
from framepace.engine.crops import Cut, Read
from framepace.engine.engine import Engine
from framepace.engine.packedrows import drop_rows
from framepace.errors import StoreError, one_line
from framepace.facts.address import without_secrets
from framepace.facts.plan import Plan
from framepace.facts.running import Result, RunStatus, SourceSpec, SourceStatus
from framepace.facts.trace import DropCause, Stopped, TraceMeta
from framepace.feeds.build import changing_feed, in_order
from framepace.feeds.pacer import Pacer
from framepace.feeds.runstate import RunState
from framepace.measure.frames import decoding_gpu
from framepace.models.answers import answer_reader
from framepace.models.spec import pictures_before
from framepace.postprocess.tracking import tracking
from framepace.progress import Tell, silent
from framepace.recording.standing import Standing
from framepace.running.account import Account
from framepace.running.cameras import Cameras, Limits
from framepace.running.canary import Canary
from framepace.running.finite import NotFinite
from framepace.running.flight import Misses
from framepace.running.generation import Taken, Work
from framepace.running.guard import Guard
from framepace.running.options import Options, Sink, check
from framepace.running.results import Results
from framepace.running.sourcesfile import SourcesFile
from framepace.running.supervisor import Supervisor
from framepace.running.tracing import Tracing
from framepace.units import NS_PER_MS, NS_PER_S
from framepace.video.device.decoder import accelerator
from framepace.video.frame import Frame

_TICK_S = 0.25
_NOTES_KEPT = 20


class Run:
    """A plan on live sources, from `start` to the end that `wait` waits for. Any thread may call its methods.

    Args:
        plan: what runs; the strategy has to run its models in this process.
        sources: those it begins with.
        sinks: receive the results, each source's in its order; the run opens and closes them.
        clock: by default the system's.
        tell: called with slow steps while models are loaded.

    Raises:
        UsageError: two sources have one name, an address cannot be one, or the plan's strategy uses processes.
        SourceError: a file does not exist, or holds no picture. A camera that does not answer is no error.
        ModelError, BackendError: the plan cannot be loaded.
        StoreError: the folder of the trace cannot be written.
    """

    def __init__(
        self,
        plan: Plan,
        sources: Sequence[SourceSpec],
        sinks: Sequence[Sink] = (),
        options: Options | None = None,
        *,
        clock: Clock | None = None,
        tell: Tell = silent,
    ) -> None:
        self.plan = plan
        self.options = options or Options()
        self._file: SourcesFile | None = None
        if self.options.sources_file is not None:
            self._file = SourcesFile(self.options.sources_file, self.options.of_sources)
            sources = (*sources, *self._file.sources)
        check(plan, sources, (self.options.canary, self.options.smaller))
        self._tracked = tracking(plan.models)
        self._clock = clock or SystemClock()
        self._tell = tell
        self._sinks = tuple(sinks)
        self._followers: tuple[Callable[[Result], None], ...] = ()
        self._first = tuple(sources)
        self._notes: tuple[str, ...] = ()
        self._began = time.time()
        self._began_at = self._clock.now()
        self._stopped: Stopped = "finished"
        self._done = threading.Event()
        self._fatal: BaseException | None = None
        self._misses = Misses(self.options.record_misses, self.record, self.note)
        self._canary: Canary | None = None
        self._accounts: dict[int, Account] = {}
        has_pictures = any(sink.wants_pictures for sink in self._sinks)
        self._results = Results(self._accounts, self._clock.now, has_pictures=has_pictures)
        self._engine = self._load(plan)
        with ExitStack() as on_error:
            on_error.callback(self._engine.close)
            self._make()
            on_error.pop_all()

    def _make(self) -> None:
        """The parts of the run."""
        plan = self.plan
        state = RunState(self._clock)
        pacer = Pacer(plan.engine, self._clock, state)
        self._state = state
        self._feed = changing_feed(
            plan, pacer, self._dropped, self._results.queued, stays=self.options.stays or self._file is not None
        )
        self._whole_feed = in_order(plan, self._feed, pacer)
        self._cameras = Cameras(self._feed, self._accounts, self._clock, self._limits(), self._emit)
        self._tracing = Tracing(
            plan,
            self._engine,
            self._first,
            self._cameras,
            lambda: (*self._engine.notes, *self._notes),
            self._clock,
            self.options,
            lambda: self.note("the trace cannot be written any more: the run goes on without it"),
        )
        self._tracing.watch(NotFinite(plan.names, self.note).take)
        self._standing = Standing(self._engine.gpus)
        rows = self._tracing.recorder.sink
        self._drop_rows = drop_rows(len(plan.models), rows, self._clock, state)
        work = Work(self._whole_feed, self._results, rows, Taken(state))
        self._supervisor = Supervisor(self._load, work, self._dropped, self.note, self.options.patience_s)
        self._guard = Guard(plan, self._cameras, self._accounts, self._supervisor, self.options, self._load, self.note)

    def start(self) -> Run:
        """Open the sinks, begin to read the sources and to run the plan. Raises SinkError."""
        with ExitStack() as on_error:
            on_error.callback(self._engine.close)
            for sink in self._sinks:
                on_error.callback(sink.close)
                sink.start()
            on_error.enter_context(self._tracing.recorder)
            on_error.enter_context(self._standing)
            for spec in self._first:
                self._cameras.add(spec)
            on_error.callback(self._cameras.close)
            on_error.enter_context(self._whole_feed)
            on_error.pop_all()
        self._supervisor.begin(self._engine)
        if self.options.canary is not None:
            share = self.options.canary_share
            self._canary = Canary(self.options.canary, share, self._supervisor, self._load, self.note)
        threading.Thread(target=self._watch, name="run", daemon=True).start()
        return self

    def stop(self, stopped: Stopped = "finished") -> None:
        """End the run: nothing more is read; what was taken is still inferred and delivered."""
        if self._state.stopped is None:
            self._stopped = stopped
        self._state.stop(stopped)
        self._cameras.close()

    def wait(self, seconds: float | None = None) -> RunStatus:
        """Wait for the end, for so many seconds at most; how the run stands then. Raises what ended it early."""
        self._done.wait(seconds)
        if self._fatal is not None:
            raise self._fatal
        return self.status()

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._done.is_set()

    @property
    def hanging(self) -> int:
        """How many threads never came back from the plan's libraries."""
        return self._supervisor.left_behind

    @property
    def sources(self) -> tuple[SourceSpec, ...]:
        """The sources there are."""
        return self._cameras.specs

    def add(self, spec: SourceSpec, first: int = 0) -> None:
        """Add a source, which begins with picture number `first`. Raises UsageError where there is one of that name."""
        self._cameras.add(spec, first)

    def remove(self, name: str) -> None:
        """Remove a source; frames of it that wait are dropped. Raises UsageError where there is none."""
        self._cameras.remove(name)

    def forget(self, name: str) -> SourceStatus | None:
        """Forget a source that was removed: how it stood at last; None while frames of it are on their way."""
        return self._cameras.forget(name)

    def change(self, spec: SourceSpec) -> None:
        """Change the source of that name. Raises UsageError where there is none."""
        self._cameras.change(spec)

    def follow(self, take: Callable[[Result], None]) -> None:
        """Call `take` with each result and its picture from now on; it must not wait."""
        self._followers = (*self._followers, take)
        self._results.has_pictures = True

    def follow_rows(self, take: Callable[[bytes, TraceMeta], None]) -> None:
        """Call `take` with the packed rows of the trace from now on, all of them, on the thread that writes it."""
        self._tracing.follow(take)

    def record(self, why: str) -> Path:
        """Write the last minute as a trace, which `framepace explain` explains; its folder. Raises StoreError."""
        return self._tracing.record(why)

    def status(self) -> RunStatus:
        """How it stands now."""
        now = self._clock.now()
        return RunStatus(
            plan=self.plan.names,
            began=self._began,
            seconds=(now - self._began_at) / NS_PER_S,
            target_ms=self.plan.target.budget_ms,
            sources=self._cameras.statuses(now),
            sinks=tuple(sink.status() for sink in self._sinks),
            devices=self._standing.read(),
            degraded=self._guard.degraded,
            notes=self._notes,
        )

    def note(self, text: str) -> None:
        """Add a sentence to the status, unless it is there; the oldest go."""
        text = without_secrets(text)
        if text not in self._notes:
            self._notes = (*self._notes, text)[-_NOTES_KEPT:]

    def _load(self, plan: Plan) -> Engine:
        """The plan's engine; its outputs become results by its own readers."""
        readers: dict[str, Read] = {}
        after = {model.name: model.after or "" for model in plan.models}

        def on_cut(model: str, cut: Cut) -> None:
            self._results.cut(after[model], model, cut)

        finish = partial(self._results.finish, readers)
        engine = Engine(plan, self._clock, outputs=finish, on_cut=on_cut, tell=self._tell)
        for model, session in zip(plan.models, engine.sessions, strict=True):
            readers[model.name] = answer_reader(model, session.resolved, self.note)
        return engine

    def _limits(self) -> Limits:
        return Limits(
            buffer=self.plan.source.buffer,
            stale=_ns(self.plan.source.stale_ms),
            max_age=_ns(self.options.max_age_ms),
            target=_ns(self.plan.target.budget_ms),
            pictures_before=pictures_before(self.plan),
            gpu=self._decoding_gpu(),
        )

    def _decoding_gpu(self) -> int | None:
        """Which GPU decodes. Raises UsageError where none can, before any source is opened."""
        gpu = decoding_gpu(self.plan)
        if gpu is not None:
            accelerator(gpu)
        return gpu

    def _dropped(self, frame: Frame, cause: int) -> None:
        self._results.dropped(frame, cause)
        self._drop_rows(frame, cause)

    def _emit(self, result: Result) -> None:
        result = self._tracked(result)
        for sink in self._sinks:
            sink.put(result)
        for take in self._followers:
            take(result)

    def _watch(self) -> None:
        """The thread that watches over the run, to its end."""
        try:
            while self._supervisor.look():
                self._look()
                time.sleep(_TICK_S)
        except BaseException as error:
            self._fatal = error
            self.stop("failed")
        finally:
            self._end()

    def _look(self) -> None:
        """What is decided a few times per second."""
        now = self._clock.now()
        if self.options.seconds is not None and now - self._began_at >= self.options.seconds * NS_PER_S:
            self.stop()
        if self._file is not None:
            self._file.look(self)
        self._guard.look(now)
        if self._canary is not None and not self._guard.runs_smaller:
            self._canary.look(now)
        self._misses.look(now, sum(account.counts().late for account in list(self._accounts.values())))

    def _end(self) -> None:
        """End what is still at work; in the thread that watches."""
        self._state.stop(self._stopped)
        self._cameras.close()
        self._supervisor.join()
        if self._canary is not None:
            self._canary.close()
        self._whole_feed.__exit__(None, None, None)
        self._tracing.recorder.__exit__(None, None, None)
        self._drop_what_waits()
        self._standing.__exit__(None, None, None)
        together([sink.close for sink in self._sinks])  # or those that hang would add up
        try:
            self._tracing.close(self._stopped)
        except StoreError as error:
            self.note(f"the trace could not be closed: {one_line(error)}")
        self._done.set()

    def _drop_what_waits(self) -> None:
        """Frames that no engine took."""
        for account in self._accounts.values():
            for frame in account.waiting():
                account.drop(frame, DropCause.ENDED)


def _ns(ms: float | None) -> int | None:
    return None if ms is None else round(ms * NS_PER_MS)
