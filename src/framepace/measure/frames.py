"""From a workload to the feed that brings its frames: which pictures, from where, due when."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.clock.system import Clock
from framepace.deadline import together
from framepace.devices.cuda import ordinal
from framepace.engine.packedrows import Sink, drop_rows
from framepace.errors import SourceError, UsageError
from framepace.facts.plan import Plan
from framepace.facts.slowing import delay_in
from framepace.facts.workload import FileTimes, Replay, Workload
from framepace.feeds.arrivals import Arrivals
from framepace.feeds.build import batch_rule, build_feed
from framepace.feeds.feed import Feed, PictureSource
from framepace.feeds.pacer import Pacer
from framepace.feeds.runstate import RunState
from framepace.feeds.slowsource import SlowSource
from framepace.measure.load import Repeated, arrivals
from framepace.models.spec import pictures_before
from framepace.store import load_trace
from framepace.units import NS_PER_MS
from framepace.video.frametimes import frame_times
from framepace.video.history import Remembering
from framepace.video.source import MemorySource, Source, decode_all, open_source

_PATIENCE_S = 60.0  # with a stream that gives no picture, in a run that no time limit ends
LEAD_NS = 20 * NS_PER_MS  # between the start of a run and its first due frame: threads are up by then


class Frames:
    """The pictures of a workload: held in memory, or sources that decode.

    `sample` is one picture, from which the scope 'model' makes its input. `timed`: reading the sources takes time on a
    virtual clock too, so that threads of their own make a difference there.
    """

    def __init__(
        self, names: tuple[str, ...], pictures: list[list[Any]], sources: list[Any], timed: bool = False
    ) -> None:
        self.names = names
        self.sample: Any = None
        self._pictures = pictures
        self._sources = sources
        self._timed = timed
        if pictures and pictures[0]:
            self.sample = pictures[0][0]

    @property
    def live(self) -> bool:
        """Whether a source brings pictures at its own pace, or none."""
        return any(source.live for source in self._sources)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the sources reported (a truncated video, a reconnect)."""
        return tuple(f"{s.name}: {note}" for s in self._sources for note in s.notes)

    def feed(
        self,
        plan: Plan,
        workload: Workload,
        clock: Clock,
        state: RunState,
        sink: Sink,
        *,
        start: int | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> Feed:
        """A new feed over these frames.

        Args:
            start: when the load begins (ns); a moment from now by default.
            share: (i, n): only every n-th frame of an open load, from the i-th, for one of n processes.
        """
        sources = self._readers(workload)
        decode_ns = delay_in(plan.engine.slow, "decode")
        if decode_ns and workload.scope == "stream":
            sources = [SlowSource(source, clock, decode_ns) for source in sources]
        steps = pictures_before(plan)
        if steps and workload.scope != "model":
            sources = [Remembering(source, steps) for source in sources]
        if start is None:
            start = clock.now() + LEAD_NS
        parts = _source_arrivals(plan, workload, start, len(sources))
        pacer = Pacer(plan.engine, clock, state)
        on_drop = drop_rows(len(plan.models), sink, clock, state)
        threads = workload.scope == "stream" and _has_threads(plan) and (self._timed or not clock.virtual)
        return build_feed(plan, sources, parts, pacer, on_drop, threads=threads, share=share)

    def close(self) -> None:
        """Close the sources."""
        for source in self._sources:
            source.close()

    def _readers(self, workload: Workload) -> list[PictureSource]:
        if workload.scope == "stream":
            return list(self._sources)
        if workload.scope == "model":
            picture = self.sample
            if picture is None:
                picture = np.zeros(0)
            return [MemorySource([picture]) for _ in range(workload.input.cameras or 1)]
        return [MemorySource(pictures) for pictures in self._pictures]


def decoding_gpu(plan: Plan) -> int | None:
    """CUDA's number of the GPU that decodes: that of the first model on one; None where the host decodes."""
    if plan.engine.decode != "gpu":
        return None
    devices = (model.device for model in plan.models if model.device not in (None, "cpu"))
    return ordinal(next(devices, None))


def _has_threads(plan: Plan) -> bool:
    """Whether each source has a thread that decodes ahead."""
    return plan.engine.decode != "inline"


def open_frames(workload: Workload, clock: Clock, gpu: int | None = None) -> Frames:
    """Open what the workload names. Raises SourceError for a video that cannot be read.

    What is decoded while it runs is decoded by `gpu`, where one is named (UsageError where it cannot).

    The scope 'stream' decodes while it runs; the others hold up to `input.frames` decoded pictures of each source.
    """
    if workload.scope == "stream":
        return _open_sources(workload, clock, gpu)
    if workload.scope == "model":
        return _decode(workload, workload.input.sources[: workload.input.cameras or 1], count=1)
    return _decode(workload, workload.input.sources, workload.input.frames)


def _open_sources(workload: Workload, clock: Clock, gpu: int | None) -> Frames:
    """The sources, all opened at once, so that several which do not answer take no longer than one.

    The sample is the first picture of the first source itself: a camera is not asked for a second connection. Every
    live source has to show one before anything is measured.
    """
    names = workload.input.sources
    opened = together(
        [partial(_open_source, name, workload, clock, place == 0, gpu) for place, name in enumerate(names)]
    )
    failed = [outcome for outcome in opened if isinstance(outcome, BaseException)]
    sources = [outcome for outcome in opened if not isinstance(outcome, BaseException)]
    if failed:
        for source, _ in sources:
            source.close()
        raise _unopened(failed, len(names))
    return Frames(tuple(source.name for source, _ in sources), [[sources[0][1]]], [source for source, _ in sources])


def _open_source(name: str, workload: Workload, clock: Clock, sampled: bool, gpu: int | None) -> tuple[Source, Any]:
    """A source, and its first picture if it is live or `sampled`."""
    patience_s = None  # with a time limit a stream may come back until then
    if workload.stop.seconds is None:
        patience_s = _PATIENCE_S
    source = open_source(
        name,
        size=workload.input.size,
        seed=workload.seed,
        loop=True,
        clock=clock,
        patience_s=patience_s,
        gpu=gpu,
    )
    try:
        picture = None
        if sampled or source.live:
            picture = source.read()
        return source, picture
    except BaseException:
        source.close()
        raise


def _unopened(failed: Sequence[BaseException], count: int) -> BaseException:
    """The error for sources that did not open: their own where there is one, else all of them in one."""
    errors = [error for error in failed if isinstance(error, SourceError)]
    if len(failed) == 1 or len(errors) < len(failed):
        return failed[0]
    got = "; ".join(dict.fromkeys(f"{error.what}: {error.got}" for error in errors))
    return SourceError(f"{len(failed)} of {count} sources cannot be read", got=got, fix=errors[0].fix)


def _decode(workload: Workload, names: tuple[str, ...], count: int) -> Frames:
    """Up to `count` pictures of each source; a video that several play is decoded once."""
    size = workload.input.size
    pictures = {name: decode_all(name, count, size=size, seed=workload.seed) for name in dict.fromkeys(names)}
    return Frames(names, [pictures[name] for name in names], [])


def _source_arrivals(plan: Plan, workload: Workload, start: int, sources: int) -> list[Arrivals]:
    """Arrivals at each of `sources` from `start` (ns) on.

    Raises StoreError or UsageError for a trace to replay that cannot be read or has no requests, SourceError for a file
    whose own times are wanted and that has none.
    """
    if isinstance(workload.load, FileTimes):
        return [Repeated(*frame_times(name), start) for name in workload.input.sources[:sources]]
    width = batch_rule(plan).size
    recorded = _recorded(plan, workload, sources)
    return arrivals(workload.load, start, sources, width, workload.seed, recorded, plan.engine.workers)


def _recorded(plan: Plan, workload: Workload, sources: int) -> list[NDArray[np.int64]]:
    """The due times of a recorded run for each of `sources`; none where nothing is replayed.

    A run of as many sources or more is replayed source by source, where each has its thread; where workers read the
    sources in turn, the arrivals of all are dealt out in turn. Any other run is replayed on each source.
    """
    if not isinstance(workload.load, Replay):
        return []
    rows = load_trace(workload.load.trace).requests
    if len(rows["due"]) == 0:
        raise UsageError("the trace to replay has no requests", got=workload.load.trace, fix="name another trace")
    numbers = np.unique(rows["source"])
    if sources == 1 or len(numbers) < sources:
        return [np.unique(rows["due"])] * sources
    _, frames = np.unique(rows["frame"], return_index=True)
    dues = rows["due"][frames]
    if workload.scope == "stream" and _has_threads(plan):
        return [dues[rows["source"][frames] == number] for number in numbers[:sources]]
    merged = np.sort(dues)
    return [merged[place::sources] for place in range(sources)]
