"""Waiting for a due time: by the plan's policy, with the model kept warm meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from framepace.clock.system import Clock, wait_until
from framepace.facts.plan import EnginePlan
from framepace.feeds.runstate import RunState
from framepace.units import NS_PER_MS

Idle = Callable[[], None]
NAP_NS = 500 * NS_PER_MS  # the longest a waiting thread goes without looking whether the run was stopped
_MARGIN = 1.05  # on what beats took: one that takes longer makes its frame wait
_BEATS_KEPT = 8


class Pacer:
    """Waits for a due time by the plan's policy, beating the heart meanwhile, and looking up when the run stops."""

    def __init__(self, engine: EnginePlan, clock: Clock, state: RunState) -> None:
        self.clock, self.state = clock, state
        self._wait, self._spin = engine.wait, engine.spin_us * 1000
        self.beat = round((engine.heartbeat_ms or 0) * NS_PER_MS)
        self._cold, self._warm = (deque[int]([0], maxlen=_BEATS_KEPT) for _ in range(2))

    def until(self, due: int, idle: Idle | None) -> bool:
        """Return at `due` (ns); false when the run was stopped before.

        A beat that might still run at `due` is left. The last two end shortly before it, the first of them to warm up
        what the second runs on: what a frame finds warm is what ran just now.
        """
        now, beating = self.clock.now, idle is not None and self.beat > 0
        step = self.beat if beating else NAP_NS
        while due - now() > step + (self._leads()[0] if beating else 0):
            wait_until(self.clock, now() + step, self._wait, 0)
            if self.state.stopped:
                return False
            self._run(idle, self._cold)
        for last, costs in enumerate((self._cold, self._warm) if beating else ()):
            if 0 < (lead := self._leads()[last]) < due - now():
                wait_until(self.clock, due - lead, self._wait, self._spin)
                self._run(idle, costs)
        wait_until(self.clock, due, self._wait, self._spin)
        return self.state.stopped is None

    def _leads(self) -> tuple[int, int]:
        """How long before a frame the last two beats begin (ns): what such took lately, and a bit more."""
        cold = _long(self._cold)
        warm = _long(self._warm) or cold
        return round(_MARGIN * (cold + warm)), round(_MARGIN * warm)

    def _run(self, idle: Idle | None, costs: deque[int]) -> None:
        """One beat, if there are any; its time is what the next ones are planned with."""
        if idle is None or not self.beat:
            return
        began = self.clock.now()
        idle()
        costs.append(self.clock.now() - began)


def _long(costs: Sequence[int]) -> int:
    """The longest but one: a single stall must not open a gap before every frame."""
    return sorted(costs)[-2] if len(costs) > 1 else costs[0]
