"""Models that never return: when a run is given up, and the sentence."""

from __future__ import annotations

import pytest

from framepace.clock.virtual import VirtualClock
from framepace.facts.plan import EnginePlan, ModelPlan, Plan
from framepace.facts.workload import Closed, Delay, Load, Replay, Stop, Warmup
from framepace.feeds.runstate import RunState
from framepace.measure.standstill import Standstill
from framepace.measure.stoprules import Enough, Steady
from framepace.units import NS_PER_S


def watched(
    workers: int = 1,
    device: str | None = None,
    stop: Stop = Stop(seconds=2.0),
    load: Load = Closed(),
    earlier: int = 0,
    size: tuple[int, int] | None = None,
) -> tuple[VirtualClock, RunState, Standstill]:
    """A run of 2 s after a warm-up of at most 3, which has not begun."""
    clock = VirtualClock()
    state = RunState(clock, Steady(Warmup(seconds_max=3.0)), Enough(stop))
    model = ModelPlan(name="net", model="net.onnx", backend="onnxruntime", device=device, size=size)
    plan = Plan(models=(model,), engine=EnginePlan(workers=workers))
    return clock, state, Standstill(plan, state, clock, load, earlier)


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


def test_a_run_in_which_an_inference_hangs_is_over_ten_seconds_after_its_time() -> None:
    """Warm-up, time and 3 s of grace end the run though nothing is delivered; then what is in work has 5 s."""
    clock, state, standstill = watched()
    state.look(clock.now())
    with state.serving():
        second, why = given_up(clock, standstill)
    assert state.stopped == "finished"
    assert second == 3 + 2 + 3 + 1 + 6
    assert "no answer in 5 s after the end of the run" in why


def test_an_inference_may_take_four_times_as_long_as_those_before() -> None:
    """A slow model is no hanging one: after results 8 s apart, of two workers, the last have 64 s."""
    clock, state, standstill = watched(workers=2, stop=Stop(seconds=100.0))
    state.look(clock.now())
    with state.serving():
        for second in range(0, 17, 8):
            clock.sleep_until(second * NS_PER_S)
            state.delivered(8 * NS_PER_S, clock.now())
            assert standstill.look() is None
        state.stop("finished")
        assert given_up(clock, standstill)[0] == 16 + 65


def test_an_inference_may_take_four_times_as_long_as_those_before_the_run() -> None:
    """Of which the check of the batch at loading is one: 10 s there are 40 s after the end, where none has returned."""
    clock, state, standstill = watched(earlier=10 * NS_PER_S)
    state.look(clock.now())
    with state.serving():
        second, why = given_up(clock, standstill)
    assert second == 3 + 2 + 3 + 1 + 41
    assert "no answer in 40 s after the end of the run" in why


def test_the_longest_inference_is_kept_for_the_next_run() -> None:
    """What passed until the first result, which is more than the models took before."""
    clock, state, standstill = watched(earlier=2 * NS_PER_S)
    state.look(clock.now())
    standstill.look()
    clock.sleep_until(4 * NS_PER_S)
    state.delivered(4 * NS_PER_S, clock.now())
    standstill.look()
    assert standstill.longest == 4 * NS_PER_S


def advice(clock: VirtualClock, standstill: Standstill) -> str:
    """What the run that is given up says to do."""
    return given_up(clock, standstill)[1].partition("what to do: ")[2]


def test_before_the_first_request_a_longer_run_is_no_advice() -> None:
    """Nor is a smaller input, where the sizes are the model's own."""
    clock, _, standstill = watched()
    assert advice(clock, standstill).startswith("look for a loop")
    clock, _, standstill = watched(size=(480, 640))
    assert advice(clock, standstill).startswith("give it a smaller input (--size ")


def test_a_longer_run_is_the_advice_for_an_inference_that_is_cut_off() -> None:
    """And a smaller input where the sizes were chosen."""
    clock, state, standstill = watched(size=(480, 640))
    state.look(clock.now())
    with state.serving():
        assert advice(clock, standstill).startswith(
            "give it more time (--seconds; in explain and tune --time-limit), or give it a smaller input (--size "
        )
    clock, state, standstill = watched()
    state.look(clock.now())
    with state.serving():
        assert advice(clock, standstill).startswith(
            "give it more time (--seconds; in explain and tune --time-limit), or look for a loop"
        )


@pytest.mark.parametrize(("load", "end"), [(Closed(), 121), (Delay(delay_ms=20_000.0), 401), (Replay(trace="t"), None)])
def test_a_run_without_an_end_in_time_ends_after_two_minutes_without_a_result(load: Load, end: int | None) -> None:
    """Later where its load has long gaps; never where nobody knows how long they are."""
    clock, state, standstill = watched(stop=Stop(count=5), load=load)
    state.look(clock.now())
    for second in range(end or 2000):
        clock.sleep_until(second * NS_PER_S)
        assert standstill.look() is None
    assert state.stopped is None
    clock.sleep_until((end or 2000) * NS_PER_S)
    assert standstill.look() is None
    assert (state.stopped is None) == (end is None)


def test_a_stopped_run_has_time_to_put_things_away() -> None:
    """20 s when nothing is in work any more, after Ctrl-C too, even while it is set up."""
    clock, state, standstill = watched()
    state.stop("interrupted")
    assert given_up(clock, standstill)[0] == 21
