"""From a workload to the feed that brings its frames: which pictures, from where, due when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from framepace.clock.system import Clock
from framepace.engine.pipeline import Sink, dropped_row
from framepace.errors import UsageError
from framepace.facts.plan import Plan
from framepace.facts.workload import Replay, Workload
from framepace.feeds.batchrules import BatchRule, DeadlineRule
from framepace.feeds.deadline import DeadlineBatcher, DeadlineFeed
from framepace.feeds.feed import Arrivals, Feed, InlineFeed, PictureSource, StreamFeed
from framepace.feeds.pacer import Pacer
from framepace.feeds.runstate import RunState
from framepace.measure.load import Interleaved, Lane, arrivals
from framepace.store import load_trace
from framepace.units import NS_PER_MS
from framepace.video.frame import Frame
from framepace.video.source import MemorySource, decode_all, open_source

LEAD_NS = 20 * NS_PER_MS  # between the start of a run and its first due frame: threads are up by then


class Frames:
    """The pictures of a workload: held in memory, or sources that decode.

    `sample` is one picture, from which the scope 'model' makes its input.
    """

    def __init__(self, names: tuple[str, ...], pictures: list[list[Any]], sources: list[Any]) -> None:
        self.names = names
        self.sample: Any = None
        self._pictures = pictures
        self._sources = sources
        if pictures and pictures[0]:
            self.sample = pictures[0][0]

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
        if start is None:
            start = clock.now() + LEAD_NS
        parts = source_arrivals(plan, workload, start, len(sources))
        pacer = Pacer(plan.engine, clock, state)
        batcher = _deadline_batcher(plan, len(sources), parts[0].bulk)
        state.batches = batcher
        if decodes_in_threads(plan, workload, clock):
            drop = drops(plan, sink, clock, state)
            return StreamFeed(sources, parts, batch_rule(plan), plan.source, pacer, drop, batcher)
        if batcher is not None:
            return DeadlineFeed(sources, [Lane(part, *share) for part in parts], batcher, pacer)
        return InlineFeed(sources, _merged(parts, share), batch_rule(plan), pacer)

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


def open_frames(workload: Workload, clock: Clock) -> Frames:
    """Open what the workload names. Raises SourceError for a video that cannot be read.

    The scope 'stream' decodes while it runs; the others hold up to `input.frames` decoded pictures of each source.
    """
    if workload.scope == "stream":
        return _open_sources(workload, clock)
    if workload.scope == "model":
        return _decode(workload, workload.input.sources[: workload.input.cameras or 1], count=1)
    return _decode(workload, workload.input.sources, workload.input.frames)


def _open_sources(workload: Workload, clock: Clock) -> Frames:
    size = workload.input.size
    sources = [
        open_source(name, size=size, seed=workload.seed, loop=True, clock=clock) for name in workload.input.sources
    ]
    # The sample is the first picture of the source itself: a camera is not asked for a second connection.
    return Frames(tuple(source.name for source in sources), [[sources[0].read()]], sources)


def _decode(workload: Workload, names: tuple[str, ...], count: int) -> Frames:
    """Up to `count` pictures of each source; a video that several play is decoded once."""
    size = workload.input.size
    pictures = {name: decode_all(name, count, size=size, seed=workload.seed) for name in dict.fromkeys(names)}
    return Frames(names, [pictures[name] for name in names], [])


def decodes_in_threads(plan: Plan, workload: Workload, clock: Clock) -> bool:
    """Whether each source has a thread that decodes, rather than the workers; never in virtual time."""
    return workload.scope == "stream" and plan.engine.decode == "thread" and not clock.virtual


def source_arrivals(plan: Plan, workload: Workload, start: int, sources: int) -> list[Arrivals]:
    """Arrivals at each of `sources` from `start` (ns) on.

    Raises StoreError or UsageError for a trace to replay that cannot be read or has no requests.
    """
    width = batch_rule(plan).size
    return arrivals(workload.load, start, sources, width, workload.seed, _recorded(workload), plan.engine.workers)


def drops(plan: Plan, sink: Sink, clock: Clock, state: RunState) -> Callable[[Frame, int], None]:
    """What a feed calls with a frame that it drops, and the DropCause: a row for each model."""

    def drop(frame: Frame, cause: int) -> None:
        for model in range(len(plan.models)):
            sink(dropped_row(frame, model, cause, clock.now(), state.warming))

    return drop


def _merged(parts: Sequence[Arrivals], share: tuple[int, int]) -> Arrivals:
    """All sources taken in turn, for workers that read them; of an open load only a share."""
    merged = Interleaved(parts)
    if merged.bulk:
        return merged
    return Lane(merged, *share)


def batch_rule(plan: Plan) -> BatchRule:
    """How frames are gathered for all models: the largest batch and window of any of them, within the budget."""
    size = max(model.batch.max for model in plan.models)
    window = max(model.batch.window_ms for model in plan.models)
    budget_ns = None
    if plan.target.budget_ms is not None:
        budget_ns = round(plan.target.budget_ms * NS_PER_MS)
    return BatchRule(size, round(window * NS_PER_MS), budget_ns)


def deadline_rule(plan: Plan) -> DeadlineRule:
    """How frames of all models are gathered by deadline: the largest batch, and the sizes that any of them prefers.

    Raises UsageError without a target, or where a preferred size is over the largest batch.
    """
    size = max(model.batch.max for model in plan.models)
    budget = plan.target.budget_ms
    if budget is None:
        fix = "give the plan a target: --fps or --p99-ms"
        raise UsageError("batch-policy deadline needs a deadline", got="a plan without a target", fix=fix)
    sizes = sorted({size for model in plan.models for size in model.batch.sizes})
    if sizes and sizes[-1] > size:
        raise UsageError("a preferred batch size is over the largest batch", got=sizes[-1], expected=f"at most {size}")
    return DeadlineRule(size, round(budget * NS_PER_MS), tuple(sizes))


def _deadline_batcher(plan: Plan, sources: int, bulk: bool) -> DeadlineBatcher | None:
    """For the policy 'deadline'; none where whole batches are due together, since there is nothing to gather."""
    if bulk or all(model.batch.policy == "window" for model in plan.models):
        return None
    return DeadlineBatcher(deadline_rule(plan), sources)


def _recorded(workload: Workload) -> Any:
    if not isinstance(workload.load, Replay):
        return None
    due = np.unique(load_trace(workload.load.trace).requests["due"])
    if len(due) == 0:
        raise UsageError("the trace to replay has no requests", got=workload.load.trace, fix="name another trace")
    return due
