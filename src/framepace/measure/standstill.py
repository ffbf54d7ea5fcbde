"""A model that never returns: nothing in a process can stop such a call, so the process ends, in time and in words."""

from __future__ import annotations

from framepace.clock.system import Clock
from framepace.errors import BackendError
from framepace.facts.plan import Plan
from framepace.feeds.runstate import RunState
from framepace.units import NS_PER_S

_SET_UP_S = 60.0  # per model and worker, for its first inferences on a CPU
_SET_UP_ON_DEVICE_S = 300.0  # where libraries try out algorithms and capture graphs
_RETURN_S = 20.0  # for what is in work when the run is over


class Standstill:
    """Notices that a run stands still, from outside its threads; looked at a few times per second."""

    def __init__(self, plan: Plan, state: RunState, clock: Clock) -> None:
        self._names = ", ".join(plan.names)
        self._state = state
        self._clock = clock
        self._made = clock.now()
        self._stopped: int | None = None
        on_cpu = all((model.device or "cpu") == "cpu" for model in plan.models)
        per_model_s = _SET_UP_S if on_cpu else _SET_UP_ON_DEVICE_S
        self._set_up_s = per_model_s * len(plan.models) * plan.engine.workers

    def look(self) -> str | None:
        """Why the run has to be given up; None while it goes on. Ends a run whose time is over, too (see RunState)."""
        now = self._clock.now()
        if self._state.stopped is not None:
            if self._stopped is None:
                self._stopped = now
            return self._late(now - self._stopped, _RETURN_S, "after the end of the run")
        if self._state.begun:
            self._state.look(now)
            return None
        return self._late(now - self._made, self._set_up_s, "to the first requests")

    def _late(self, waited: int, limit_s: float, when: str) -> str | None:
        if waited <= limit_s * NS_PER_S:
            return None
        error = BackendError(
            "an inference does not return",
            got=f"{self._names}: no answer in {limit_s:g} s {when}",
            fix="look for loops without end in the model; what was measured is in the folder of the run",
        )
        return str(error)
