"""Models that never return: when a run is given up, and the sentence."""

from __future__ import annotations

from framepace.clock.virtual import VirtualClock
from framepace.facts.plan import EnginePlan, ModelPlan, Plan
from framepace.facts.workload import Stop, Warmup
from framepace.feeds.runstate import RunState
from framepace.measure.standstill import Standstill
from framepace.measure.stoprules import Enough, Steady
from framepace.units import NS_PER_S


def watched(workers: int = 1, device: str | None = None) -> tuple[VirtualClock, RunState, Standstill]:
    """A run of 2 s after a warm-up of at most 3, which has not begun."""
    clock = VirtualClock()
    state = RunState(clock, Steady(Warmup(seconds_max=3.0)), Enough(Stop(seconds=2.0)))
    model = ModelPlan(name="net", model="net.onnx", backend="onnxruntime", device=device)
    plan = Plan(models=(model,), engine=EnginePlan(workers=workers))
    return clock, state, Standstill(plan, state, clock)


def given_up(clock: VirtualClock, standstill: Standstill) -> tuple[int, str]:
    """The second in which the run is given up, and why."""
    for second in range(10_000):
        clock.sleep_until(second * NS_PER_S)
        why = standstill.look()
        if why is not None:
            return second, why
    raise AssertionError("it never is")


def test_the_first_inference_has_a_minute_for_each_worker() -> None:
    """And five on a device, where libraries try out algorithms."""
    clock, _, standstill = watched()
    second, why = given_up(clock, standstill)
    assert second == 61
    assert why.startswith("an inference does not return\n  got: net: no answer in 60 s to the first requests\n")
    clock, _, standstill = watched(workers=3, device="cuda:0")
    assert given_up(clock, standstill)[0] == 901


def test_a_run_in_which_an_inference_hangs_ends_soon_after_its_time() -> None:
    """Warm-up, time and grace end the run though nothing is delivered; then what is in work has 20 s."""
    clock, state, standstill = watched()
    state.look(clock.now())
    second, why = given_up(clock, standstill)
    assert state.stopped == "finished"
    assert second == 3 + 2 + 5 + 1 + 21
    assert "no answer in 20 s after the end of the run" in why


def test_a_stopped_run_that_does_not_return_is_given_up() -> None:
    """After Ctrl-C, too, even while it is set up."""
    clock, state, standstill = watched()
    state.stop("interrupted")
    assert given_up(clock, standstill)[0] == 21
