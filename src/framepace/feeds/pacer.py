"""Waiting for a due time: by the plan's policy, with the model kept warm meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from framepace.clock.system import Clock, wait_until
from framepace.facts.plan import EnginePlan
from framepace.feeds.runstate import RunState
from framepace.units import NS_PER_MS, NS_PER_US

Idle = Callable[[], None]
NAP_NS = 500 * NS_PER_MS  # the longest a waiting thread goes without looking whether the run was stopped
_MARGIN = 1.05  # added to the time of past beats: a beat that takes longer makes its frame wait
_BEATS_KEPT = 8


class Pacer:
    """Waits for due times by the plan's policy; meanwhile the heart beats, and the wait ends early when the run stops.

    `beat` is the period of the heart in ns, 0 for none.
    """

    def __init__(self, engine: EnginePlan, clock: Clock, state: RunState) -> None:
        self.clock = clock
        self.state = state
        self.beat = round((engine.heartbeat_ms or 0) * NS_PER_MS)
        self._policy = engine.wait
        self._spin_ns = engine.spin_us * NS_PER_US
        self._cold_beats = deque[int]([0], maxlen=_BEATS_KEPT)  # what beats took after a pause, ns
        self._warm_beats = deque[int]([0], maxlen=_BEATS_KEPT)  # right after another beat

    def until(self, due: int, idle: Idle | None) -> bool:
        """Return at `due` (ns); false when the run was stopped before.

        A beat that might still run at `due` is left out. The last two end shortly before it, the first of them to warm
        up what the second runs on: what a frame finds warm is what ran just now.
        """
        if idle is None or not self.beat:
            if not self._nap_until(due):
                return False
        else:
            if not self._beat_until(due, idle):
                return False
            self._last_beats(due, idle)
        wait_until(self.clock, due, self._policy, self._spin_ns)
        return self.state.stopped is None

    def _nap_until(self, due: int) -> bool:
        """Wait until less than a nap is left."""
        now = self.clock.now
        while due - now() > NAP_NS:
            wait_until(self.clock, now() + NAP_NS, self._policy, 0)
            self.state.look(now())
            if self.state.stopped:
                return False
        return True

    def _beat_until(self, due: int, idle: Idle) -> bool:
        """Beat with the period until the last two beats are next."""
        now = self.clock.now
        while due - now() > self.beat + self._leads()[0]:
            wait_until(self.clock, now() + self.beat, self._policy, 0)
            self.state.look(now())
            if self.state.stopped:
                return False
            self._run(idle, self._cold_beats)
        return True

    def _last_beats(self, due: int, idle: Idle) -> None:
        """The two beats before a frame, as far as there is time for them."""
        for place, durations in enumerate((self._cold_beats, self._warm_beats)):
            lead = self._leads()[place]
            if 0 < lead < due - self.clock.now():
                wait_until(self.clock, due - lead, self._policy, self._spin_ns)
                self._run(idle, durations)

    def _leads(self) -> tuple[int, int]:
        """How long before a frame the last two beats begin (ns): their recent duration, and a bit more."""
        cold = _second_longest(self._cold_beats)
        warm = _second_longest(self._warm_beats) or cold
        return round(_MARGIN * (cold + warm)), round(_MARGIN * warm)

    def _run(self, idle: Idle, durations: deque[int]) -> None:
        """One beat; the next ones are planned with its time."""
        began = self.clock.now()
        idle()
        durations.append(self.clock.now() - began)


def _second_longest(durations: Sequence[int]) -> int:
    """A single stall must not open a gap before every frame, so the longest does not count."""
    if len(durations) == 1:
        return durations[0]
    return sorted(durations)[-2]
