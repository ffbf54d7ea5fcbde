"""The trace of a run: the last minute in memory, and segments on disk where a folder was named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec.structs import replace

from framepace.analyze.sampling import sampled
from framepace.clock.system import Clock
from framepace.engine.engine import Engine
from framepace.engine.packedrows import unpacked
from framepace.facts.address import without_secrets
from framepace.facts.plan import Plan
from framepace.facts.running import SourceSpec
from framepace.facts.trace import Stopped, TraceMeta
from framepace.facts.workload import MOST_CAMERAS, SYNTHETIC, Closed, Input, Load, Paced, Replay, Workload
from framepace.recording.describing import describe
from framepace.recording.gpu import gpu_samplers
from framepace.recording.host import host_sampler
from framepace.recording.recorder import MakeSampling, Recorder, Writer
from framepace.recording.telemetry import Sink, Telemetry
from framepace.running.cameras import Cameras
from framepace.running.flight import FlightRecorder, Followed, Ring, Tee
from framepace.running.options import Options
from framepace.store import RotatingWriter

_TELEMETRY_S = 0.1  # between samples; a measurement takes them more often
_FOLDER = Path("framepace-out")
_SEGMENTS = "trace"


class Tracing:
    """Records a run, and makes recordings of its last minute.

    Args:
        cameras: the sources.
        notes: sentences for whoever reads a trace.
        options: `out`, the folder of the trace and of recordings (None: no trace is written, and recordings go to
            framepace-out), `rotation` and `share`.
        on_failure: called once when the trace cannot be written any more.
    """

    def __init__(
        self,
        plan: Plan,
        engine: Engine,
        sources: tuple[SourceSpec, ...],
        cameras: Cameras,
        notes: Callable[[], tuple[str, ...]],
        clock: Clock,
        options: Options,
        on_failure: Callable[[], None],
    ) -> None:
        self._cameras = cameras
        self._notes = notes
        self._meta = describe(plan, _workload(plan, sources), engine, (), clock)
        self._ring = Ring(clock.now)
        writer: Writer = self._ring
        if options.out is not None:
            segments = RotatingWriter(options.out / _SEGMENTS, self.meta, options.rotation)
            writer = Tee(self._ring, Sampled(segments, options.share))
        self._followed = Followed(writer)
        self.recorder = Recorder(self._followed, _sampling(engine, clock), on_failure=on_failure)
        self._flight = FlightRecorder(options.out or _FOLDER, self._ring, self._recording)

    def meta(self) -> TraceMeta:
        """What is known of the run now."""
        notes = without_secrets((*self._meta.notes, *self._notes()))
        return replace(self._meta, sources=without_secrets(self._cameras.names), notes=notes)

    def watch(self, take: Callable[[bytes], None]) -> None:
        """Call `take` with packed rows from now on; four times per second."""
        self._followed.follow(take)

    def follow(self, take: Callable[[bytes, TraceMeta], None]) -> None:
        """Call `take` with packed rows, and what is known of the run then, from now on; four times per second."""
        self._followed.follow(lambda rows: take(rows, self.meta()))

    def _recording(self, path: Path, numbers: Sequence[int]) -> TraceMeta:
        """The meta of a recording: its workload replays its arrivals, on pictures that can be read again."""
        meta = self.meta()
        pictures = self._cameras.pictures(numbers)
        workload = Workload(load=Replay(trace=str(path.resolve())), input=pictures)
        notes = meta.notes
        if SYNTHETIC in pictures.videos:
            notes = (*notes, "cameras' pictures are not kept: when it is replayed, there are synthetic ones instead")
        return replace(meta, workload=workload, notes=notes)

    def close(self, stopped: Stopped) -> None:
        """End the trace; after the recorder was left. Raises StoreError."""
        self.recorder.close(replace(self.meta(), stopped=stopped))

    def record(self, why: str) -> Path:
        """Write the last minute as a trace, up to the frame before; its folder. Raises StoreError."""
        self.recorder.flush()
        return self._flight.save(why)


class Sampled:
    """A writer of a share of the frames, evenly over the sources, and of all telemetry.

    Percentiles of such a trace are those of the run; how many frames there were is not.
    """

    def __init__(self, writer: Writer, share: float) -> None:
        self._writer = writer
        self._share = share
        self.close = writer.close

    def append(self, name: str, rows: bytes) -> None:
        """See Writer."""
        if name == "requests" and self._share < 1.0:
            table = unpacked(rows)
            rows = table[sampled(table[:, 0], self._share)].tobytes()
        if rows:
            self._writer.append(name, rows)


def _workload(plan: Plan, sources: tuple[SourceSpec, ...]) -> Workload:
    """What the run would be as a measurement, so that its trace says which sources there were."""
    load: Load = Closed()
    if plan.target.fps is not None:
        load = Paced(fps=plan.target.fps)
    return Workload(load=load, input=Input(videos=tuple(spec.address for spec in sources)[:MOST_CAMERAS]))


def _sampling(engine: Engine, clock: Clock) -> MakeSampling | None:
    if clock.virtual:
        return None

    def sampling(sink: Sink) -> Telemetry:
        return Telemetry(sink, _TELEMETRY_S, [host_sampler(), *gpu_samplers(engine.gpus)])

    return sampling
