"""Runs measured in this process, with the engines and the opened videos of earlier ones."""

from __future__ import annotations

from pathlib import Path

import msgspec

from framepace.clock.system import Clock
from framepace.engine.engine import Engine
from framepace.facts.plan import Plan
from framepace.facts.strategy import strategy_of
from framepace.facts.trace import Trace
from framepace.facts.workload import Workload
from framepace.lab.enginepool import EnginePool
from framepace.measure.frames import Frames, decoding_gpu, open_frames
from framepace.measure.session import measure
from framepace.progress import Tell
from framepace.units import NS_PER_S

_VIDEOS_KEPT = 6


class Runs:
    """Measures plans, and keeps what took long to set up for later runs.

    Args:
        engines: how many loaded engines are kept; 0: each run loads its own.
        keep_workers: see EnginePool.
        keep_videos: whether opened sources are kept, which go on where the last run stopped.
    """

    loading = 0.0
    """Seconds spent on loading engines."""

    def __init__(self, clock: Clock, engines: int, keep_workers: bool, keep_videos: bool) -> None:
        self._clock = clock
        self._keeps_engines = engines > 0
        self._engines = EnginePool(clock, max(1, engines), keep_workers)
        self._keeps_videos = keep_videos
        self._frames: dict[bytes, Frames] = {}
        self._slowest = 0  # inference so far, ns: a new engine of the same models will hardly be ten times as fast

    def measure(self, plan: Plan, workload: Workload, folder: Path | None, tell: Tell) -> Trace:
        """`measure` of a session; a trace that is in `folder` is written over. Raises what it does."""
        engine = self._loaded(plan, tell)
        frames = self._pictures(plan, workload) if self._keeps_videos else None
        if engine is not None:
            engine.slowest = max(engine.slowest, self._slowest)
        trace = measure(
            plan, workload, folder=folder, clock=self._clock, engine=engine, frames=frames, overwrite=True, tell=tell
        )
        if engine is not None:
            self._slowest = engine.slowest
        return trace

    def clear(self) -> None:
        """Close the engines that are kept."""
        self._engines.clear()

    def close(self) -> None:
        """Close all that is kept."""
        self._close_videos(0)
        self._engines.clear()

    def _loaded(self, plan: Plan, tell: Tell) -> Engine | None:
        """The engine of a plan. None for workers that load the models themselves: one kept here would be in the way."""
        if not self._keeps_engines or strategy_of(plan.engine).spawns_engines:
            return None
        began = self._clock.now()
        engine = self._engines.get(plan, tell)
        self.loading += (self._clock.now() - began) / NS_PER_S
        return engine

    def _pictures(self, plan: Plan, workload: Workload) -> Frames:
        gpu = decoding_gpu(plan) if workload.scope == "stream" else None
        key = msgspec.json.encode((workload.scope, workload.input, workload.seed, gpu))
        if key not in self._frames:
            self._close_videos(_VIDEOS_KEPT - 1)
            self._frames[key] = open_frames(workload, self._clock, gpu)
        return self._frames[key]

    def _close_videos(self, kept: int) -> None:
        """Close the oldest opened videos but `kept` of them."""
        while len(self._frames) > kept:
            self._frames.pop(next(iter(self._frames))).close()
