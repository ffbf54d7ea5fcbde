"""Strategies: how one worker runs the models of its frames. All of them run pipelines, and write the same rows.

'workers' keeps several inferences in flight in one thread. The others are what people write: a frame's models one
after the other ('serial', 'asyncio'), each on its own thread ('threads', 'asyncio-threads') or in its own process
('processes', see modelprocess.py); the next frame is taken when the last model is done.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from typing import TypeVar

from framepace.engine.modelthread import ModelThread
from framepace.engine.pipeline import Delivered, Pipeline, deliver
from framepace.errors import UsageError
from framepace.facts.plan import EnginePlan
from framepace.facts.plan import Strategy as StrategyName
from framepace.facts.strategy import STRATEGIES, strategy_of
from framepace.feeds.feed import Feed
from framepace.feeds.pacer import Idle
from framepace.feeds.runstate import RunState
from framepace.video.frame import Frame

_T = TypeVar("_T")
MakePipeline = Callable[[int | None], Pipeline]
"""The primed pipeline of one model, by number, or of all (None), for the calling thread."""


def check(engine: EnginePlan) -> None:
    """Raise UsageError for what a strategy cannot do."""
    if not strategy_of(engine).waits_elsewhere:
        return
    if engine.keeper:
        raise _cannot("the keeper is for workers that run their models themselves", engine)


def _cannot(problem: str, engine: EnginePlan) -> UsageError:
    able = [name for name, kind in STRATEGIES.items() if kind.models_run == "in the worker"]
    expected = f"{', '.join(able[:-1])} or {able[-1]}"
    return UsageError(problem, got=f"strategy {engine.strategy}", expected=expected)


class Strategy(ABC):
    """One worker, set up. The thread that made it serves and closes it."""

    @abstractmethod
    def serve(self, feed: Feed, beats: bool) -> None:
        """Take frames and run their models until the feed ends; with `beats`, the heart beats while it waits."""

    @abstractmethod
    def close(self) -> None:
        """Free what the worker holds."""

    @property
    @abstractmethod
    def errors(self) -> list[Exception]:
        """The first errors of failed requests."""


class Overlapped(Strategy):
    """Several inferences in flight."""

    def __init__(self, make: MakePipeline, models: int, state: RunState) -> None:
        self._pipeline = make(None)

    @property
    def errors(self) -> list[Exception]:
        """See Strategy."""
        return self._pipeline.errors

    def serve(self, feed: Feed, beats: bool) -> None:
        """See Strategy."""
        serve_overlapped(self._pipeline, feed, self._pipeline.beat if beats else None)

    def close(self) -> None:
        """See Strategy."""
        self._pipeline.close()


def serve_overlapped(pipeline: Pipeline, feed: Feed, idle: Idle | None) -> None:
    """Until the feed ends: take what is ready while there is room, and collect what is in flight, oldest first."""
    while (frames := feed.take(idle, wait=not pipeline.busy)) is not None:
        if frames:
            pipeline.submit(frames)
        if pipeline.full or not frames:
            pipeline.collect()
    pipeline.drain()


class FrameByFrame(Strategy):
    """All models of a frame, then the next frame."""

    def __init__(self, state: RunState) -> None:
        self._state = state
        self._open = ExitStack()

    def serve(self, feed: Feed, beats: bool) -> None:
        """See Strategy."""
        idle = self.beat if beats else None
        while (frames := feed.take(idle)) is not None:
            deliver(self._state, frames, self.run(frames))

    def close(self) -> None:
        """See Strategy."""
        self._open.close()

    @abstractmethod
    def run(self, frames: Sequence[Frame]) -> Sequence[Delivered]:
        """Run every model on `frames` to the end."""

    @abstractmethod
    def beat(self) -> None:
        """Run every model once on what it had last (keep-warm)."""


class Serial(FrameByFrame):
    """One model after the other."""

    def __init__(self, make: MakePipeline, models: int, state: RunState) -> None:
        super().__init__(state)
        self._parts: list[Pipeline] = []
        with self._open as on_error:
            for model in range(models):
                self._parts.append(make(model))
                on_error.callback(self._parts[-1].close)
            self._open = on_error.pop_all()

    @property
    def errors(self) -> list[Exception]:
        """See Strategy."""
        return [error for part in self._parts for error in part.errors]

    def run(self, frames: Sequence[Frame]) -> Sequence[Delivered]:
        """See FrameByFrame."""
        return [part.process(frames) for part in self._parts]

    def beat(self) -> None:
        """See FrameByFrame."""
        for part in self._parts:
            part.beat()


class Threads(FrameByFrame):
    """Each model on its own thread."""

    def __init__(self, make: MakePipeline, models: int, state: RunState) -> None:
        super().__init__(state)
        self._threads: list[ModelThread] = []
        with self._open as on_error:
            for model in range(models):
                self._threads.append(ModelThread(partial(make, model), state.clock))
                on_error.callback(self._threads[-1].close)
            self._open = on_error.pop_all()

    @property
    def errors(self) -> list[Exception]:
        """See Strategy."""
        return [error for thread in self._threads for error in thread.part.errors]

    def run(self, frames: Sequence[Frame]) -> Sequence[Delivered]:
        """See FrameByFrame."""
        return self._all([thread.submit(partial(thread.part.process, frames)) for thread in self._threads])

    def beat(self) -> None:
        """See FrameByFrame."""
        self._all([thread.submit(thread.part.beat) for thread in self._threads])

    def serve(self, feed: Feed, beats: bool) -> None:
        """See Strategy."""
        try:
            super().serve(feed, beats)
        finally:
            self._end()

    def _end(self) -> None:
        """No thread waits for another call; to be said while the worker still takes part in the run."""
        for thread in self._threads:
            thread.end()

    def _all(self, futures: Sequence[Future[_T]]) -> list[_T]:
        """The results of the threads, in their order."""
        return [thread.result(future) for thread, future in zip(self._threads, futures, strict=True)]


class _Loop(FrameByFrame):
    """The same in coroutines, one for each model of a frame; the loop has nothing else to do while a frame is taken."""

    def serve(self, feed: Feed, beats: bool) -> None:
        """See Strategy."""
        asyncio.run(self._serve(feed, beats))

    async def _serve(self, feed: Feed, beats: bool) -> None:
        idle = self.beat if beats else None
        while (frames := feed.take(idle)) is not None:
            deliver(self._state, frames, await asyncio.gather(*self._inferences(frames)))

    @abstractmethod
    def _inferences(self, frames: Sequence[Frame]) -> Sequence[Awaitable[Delivered]]:
        """The awaitable of each model."""


class Asyncio(_Loop, Serial):
    """Coroutines that call the blocking inference: it blocks the loop, so they run one after the other."""

    def _inferences(self, frames: Sequence[Frame]) -> Sequence[Awaitable[Delivered]]:
        return [_blocking(part, frames) for part in self._parts]


class AsyncioThreads(_Loop, Threads):
    """Coroutines that await an inference on a thread, as asyncio.to_thread makes them; a model keeps its thread."""

    def serve(self, feed: Feed, beats: bool) -> None:
        """See Strategy."""
        try:
            super().serve(feed, beats)
        finally:
            self._end()

    def _inferences(self, frames: Sequence[Frame]) -> Sequence[Awaitable[Delivered]]:
        calls = [(thread, thread.submit(partial(thread.part.process, frames))) for thread in self._threads]
        if self._state.clock.virtual:  # no other coroutine has anything to do meanwhile
            return [_waited(thread, future) for thread, future in calls]
        return [asyncio.wrap_future(future) for _, future in calls]


async def _blocking(part: Pipeline, frames: Sequence[Frame]) -> Delivered:
    return part.process(frames)


async def _waited(thread: ModelThread, future: Future[_T]) -> _T:
    return thread.result(future)


IN_PROCESS: Mapping[StrategyName, Callable[[MakePipeline, int, RunState], Strategy]] = {
    "workers": Overlapped,
    "serial": Serial,
    "threads": Threads,
    "processes": Threads,  # in virtual time, which processes cannot share: a thread stands for each
    "asyncio": Asyncio,
    "asyncio-threads": AsyncioThreads,
}
"""The strategies whose models run in the process of the engine: made from pipelines, the number of models, state."""
