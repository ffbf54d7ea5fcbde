"""A measurement: plan and workload in, trace out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from framepace.backends.base import get_backend
from framepace.clock.system import Clock, SystemClock
from framepace.clock.virtual import VirtualClock
from framepace.engine.engine import Engine
from framepace.errors import FramepaceError, SourceError, StoreError, one_line
from framepace.facts.address import without_secrets
from framepace.facts.failure import Failure
from framepace.facts.heldanswers import HeldAnswers
from framepace.facts.plan import Plan
from framepace.facts.trace import Stopped, Trace, TraceMeta
from framepace.facts.workload import Workload
from framepace.feeds.runstate import RunState
from framepace.interrupts import end, stopped_by
from framepace.measure.frames import Frames, decoding_gpu, open_frames
from framepace.measure.runner import Execute, Loaded, opened
from framepace.measure.servercounts import ServerCounting
from framepace.measure.standstill import Standstill
from framepace.measure.stoprules import Enough, Steady
from framepace.progress import Tell, silent
from framepace.recording.describing import describe
from framepace.recording.recorder import MakeSampling, Recorder, Writer, sampling_for
from framepace.store import MemoryWriter, OutputFolder, TraceWriter

NOTHING_SUCCEEDED = "every inference failed: "
"""Start of the note of a run in which no inference succeeded."""


def measure(
    plan: Plan,
    workload: Workload,
    *,
    folder: Path | None = None,
    clock: Clock | None = None,
    engine: Engine | None = None,
    frames: Frames | None = None,
    progress: Callable[[float], None] | None = None,
    telemetry: bool = True,
    overwrite: bool = False,
    tell: Tell = silent,
    layers: bool = False,
    answers: tuple[HeldAnswers, ...] = (),
) -> Trace:
    """Run `workload` on `plan` and return its trace.

    Ctrl-C ends the run after the request in flight and keeps everything (`meta.stopped` is 'interrupted'). So does a
    disk that fills during the run ('disk full'): the trace that is returned has all rows, the one in `folder` those
    that found room.

    Args:
        folder: where the trace is written while it is measured; None keeps it in memory.
        engine, frames: loaded models and opened sources to use again; the caller closes them.
        progress: called a few times per second with the share done.
        telemetry: whether the machine is sampled beside the run.
        overwrite: replace a trace that is in `folder`, and files of the same names.
        tell: called before the run with its slow steps (loading, building engines).
        layers: measure each layer too, after the run, where the library can.
        answers: what is known of the answers of the plan's settings, for the trace.

    Raises:
        StoreError: `folder` cannot be written, is another run's, or holds what must not be replaced.
        FramepaceError: the plan cannot be loaded, or a source cannot be opened.
    """
    clock = clock or clock_for(plan)
    with ExitStack() as stack:
        output = None
        if folder is not None:  # first: nothing is loaded for a run that cannot be stored
            output = stack.enter_context(OutputFolder(folder, "trace", overwrite))
        if frames is None:
            frames = open_frames(workload, clock, decoding_gpu(plan))
            stack.callback(frames.close)
        loaded, execute = stack.enter_context(opened(plan, workload, clock, frames, engine, tell))
        run = _Run(plan, workload, loaded, execute, frames, clock, progress)
        run.meta = replace(run.meta, answers=answers, notes=(*run.meta.notes, *(held.text for held in answers)))
        recorder = Recorder(
            _writer(output, run.meta),
            _sampling(telemetry, loaded, clock),
            on_failure=run.disk_full,
            on_flush=run.watch,
        )
        with stopped_by(run.interrupt):  # to the end, so that nothing that was measured is lost
            trace = run.record(recorder, layers)
            stack.close()
            return trace


def clock_for(plan: Plan) -> Clock:
    """The clock of a run: virtual when every backend only simulates, else the system's."""
    if all(get_backend(model.backend).simulated for model in plan.models):
        return VirtualClock()
    return SystemClock()


def _writer(output: OutputFolder | None, meta: TraceMeta) -> Writer:
    if output is None:
        return MemoryWriter(meta)
    return TraceWriter(output.path, meta, claimed=output)


def _sampling(telemetry: bool, loaded: Loaded, clock: Clock) -> MakeSampling | None:
    if not telemetry:
        return None
    return sampling_for(clock, loaded.gpus, loaded.telemetry)


@dataclass
class _Run:
    """One measurement: models that are loaded, the frames they get, and when it has measured enough."""

    plan: Plan
    workload: Workload
    loaded: Loaded
    execute: Execute
    frames: Frames
    clock: Clock
    progress: Callable[[float], None] | None
    warm: Steady = field(init=False)
    rule: Enough = field(init=False)
    state: RunState = field(init=False)
    standstill: Standstill = field(init=False)
    servers: ServerCounting = field(init=False)
    meta: TraceMeta = field(init=False)

    def __post_init__(self) -> None:
        self.warm = Steady(self.workload.warmup)
        self.rule = Enough(self.workload.stop)
        self.state = RunState(self.clock, self.warm, self.rule)
        self.standstill = Standstill(self.plan, self.state, self.clock, self.workload.load, self.loaded.slowest)
        self.servers = ServerCounting(self.plan)
        self.meta = describe(self.plan, self.workload, self.loaded, self.frames.names, self.clock)

    def disk_full(self) -> None:
        """End the run: its rows cannot be written any more."""
        self.state.stop("disk full")

    def interrupt(self) -> None:
        """End the run, and keep it."""
        self.state.stop("interrupted")

    def watch(self) -> None:
        """Report the share done, by the stop rule; end the process when a model never returns."""
        why = None if self.clock.virtual else self.standstill.look()
        if why is not None:
            end(why)
        self.servers.look(self.state.warming)
        if self.progress is not None:
            self.progress(self.rule.progress(self.clock.now()))

    def record(self, recorder: Recorder, layers: bool) -> Trace:
        """Run into `recorder` and close the trace, whatever happens."""
        errors: list[Exception] = []
        try:
            with recorder:
                errors = self.execute(self.state, recorder.sink)
                self.loaded.slowest = max(self.loaded.slowest, self.standstill.longest)
        except BaseException:
            with suppress(StoreError):  # the error that ended the run says more
                recorder.close(self._ended("failed", errors))
            raise
        meta = self._ended(self.state.stopped or "finished", errors)
        if errors and not self.state.succeeded and meta.stopped not in ("interrupted", "device lost"):
            kinds = set(_kinds(errors))  # which the first note says
            others = (note for note in meta.notes if note not in kinds)
            meta = replace(meta, stopped="failed", notes=(NOTHING_SUCCEEDED + one_line(errors[0]), *others))
        if layers and meta.stopped not in ("interrupted", "failed", "device lost"):
            meta = replace(meta, layers=self.loaded.layers())
        if recorder.error is not None:  # also when it came with the last rows, after the run
            meta = replace(meta, stopped="disk full", notes=(*meta.notes, one_line(recorder.error)))
        return recorder.close(meta)

    def _ended(self, stopped: Stopped, errors: list[Exception]) -> TraceMeta:
        """The meta of the run as it ended."""
        notes = [*self.meta.notes, *self.frames.notes, *self.loaded.notes, *_kinds(errors)]
        return replace(
            self.meta,
            models=self.loaded.specs,
            stopped=stopped,
            warmup_stable=self.warm.stable and not self.state.warming,
            notes=without_secrets(tuple(notes)),
            startup=dict(self.loaded.startup),
            failure=without_secrets(_first_failure(errors)),
            served=self.servers.counted(),
        )


def _kinds(errors: Iterable[Exception]) -> list[str]:
    """One line for each kind of error, the first one's."""
    lines: dict[str, str] = {}
    for error in errors:
        lines.setdefault(str(error).splitlines()[0], one_line(error))
    return list(lines.values())


def _first_failure(errors: Iterable[Exception]) -> Failure | None:
    """Why the first request failed, if any did; what sources report is no failure of a request."""
    for error in errors:
        if isinstance(error, FramepaceError) and not isinstance(error, SourceError):
            return Failure(reason=one_line(error), advice=error.fix or "")
        if not isinstance(error, FramepaceError):
            return Failure(reason=one_line(error))
    return None
