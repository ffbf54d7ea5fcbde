"""Another tool's number on the simulated device and in virtual time, where the truth is what they were told."""

from __future__ import annotations

from typing import Any

import pytest

from framepace import api
from framepace.backends.base import Worker
from framepace.backends.simulated import SimulatedSession
from framepace.errors import BackendError, UsageError
from framepace.explaining.expect import ToolNumber, parse_tool_number
from framepace.explaining.run import explain
from framepace.facts.finding import Expectation
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.settings import Case
from framepace.testing import FakeClock

MS = 1_000_000
IDEAL = {"option.device": "ideal"}
# A T4 without a power limit, whose host neither sleeps nor launches slowly: its clock is all that happens in a gap.
T4 = {"option.device": "t4", "option.load_hold_ms": 0.0, "option.load_fall_ms": 0.0, "option.power_limit_w": 0.0,
      "option.wake_us": 0.0, "option.asleep_us": 0.0, "option.launch_us": 0.0,
      "option.copy_us": 0.0, "option.block_us": 0.0, "option.jitter": 0.0, "option.kernels": 1}  # fmt: skip


def asked(tool: str, ms: float, settings: dict[str, Any], limit: float = 20) -> Expectation:
    """The expectation for a made-up network on the simulated device."""
    case = api.make_case("null", fps=50, settings={"backend": "simulated", "spinning": False, **settings})
    found = explain(case, time_limit=limit, causes=(), tool_number=parse_tool_number(f"{ms}ms", tool)).expectation
    assert found is not None
    assert found.said + sum(part.ns for part in found.parts) == pytest.approx(found.seen, abs=1.0)
    return found


def parts(found: Expectation) -> dict[str, float]:
    """The steps in ms."""
    return {part.name: part.ns / MS for part in found.parts}


def sums(found: Expectation) -> dict[str, float]:
    """The steps by kind, in ms."""
    kinds = {part.kind for part in found.parts}
    return {kind: sum(part.ns for part in found.parts if part.kind == kind) / MS for kind in kinds}


def test_clocks_that_fall_in_a_gap_of_20_ms_are_load() -> None:
    """A T4 at 585 MHz instead of 1590: the kernels take 2.7 times as long, and trtexec's load does not show it."""
    found = asked("trtexec-10", 0.6, T4, limit=60)
    load = sums(found)["load"]
    assert load == pytest.approx(found.reproduced / MS * (1590 / 585 - 1), rel=0.05)
    assert load > 0.9 * (found.seen - found.reproduced) / MS


@pytest.mark.long
def test_copies_are_left_out_by_trtexec_11_and_counted_by_trtexec_10() -> None:
    """Two copies of 0.5 ms: the number of version 11 is 1 ms lower, and its step says so."""
    settings = {**IDEAL, "option.copy_us": 500.0}
    old, new = (asked(tool, 1.0, settings) for tool in ("trtexec-10", "trtexec-11"))
    assert (old.reproduced - new.reproduced) / MS == pytest.approx(1.0, rel=0.02)
    assert parts(new)["transfers"] == pytest.approx(1.0, rel=0.02)
    assert "transfers" not in parts(old)


@pytest.mark.long
def test_pageable_copies_are_a_real_difference_to_trtexec() -> None:
    """Copies of 1 MB at 0.1 GB/s where the tool has page-locked memory: its settings are the difference."""
    slow = {**IDEAL, "transfer": "pageable", "option.pageable_gb_s": 0.01, "option.pinned_gb_s": 10.0}
    found = asked("trtexec-10", 1.0, slow)
    plain = asked("loop", 1.0, slow)
    pinned = asked("loop", 1.0, {**slow, "transfer": "pinned"})
    assert parts(found)["its settings"] == pytest.approx((plain.reproduced - pinned.reproduced) / MS, rel=0.05)
    assert "transfer=pinned" in next(p.how for p in found.parts if p.name == "its settings")


@pytest.mark.long
def test_launch_and_wake_up_are_left_out_by_events_and_counted_by_a_loop() -> None:
    """0.2 ms to launch one kernel and 0.1 ms for a host that slept while it waited."""
    settings = {**IDEAL, "option.kernels": 1, "option.launch_us": 200.0, "option.block_us": 100.0}
    found, loop = (asked(tool, 1.0, settings) for tool in ("trtexec-11", "loop"))
    assert parts(found)["launch"] == pytest.approx(0.2, abs=0.005)
    assert parts(found)["host wake-up"] == pytest.approx(0.1, abs=0.005)
    assert {"launch", "host wake-up"}.isdisjoint(parts(loop))
    assert loop.reproduced - found.reproduced == pytest.approx(0.3 * MS, rel=0.05)


@pytest.mark.parametrize(
    "tool",
    [
        "trtexec-10",
        pytest.param("loop", marks=pytest.mark.long),
        pytest.param("trtexec-11", marks=pytest.mark.long),
        pytest.param("perf_analyzer", marks=pytest.mark.long),
        pytest.param("benchmark_app", marks=pytest.mark.long),
    ],
)
def test_a_number_that_is_true_here_has_nothing_real_in_it(tool: str) -> None:
    """What the tool would say of this very device, plus 0.4 ms: the 0.4 ms are all that is real."""
    first = asked(tool, 1.0, IDEAL)
    again = asked(tool, first.reproduced / MS, IDEAL)
    more = asked(tool, first.reproduced / MS + 0.4, IDEAL)
    assert sums(again).get("real", 0.0) == pytest.approx(0.0, abs=0.002)
    assert sums(more)["real"] == pytest.approx(-0.4, abs=0.002)


@pytest.mark.long
def test_requests_in_flight_are_the_load_of_benchmark_app() -> None:
    """Two workers on a device that one fills: each request takes twice as long there, which is no real difference."""
    settings = {**IDEAL, "option.blocks": 10_000, "option.gflops": 20.0}
    alone, two = (asked(tool, 1.0, settings) for tool in ("loop", "benchmark_app:2"))
    assert two.reproduced == pytest.approx(2 * alone.reproduced, rel=0.05)
    assert parts(two)["its load"] == pytest.approx(-alone.reproduced / MS, rel=0.05)


def test_a_backlog_is_what_counting_from_the_send_leaves_out() -> None:
    """40 ms of work at 30 fps: perf_analyzer says 40 ms, and the frames wait ever longer for their turn."""
    plan = Plan(models=(ModelPlan(name="m", model="null", backend="null", options={"latency_us": 40_000}),))
    case = api.make_case(plan, fps=30)
    found = explain(
        case, time_limit=60, causes=(), tool_number=ToolNumber("perf_analyzer", 40 * MS), clock=FakeClock()
    ).expectation
    assert found is not None
    backlog = next(part for part in found.parts if part.name == "backlog")
    assert backlog.kind == "left out"
    assert backlog.ns == pytest.approx(found.seen - 40 * MS, rel=0.05)
    assert "sent" in backlog.how


@pytest.mark.parametrize(("tool", "setting"), [("trtexec-11", "graph=on"), ("benchmark_app:3", "workers=3")])
def test_settings_that_do_not_run_are_said_and_the_rest_is_answered(
    monkeypatch: pytest.MonkeyPatch, tool: str, setting: str
) -> None:
    """A backend with room for one worker and no graph: what did not run is named, the plan's settings stand for it."""
    worker = SimulatedSession._worker

    def refused(session: SimulatedSession, index: int) -> Worker:
        if session._plan.graph or index:
            raise BackendError("the device cannot do that")
        return worker(session, index)

    monkeypatch.setattr(SimulatedSession, "_worker", refused)
    found = asked(tool, 1.0, IDEAL)
    assert "its settings" not in parts(found)
    assert setting in found.parts[0].how
    assert "the device cannot do that" in found.parts[0].how


@pytest.mark.parametrize(
    ("number", "tool", "says"),
    [
        ("5.1ms", None, "--from is missing"),
        (None, "loop", "--expect is missing"),
        ("5.1ms", "trtexec-12", "did you mean 'trtexec-1"),
        ("5.1ms", "perf_analyser", "did you mean 'perf_analyzer'"),
        ("fast", "loop", "not a duration"),
        ("0ms", "loop", "above 0"),
        ("5.1ms", "benchmark_app:many", "benchmark_app:4"),
    ],
)
def test_mistakes_are_told(number: str | None, tool: str | None, says: str) -> None:
    """What is missing, the nearest tool, what a number looks like."""
    with pytest.raises(UsageError, match=says):
        parse_tool_number(number, tool)


@pytest.mark.parametrize("text", ["5.1ms", "5100us", "0.0051s", "5.1"])
def test_durations_are_read_in_every_unit(text: str) -> None:
    """One number, written four ways; a bare one is ms."""
    assert parse_tool_number(text, "loop") == ToolNumber("loop", 5_100_000)
    assert parse_tool_number(text, "benchmark_app:8") == ToolNumber("benchmark_app", 5_100_000, 8)
    assert parse_tool_number(None, None) is None


def test_a_number_about_two_models_is_refused_before_anything_runs() -> None:
    """The models are named, and nothing was measured."""
    models = tuple(ModelPlan(name=name, model="null", backend="null") for name in ("a", "b"))
    case: Case = api.make_case(Plan(models=models), fps=30)
    with pytest.raises(UsageError, match="a, b"):
        explain(case, tool_number=ToolNumber("loop", MS), clock=FakeClock())


def test_the_library_takes_the_words_of_the_command() -> None:
    """`expect` and `expect_from` are those of `--expect` and `--from`."""
    found = api.explain(
        "null", settings={"backend": "simulated", **IDEAL}, expect="2ms", expect_from="loop", time_limit=20
    )
    assert found.expectation is not None
    assert (found.expectation.tool, found.expectation.said) == ("loop", 2 * MS)


@pytest.mark.parametrize(("tool", "ns"), [("benchmark_app:4", 20_000_000), ("loop", 5_000_000)])
def test_a_rate_is_the_latency_of_what_is_in_flight(tool: str, ns: int) -> None:
    """200 frames per second with four in flight are 20 ms each, with one 5 ms."""
    number = parse_tool_number("200fps", tool)
    assert number is not None
    assert number.ns == ns


@pytest.mark.parametrize("rate", ["0fps", "-1fps", "nanfps", "fps", "1e12fps"])
def test_a_rate_that_is_none_is_refused(rate: str) -> None:
    """What is no positive number before 'fps' says what is expected."""
    with pytest.raises(UsageError, match="190fps"):
        parse_tool_number(rate, "loop")
