"""From a workload to the feed that brings its frames: which pictures, from where, due when."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np

from framepace.clock.system import Clock
from framepace.engine.pipeline import Sink, dropped_row
from framepace.errors import UsageError
from framepace.facts.plan import Plan
from framepace.facts.workload import Replay, Workload
from framepace.feeds.batchrules import BatchRule, DeadlineRule
from framepace.feeds.deadline import DeadlineBatcher, DeadlineFeed
from framepace.feeds.feed import Feed, InlineFeed, PictureSource, StreamFeed
from framepace.feeds.pacer import Pacer
from framepace.feeds.runstate import RunState
from framepace.measure.load import Interleaved, Lane, arrivals
from framepace.store import load_trace
from framepace.units import NS_PER_MS
from framepace.video.frame import Frame
from framepace.video.source import decode_all, open_source

LEAD_NS = 20 * NS_PER_MS  # between the start of a run and its first due frame: threads are up by then


class _Held:
    """Pictures held in memory, again and again; reading one costs nothing."""

    def __init__(self, pictures: list[Any]) -> None:
        self.read: Callable[[], Any] = cycle(pictures).__next__


class Frames:
    """The pictures of a workload: held in memory, or sources that decode.

    `sample` is one picture, from which the scope 'model' makes its input; `notes` what the sources had to say.
    """

    def __init__(self, names: tuple[str, ...], pictures: list[list[Any]], sources: list[Any]) -> None:
        self.names, self._pictures, self._sources = names, pictures, sources
        self.sample: Any = pictures[0][0] if pictures and pictures[0] else None

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
        rule = batch_rule(plan)
        sources = self._readers(workload)
        start = clock.now() + LEAD_NS if start is None else start
        recorded, workers = _recorded(workload), plan.engine.workers
        parts = arrivals(workload.load, start, len(sources), rule.size, workload.seed, recorded, workers)
        pacer = Pacer(plan.engine, clock, state)
        inline = workload.scope != "stream" or plan.engine.decode == "inline" or clock.virtual
        state.batches = batcher = _batcher(plan, len(sources), parts[0].bulk)
        if inline and batcher is not None:
            return DeadlineFeed(sources, [Lane(part, *share) for part in parts], batcher, pacer)
        if inline:
            merged = Interleaved(parts)
            return InlineFeed(sources, merged if merged.bulk else Lane(merged, *share), rule, pacer)

        def drop(frame: Frame, cause: int) -> None:
            for model in range(len(plan.models)):
                sink(dropped_row(frame, model, cause, clock.now(), state.warming))

        return StreamFeed(sources, parts, rule, plan.source, pacer, drop, batcher)

    def close(self) -> None:
        """Close the sources."""
        for source in self._sources:
            source.close()

    def _readers(self, workload: Workload) -> list[PictureSource]:
        if workload.scope == "stream":
            return list(self._sources)
        if workload.scope == "model":
            picture = self.sample if self.sample is not None else np.zeros(0)
            return [_Held([picture]) for _ in range(workload.input.cameras or 1)]
        return [_Held(pictures) for pictures in self._pictures]


def open_frames(workload: Workload, clock: Clock) -> Frames:
    """Open what the workload names. Raises SourceError for a video that cannot be read.

    The scope 'stream' decodes while it runs; the others hold up to `input.frames` decoded pictures of each source.
    """
    names = workload.input.sources
    size, seed = workload.input.size, workload.seed
    if workload.scope == "stream":
        sources = [open_source(name, size=size, seed=seed, loop=True, clock=clock) for name in names]
        # The sample is the first picture of the source itself: a camera is not asked for a second connection.
        return Frames(tuple(source.name for source in sources), [[sources[0].read()]], sources)
    held = 1 if workload.scope == "model" else workload.input.frames
    chosen = names[: workload.input.cameras or 1] if workload.scope == "model" else names
    pictures = {name: decode_all(name, held, size=size, seed=seed) for name in dict.fromkeys(chosen)}
    return Frames(chosen, [pictures[name] for name in chosen], [])


def batch_rule(plan: Plan) -> BatchRule:
    """How frames are gathered for all models: the largest batch and window of any of them, within the budget."""
    size = max(model.batch.max for model in plan.models)
    window = max(model.batch.window_ms for model in plan.models)
    budget = plan.target.budget_ms
    return BatchRule(size, round(window * NS_PER_MS), None if budget is None else round(budget * NS_PER_MS))


def deadline_rule(plan: Plan) -> DeadlineRule:
    """How frames of all models are gathered by deadline: the largest batch, and the sizes that any of them prefers.

    Raises UsageError without a target, or where a preferred size is over the largest batch.
    """
    size, budget = max(model.batch.max for model in plan.models), plan.target.budget_ms
    if budget is None:
        fix = "give the plan a target: --fps or --p99-ms"
        raise UsageError("batch-policy deadline needs a deadline", got="a plan without a target", fix=fix)
    sizes = sorted({size for model in plan.models for size in model.batch.sizes})
    if sizes and sizes[-1] > size:
        raise UsageError("a preferred batch size is over the largest batch", got=sizes[-1], expected=f"at most {size}")
    return DeadlineRule(size, round(budget * NS_PER_MS), tuple(sizes))


def _batcher(plan: Plan, sources: int, bulk: bool) -> DeadlineBatcher | None:
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
