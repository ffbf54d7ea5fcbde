"""A model that never returns: nothing in a process can stop such a call, so the process ends, in time and in words."""

from __future__ import annotations

import math

from framepace.clock.system import Clock
from framepace.errors import BackendError
from framepace.facts.plan import Plan
from framepace.facts.workload import Closed, Delay, Load, load_fps
from framepace.feeds.runstate import RunState
from framepace.hooks import interrupt_hooks
from framepace.units import NS_PER_S

_SET_UP_S = 60.0  # per model and worker, for its first inferences on a CPU
_SET_UP_ON_DEVICE_S = 300.0  # where libraries try out algorithms and capture graphs
_RETURN_S = 5.0  # for what is in work when the run is over; with the grace of its time: under ten seconds
_CLOSE_S = 20.0  # to put away models, processes and sources, when nothing is in work any more
_HOOK_S = 3.0  # of them, before a hook that has not returned is interrupted
_SILENCE_S = 120.0  # without a result, after which a run ends that no time ends
_GAPS = 20.0  # of the load, in which no frame may have been due
MORE_TIME = "give it more time (--seconds; in explain and tune --time-limit)"
_SMALLER = "give it a smaller input (--size WIDTHxHEIGHT, --shape INPUT=SIZES)"
_LOOP = "look for a loop without end in the model or in a hook; what was measured is in the folder of the run"
_PATIENCE = 4.0  # an inference may take so many times as long as the longest before: others may need the cores


class Standstill:
    """Notices that a run stands still, from outside its threads; looked at a few times per second.

    Args:
        earlier: what the longest inference of these models took before the run, in ns; 0 where none is known.
    """

    def __init__(self, plan: Plan, state: RunState, clock: Clock, load: Load = Closed(), earlier: int = 0) -> None:
        self._names = ", ".join(plan.names)
        self._state = state
        self._clock = clock
        self._made = clock.now()
        self._stopped: int | None = None
        self._has_open_size = any(model.size is not None or model.shapes for model in plan.models)
        on_cpu = all((model.device or "cpu") == "cpu" for model in plan.models)
        per_model_s = _SET_UP_S if on_cpu else _SET_UP_ON_DEVICE_S
        self._workers = plan.engine.workers
        self._set_up_s = per_model_s * len(plan.models) * self._workers
        self._silence_s = max(_SILENCE_S, _GAPS * _gap_s(load))
        self._deliveries = 0
        self._delivered = self._made
        self.longest = earlier
        """What the longest inference took so far (ns), or what passed between two results."""

    def look(self) -> str | None:
        """Why the run has to be given up; None while it goes on. Ends a run whose time is over, too (see RunState)."""
        now = self._clock.now()
        self._count(now)
        if self._state.stopped is not None:
            return self._ending(now)
        if not self._state.begun:
            self._delivered = now
            return self._late(now - self._made, self._limit_s(self._set_up_s), "to the first requests", "")
        self._state.look(now)
        if not self._state.ends_by_time and now - self._delivered > self._limit_s(self._silence_s) * NS_PER_S:
            self._state.stop("finished")
        return None

    def _count(self, now: int) -> None:
        """Note how long the results took that came since the last look."""
        if self._state.deliveries != self._deliveries:
            self.longest = max(self.longest, now - self._delivered)
            self._deliveries = self._state.deliveries
            self._delivered = now

    def _limit_s(self, least_s: float) -> float:
        """Seconds that an inference may take: more where earlier ones took long, several of them side by side."""
        return max(least_s, _PATIENCE * self._workers * self.longest / NS_PER_S)

    def _ending(self, now: int) -> str | None:
        """The run is over: hooks that do not return are interrupted, and at last all is given up."""
        if self._stopped is None:
            self._stopped = now
        waited = now - self._stopped
        if waited > _HOOK_S * NS_PER_S:
            interrupt_hooks(_HOOK_S)
        limit_s = _CLOSE_S
        if self._state.busy:
            limit_s = _RETURN_S
        return self._late(waited, self._limit_s(limit_s), "after the end of the run", MORE_TIME)

    def _late(self, waited: int, limit_s: float, when: str, longer: str) -> str | None:
        if waited <= limit_s * NS_PER_S:
            return None
        smaller = ""
        if self._has_open_size:
            smaller = _SMALLER
        error = BackendError(
            "an inference does not return",
            got=f"{self._names}: no answer in {limit_s:.3g} s {when}",
            fix=", or ".join(advice for advice in (longer, smaller, _LOOP) if advice),
        )
        return str(error)


def _gap_s(load: Load) -> float:
    """Seconds between two frames of a load, on average; infinite where it does not say."""
    match load:
        case Closed():
            return 0.0
        case Delay():
            return load.delay_ms / 1000
    fps = load_fps(load)
    return math.inf if fps is None else 1 / fps
