"""A canary: a share of the frames goes through another plan, which is then promoted, or rolled back.

What is compared is how long a frame is with a worker, in blocks of both side by side. Pure, but for `Canary`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from framepace.analyze.stats import paired_ratio
from framepace.engine.engine import Engine
from framepace.errors import one_line
from framepace.facts.plan import Plan
from framepace.running.generation import Generation
from framepace.units import NS_PER_S

_BLOCK_NS = 5 * NS_PER_S
_FEWEST_FRAMES = 10  # of each side in a block
_FEWEST_BLOCKS = 4
_MOST_LOOKS = 60
_WORTH = 1.05  # how much longer a frame may take
_FAILED = 0.01  # share of the canary's frames
Verdict = Literal["promoted", "rolled back"]


@dataclass
class Trial:
    """Blocks of both sides, and what follows from them. A block of too few frames goes on until it has enough."""

    before: list[NDArray[np.float64]] = field(default_factory=list)
    after: list[NDArray[np.float64]] = field(default_factory=list)
    frames: int = 0
    failures: int = 0
    looks: int = 0
    why: str = ""
    _open_before: list[int] = field(default_factory=list)
    _open_after: list[int] = field(default_factory=list)

    def add(self, before: Sequence[int], after: Sequence[int], failures: int) -> Verdict | None:
        """Note five seconds: how long frames took by the plan in use and by the other (ns), how many failed by it."""
        self.looks += 1
        self.frames += len(after)
        self.failures += failures
        if self.failures > max(2, _FAILED * self.frames):
            self.why = f"{self.failures} of its {self.frames} frames failed"
            return "rolled back"
        self._add_to_block(before, after)
        if self.looks >= _MOST_LOOKS:
            return self._judged() or self._undecided()
        return self._judged()

    def _add_to_block(self, before: Sequence[int], after: Sequence[int]) -> None:
        self._open_before.extend(before)
        self._open_after.extend(after)
        if min(len(self._open_before), len(self._open_after)) >= _FEWEST_FRAMES:
            self.before.append(np.asarray(self._open_before, np.float64))
            self.after.append(np.asarray(self._open_after, np.float64))
            self._open_before = []
            self._open_after = []

    def _judged(self) -> Verdict | None:
        if len(self.before) < _FEWEST_BLOCKS:
            self.why = f"it got {self.frames} frames"
            return None
        ratio = paired_ratio(self.before, self.after, "mean")
        low, high = ratio.interval
        self.why = f"a frame takes {ratio.value:.2f} times as long [{low:.2f}, {high:.2f}], {self.frames} frames"
        if low > _WORTH:
            return "rolled back"
        if high <= _WORTH:
            return "promoted"
        return None

    def _undecided(self) -> Verdict:
        self.why += ", which is undecided"
        return "rolled back"


class Engines(Protocol):
    """Has an engine at work, and may have another beside it (see running.supervisor.Supervisor)."""

    @property
    def current(self) -> Generation | None:
        """See Supervisor."""

    def try_out(self, engine: Engine, share: float) -> Generation:
        """See Supervisor."""

    def promote(self, generation: Generation) -> None:
        """See Supervisor."""

    def roll_back(self, generation: Generation) -> None:
        """See Supervisor."""


class Canary:
    """Tries a plan beside the one that runs. `look` is called a few times per second, by one thread.

    Args:
        share: of the frames that it gets.
        load: loads a plan. What it raises ends the canary.
        note: takes a sentence about what happened.
    """

    def __init__(
        self, plan: Plan, share: float, engines: Engines, load: Callable[[Plan], Engine], note: Callable[[str], None]
    ) -> None:
        self._share = share
        self._engines = engines
        self._note = note
        self._trial = Trial()
        self._engine: Engine | None = None
        self._generation: Generation | None = None
        self._next = 0
        self._over = False
        self._loading = threading.Thread(target=self._load, args=(load, plan), name="canary", daemon=True)
        self._loading.start()

    def look(self, now: int) -> None:
        """What is done at `now` (ns)."""
        if self._over or self._loading.is_alive():
            return
        if self._generation is None:
            self._begin(now)
        elif self._generation.is_over:
            self._end("rolled back", self._generation.why_it_ended)
        elif now >= self._next:
            self._compare(now)

    def close(self) -> None:
        """The run is over: a plan that was loaded and never ran is freed."""
        if self._engine is not None and self._generation is None:
            self._engine.close()

    def _load(self, load: Callable[[Plan], Engine], plan: Plan) -> None:
        try:
            self._engine = load(plan)
        except Exception as error:  # a library may raise anything, and the run goes on
            self._over = True
            self._note(f"the canary could not be loaded: {one_line(error)}")

    def _begin(self, now: int) -> None:
        assert self._engine is not None
        self._generation = self._engines.try_out(self._engine, self._share)
        self._next = now + _BLOCK_NS

    def _compare(self, now: int) -> None:
        assert self._generation is not None
        self._next = now + _BLOCK_NS
        current = self._engines.current
        before = current.flying.drain() if current is not None else []
        failures = self._generation.drain_failures()
        verdict = self._trial.add(before, self._generation.flying.drain(), failures)
        if verdict is not None:
            self._end(verdict, self._trial.why)

    def _end(self, verdict: Verdict, why: str) -> None:
        assert self._generation is not None
        self._over = True
        if verdict == "promoted":
            self._engines.promote(self._generation)
        else:
            self._engines.roll_back(self._generation)
        self._note(f"the canary was {verdict}: {why}")
