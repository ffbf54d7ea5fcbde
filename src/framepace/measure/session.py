"""A measurement: plan and workload in, trace out. The only place where a run is started, timed and recorded."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from framepace.backends.base import get_backend
from framepace.clock.system import Clock, SystemClock
from framepace.clock.virtual import VirtualClock
from framepace.engine.engine import Engine
from framepace.errors import StoreError
from framepace.facts.plan import Plan
from framepace.facts.trace import Trace, TraceMeta
from framepace.facts.workload import Workload
from framepace.feeds.feed import Feed
from framepace.feeds.runstate import Control
from framepace.measure.frames import Frames, open_frames
from framepace.measure.stop import Enough, Steady
from framepace.measure.workerprocesses import run_processes
from framepace.progress import Tell, silent
from framepace.recording import machine
from framepace.recording.gpu import gpu_samplers
from framepace.recording.host import host_sampler
from framepace.recording.telemetry import Telemetry
from framepace.simulate.telemetry import VirtualTelemetry
from framepace.store import MemoryWriter, TraceWriter, trace_id

_FLUSH_S = 0.25


class Rows:
    """Collects packed rows from any thread; `drain` takes what is there."""

    def __init__(self) -> None:
        self._rows: list[bytes] = []
        self.add = self._rows.append

    def drain(self) -> bytes:
        """All rows so far, joined. Appending goes on meanwhile: only the part that was seen is removed."""
        count = len(self._rows)
        taken = b"".join(self._rows[:count])
        del self._rows[:count]
        return taken


class _Flusher:
    """Moves rows to the writer while the run goes on, and tells the progress; stops the run when writing fails."""

    def __init__(
        self, writer: MemoryWriter | TraceWriter, tables: dict[str, Rows], control: Control, tell: Callable[[], None]
    ) -> None:
        self._writer, self._tables, self._control, self._tell = writer, tables, control, tell
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="flusher", daemon=True)
        self.error: StoreError | None = None

    def __enter__(self) -> _Flusher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._flush()

    def _loop(self) -> None:
        while not self._end.wait(_FLUSH_S):
            self._flush()
            self._tell()

    def _flush(self) -> None:
        for name, rows in self._tables.items():
            packed = rows.drain()
            if packed and self.error is None:
                try:
                    self._writer.append(name, packed)
                except StoreError as error:
                    self.error = error
                    self._control.stop("disk full")


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
) -> Trace:
    """Run `workload` on `plan` and return its trace.

    Ctrl-C ends the run after the request in flight and keeps everything (`meta.stopped` is 'interrupted').

    Args:
        folder: where the trace is written while it is measured; None keeps it in memory.
        engine, frames: loaded models and opened sources to use again; the caller closes them.
        progress: called a few times a second with the share done.
        tell: hears of what takes long before the run (loading, building engines).
        layers: measure each layer too, after the run, where the library can.

    Raises:
        FramepaceError: the plan cannot be loaded, a source cannot be opened, or the disk is full (what was measured
            is in `folder`).
    """
    clock = clock or clock_for(plan)
    with ExitStack() as stack:
        if engine is None:
            engine = Engine(plan, clock, tell)
            stack.callback(engine.close)
        if frames is None:
            frames = open_frames(workload, clock)
            stack.callback(frames.close)
        return _Run(plan, workload, engine, frames, clock, folder, overwrite, telemetry, progress, layers).run()


def clock_for(plan: Plan) -> Clock:
    """The clock of a run: virtual when every backend only simulates, else the system's."""
    simulated = all(get_backend(model.backend).simulated for model in plan.models)
    return VirtualClock() if simulated else SystemClock()


class _Run:
    """One measurement from its parts."""

    def __init__(
        self,
        plan: Plan,
        workload: Workload,
        engine: Engine,
        frames: Frames,
        clock: Clock,
        folder: Path | None,
        overwrite: bool,
        telemetry: bool,
        progress: Callable[[float], None] | None,
        layers: bool,
    ) -> None:
        self._plan, self._workload, self._engine, self._frames, self._clock = plan, workload, engine, frames, clock
        self._warm, self._rule = Steady(workload.warmup), Enough(workload.stop)
        self._control = Control(self._warm, self._rule, clock)
        self._layers = layers
        self._progress, self._telemetry = progress, telemetry
        self._rows = {"requests": Rows(), "telemetry": Rows()}
        self._meta = self._describe()
        self._writer = MemoryWriter(self._meta) if folder is None else TraceWriter(folder, self._meta, overwrite)

    def run(self) -> Trace:
        """Measure, and close the trace whatever happens."""
        sampler = self._sampler()
        errors: list[Exception] = []
        try:
            with self._flusher() as flusher, _interruptible(self._control), sampler or ExitStack():
                errors = self._go()
        except BaseException:
            self._writer.close(self._closed("failed", errors, sampler))
            raise
        trace = self._writer.close(self._closed(self._control.stopped or "finished", errors, sampler))
        if flusher.error is not None:
            raise flusher.error
        return trace

    def _sampler(self) -> Telemetry | VirtualTelemetry | None:
        if self._telemetry and isinstance(self._clock, VirtualClock):
            return VirtualTelemetry(self._rows["telemetry"].add, self._clock, self._engine.telemetry)
        if not self._telemetry or self._clock.virtual:
            return None
        return Telemetry(self._rows["telemetry"].add, samplers=[host_sampler(), *gpu_samplers(self._engine.gpus)])

    def _go(self) -> list[Exception]:
        sink = self._rows["requests"].add
        if self._plan.engine.strategy == "worker-processes":
            startup = self._engine.startup
            return run_processes(self._plan, self._workload, self._clock, self._control, sink, startup)
        feeds: list[Feed] = []

        def begin() -> Feed:
            feeds.append(self._frames.feed(self._plan, self._workload, self._clock, self._control, sink))
            return feeds[0]

        errors = self._engine.run(self._workload.scope, begin, self._control, sink, self._frames.sample)
        return errors + [error for feed in feeds for error in getattr(feed, "errors", {}).values()]

    def _flusher(self) -> _Flusher:
        return _Flusher(self._writer, self._rows, self._control, self._tell)

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self._rule.progress(self._clock.now()))

    def _describe(self) -> TraceMeta:
        probed = machine.probe()
        return TraceMeta(
            id=trace_id(),
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            machine=_with_libraries(probed, self._engine.libraries),
            models=self._engine.specs,
            subject_plan=self._plan,
            workload=self._workload,
            sources=self._frames.names,
            clock="virtual" if self._clock.virtual else "monotonic",
            simulated=self._engine.simulated,
            placement=self._engine.placement,
            batch_sizes=self._engine.batch_sizes,
            framepace=probed.libraries.get("framepace", ""),
        )

    def _closed(self, stopped: str, errors: list[Exception], sampler: Telemetry | VirtualTelemetry | None) -> TraceMeta:
        from msgspec.structs import replace

        notes = [*self._frames.notes, *self._engine.notes, *dict.fromkeys(str(e).splitlines()[0] for e in errors)]
        if self._control.warming or not self._warm.stable:
            notes.append("warm-up ended by its time limit: the latency level was not stable yet")
        if sampler is not None:
            notes += [f"telemetry without {name}: {why}" for name, why in sampler.failures.items()]
        overhead = sampler.overhead if sampler is not None else {}
        layers = self._engine.layers() if self._layers and stopped not in ("failed", "device lost") else {}
        return replace(
            self._meta,
            stopped=stopped,
            warmup_stable=self._warm.stable,
            notes=tuple(notes),
            overhead=overhead,
            layers=layers,
            startup=dict(self._engine.startup),
        )


def _with_libraries(probed: Any, libraries: dict[str, str]) -> Any:
    from msgspec.structs import replace

    return replace(probed, libraries={**probed.libraries, **libraries})


@contextmanager
def _interruptible(control: Control) -> Iterator[None]:
    """The first Ctrl-C stops the run and keeps it; a second one is Python's own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def stop(signum: int, frame: Any) -> None:
        control.stop("interrupted")
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
