"""What a millisecond in each stage is worth: in virtual time against what it must be."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from framepace import api
from framepace.analyze.sensitivity import sensitivity
from framepace.clock.virtual import VirtualClock
from framepace.explaining.run import explain
from framepace.facts.finding import Explanation
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.sensitivity import Sensitivity
from framepace.facts.slowing import SLOW_STAGES, SlowStage, slowing
from framepace.facts.summary import Estimate
from framepace.facts.trace import Trace
from framepace.facts.workload import Burst, Stop, Workload
from framepace.measure.session import measure
from framepace.reporting.views.whatif import what_if_sentences
from framepace.testing import make_trace
from tests.explaining.hooks import Virtual

MS = 1_000_000
NULL = ModelPlan(name="m", model="null", backend="null", options={"latency_us": 2000, "noise": 0.02})


def profiled(settings: dict[str, Any] | None = None, time_limit: float = 70, **load: Any) -> Explanation:
    """The profile of a model of 2 ms in virtual time; no cause is tried."""
    Virtual.clock = VirtualClock()
    case = api.make_case(Plan(models=(NULL,)), settings=settings, **load)
    return explain(case, clock=Virtual.clock, causes=(), what_if=True, time_limit=time_limit)


def test_without_a_queue_a_millisecond_is_worth_a_millisecond() -> None:
    """2 ms of inference and 22 ms of a hook in one frame of five, at 20 fps: 1 ms off mean and p99 for each."""
    found = profiled({"finish": "tests.explaining.hooks:crowded"}, fps=20)
    assert {stage.stage for stage in found.what_if} == {"infer", "finish"}
    for stage in found.what_if:
        assert stage.mean.value == pytest.approx(1, abs=0.05)
        assert stage.mean.low is not None
        assert stage.mean.high is not None
        assert stage.mean.low - 0.05 <= 1 <= stage.mean.high + 0.05


@pytest.mark.long
def test_the_profile_has_time_of_its_own_and_says_how_much_is_missing() -> None:
    """At 5 fps the scopes leave enough of 40 s; of 16 s they do not, and with as much more as the note says they do."""
    assert profiled(fps=5, time_limit=40).what_if
    short = profiled(fps=5, time_limit=16)
    assert not short.what_if
    (missing,) = (re.search(r"about (\d+) s more", note) for note in short.notes if "millisecond" in note)
    assert missing is not None
    assert profiled(fps=5, time_limit=16 + int(missing[1])).what_if


def test_of_several_stages_the_longest_is_asked_about_when_time_is_short() -> None:
    """Of 20 s there is time for the hook's 4 ms and not for the 2 ms of the model; a note says so."""
    found = profiled({"finish": "tests.explaining.hooks:steady"}, fps=20, time_limit=20)
    assert [stage.stage for stage in found.what_if] == ["finish"]
    assert any("what a millisecond in infer is worth" in note for note in found.notes)


@pytest.mark.long
def test_where_frames_wait_for_each_other_a_millisecond_counts_several_times() -> None:
    """Bursts of four on one worker: the frames wait for 0, 1, 2 and 3 others, so 2.5 ms off the mean and 4 off p99."""
    (infer,) = profiled(load=Burst(fps=40, size=4), fps=None).what_if
    assert infer.mean.value == pytest.approx(2.5, abs=0.2)
    assert infer.p99.value == pytest.approx(4.0, abs=0.4)


@pytest.mark.parametrize("stage", SLOW_STAGES)
def test_the_delay_is_in_its_stage_and_in_no_other(stage: SlowStage) -> None:
    """3 ms more in that stage, to the nanosecond in virtual time."""
    plain, slowed = (measured(slow) for slow in (None, f"{stage}:3"))
    more = {name: slowed[name] - plain[name] for name in plain}
    assert more[stage] == pytest.approx(3 * MS, abs=1000)
    assert sum(abs(ns) for ns in more.values()) == pytest.approx(3 * MS, abs=1000)


def measured(slow: str | None) -> dict[str, float]:
    """Mean of the four stages, ns."""
    case = api.make_case(Plan(models=(NULL,)), fps=20, settings={"slow": slow, "option.noise": 0})
    trace = measure(case.plan, short(case.workload), clock=VirtualClock())
    return {stage.name: stage.mean for stage in api.summary(trace).frames.stages if stage.name in SLOW_STAGES}


def short(workload: Workload) -> Workload:
    """50 frames of it."""
    from msgspec.structs import replace

    return replace(workload, stop=Stop(count=50))


def uniform(seed: int, more: float = 0.0) -> Trace:
    """500 frames of 0 to 10 ms, and `more` ms."""
    return make_trace(np.random.default_rng(seed).uniform(0, 10 * MS, 500) + more * MS, fps=20)


def test_the_share_of_late_frames_that_a_millisecond_is_worth() -> None:
    """Of latencies spread evenly over 10 ms, each millisecond moves a tenth over any budget between."""
    plain, slowed = ([uniform(10 * side + n, side) for n in range(6)] for side in (0, 1))
    late = sensitivity("prepare", MS, plain, slowed, 8 * MS).late
    assert late is not None
    assert late.low is not None
    assert late.high is not None
    assert late.low <= 0.1 <= late.high
    assert late.high - late.low < 0.15


def test_the_sentence_says_p99_and_late_frames() -> None:
    """The stage that is worth most comes first."""
    plain, slowed = ([uniform(10 * side + n, side) for n in range(4)] for side in (0, 1))
    small = sensitivity("finish", 2 * MS, plain, slowed, 8 * MS)
    first, second, how = what_if_sentences((small, sensitivity("prepare", MS, plain, slowed, 8 * MS)))
    assert first.startswith("each millisecond less in prepare takes")
    assert "of the frames off the late ones" in first
    assert second.startswith("each millisecond less in finish")
    assert how.startswith("each was made")


def test_a_millisecond_whose_worth_is_undecided_stands_below_one_that_is_known() -> None:
    """289 ms [-359, 937] off p99 is noise, and no answer; so is the part of an answer whose interval holds zero."""
    noise = Estimate(value=289.0, low=-359.0, high=937.0)
    known = Estimate(value=2.0, low=1.5, high=2.5)
    in_doubt = Sensitivity(stage="prepare", added=MS, mean=noise, p99=noise, rounds=6)
    first, second, _ = what_if_sentences((in_doubt, replace(in_doubt, stage="infer", p99=known)))
    assert first.startswith("each millisecond less in infer takes 2.00 ms [1.50, 2.50] off p99 and 289.00 ms")
    assert first.endswith("off the mean (undecided)")
    assert second.startswith("in prepare it is undecided: 289.00 ms [-359.00, 937.00] off p99")


@pytest.mark.long
def test_on_a_device_a_millisecond_of_inference_is_one_of_the_hosts_part() -> None:
    """The delay stands before the launches: on a device that is busy anyway it costs nothing, and kernels would."""
    case = api.make_case("builtin:classifier", settings={"backend": "simulated", "option.device": "t4"}, fps=30)
    found = explain(case, clock=VirtualClock(), causes=(), what_if=True, time_limit=30)
    (infer,) = (stage for stage in found.what_if if stage.stage == "infer")
    assert infer.on_host
    assert "the host's part of infer" in what_if_sentences(found.what_if)[0]
    assert not any(stage.on_host for stage in profiled(fps=20, time_limit=30).what_if)


def test_what_the_setting_says() -> None:
    """The stage and its nanoseconds; without the setting there is no delay."""
    assert slowing("prepare:1.5") == ("prepare", 1_500_000)
    assert slowing(None) is None


def test_a_profile_without_a_budget_has_no_late_frames() -> None:
    """There is nothing that a frame could be late for."""
    found: Sensitivity = sensitivity("infer", MS, [uniform(1), uniform(2)], [uniform(3, 1), uniform(4, 1)], None)
    assert found.late is None
