"""The lab: runs cases within a time limit, keeping loaded models and opened videos between runs."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import msgspec
from msgspec.structs import replace

from framepace.clock.system import Clock, SystemClock
from framepace.facts.settings import Case
from framepace.facts.trace import Trace
from framepace.facts.workload import Stop, Warmup, Workload
from framepace.lab.enginepool import Engines
from framepace.measure.frames import Frames, open_frames
from framepace.measure.session import measure
from framepace.progress import Tell
from framepace.units import NS_PER_S

_ENGINES_KEPT = 6


class Interrupted(Exception):
    """Ctrl-C: what was measured so far is kept, nothing more is run."""


class Lab:
    """Runs cases and counts the time.

    Args:
        limit_s: seconds after which `left` is zero; the lab itself never refuses a run.
        folder: where saved runs go (one folder a name); None keeps all in memory.
        tell: called with what is being tried and the share of the limit that is used.
        keep_workers: runs of one plan that follow each other share what its workers set up (see Engine): they are
            over sooner, and are no independent set-ups.
    """

    def __init__(
        self,
        limit_s: float,
        folder: Path | None = None,
        tell: Tell | None = None,
        clock: Clock | None = None,
        keep_workers: bool = False,
    ) -> None:
        self.clock = clock or SystemClock()
        self._limit, self._folder, self._tell = limit_s, folder, tell or (lambda text, share: None)
        self._began = self.clock.now()
        self._engines = Engines(self.clock, _ENGINES_KEPT, keep_workers)
        self._frames: dict[bytes, Frames] = {}
        self._open = ExitStack()
        self._open.enter_context(self._engines)

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def spent(self) -> float:
        """Seconds since the lab was opened."""
        return (self.clock.now() - self._began) / NS_PER_S

    @property
    def left(self) -> float:
        """Seconds left of the limit."""
        return max(0.0, self._limit - self.spent)

    def say(self, text: str) -> None:
        """Tell the user what is being tried and why."""
        self._tell(text, min(1.0, self.spent / self._limit))

    def run(self, case: Case, seconds: float, *, name: str | None = None, warmup: Warmup | None = None) -> Trace:
        """Measure `case` for `seconds` after warm-up; saved under `name` when the lab has a folder.

        Raises Interrupted after Ctrl-C, with the trace of the run as its argument.
        """
        workload = replace(case.workload, stop=Stop(seconds=seconds), warmup=warmup or case.workload.warmup)
        folder = self._folder / name if self._folder is not None and name is not None else None
        trace = measure(
            case.plan,
            workload,
            folder=folder,
            clock=self.clock,
            engine=self._engines.get(case.plan, lambda text, share: self.say(text)),
            frames=self._pictures(workload),
            overwrite=True,
        )
        if trace.meta.stopped == "interrupted":
            raise Interrupted(trace)
        return trace

    def _pictures(self, workload: Workload) -> Frames:
        key = msgspec.json.encode((workload.scope, workload.input, workload.seed))
        if key not in self._frames:
            self._frames[key] = open_frames(workload, self.clock)
            self._open.callback(self._frames[key].close)
        return self._frames[key]
