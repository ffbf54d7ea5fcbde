"""What a run does when there is more to do than it can: frames dropped, sources thinned or paused, other plans."""

from __future__ import annotations

import threading

import pytest

from framepace.facts.plan import SourcePolicy
from framepace.facts.running import SourceSpec
from framepace.running.options import Options
from framepace.running.run import Run
from framepace.units import NS_PER_S
from tests.doubles.faulty import Faults
from tests.running.rtsp import of, until
from tests.running.runs import CLOCK, Collected, assert_accounted, plan, sink
from tests.running.videos import PICTURES


def test_a_full_buffer_of_a_camera_drops_the_oldest_with_its_cause(path: str) -> None:
    """A model of 100 ms on pictures every 33 ms."""
    slow = plan("faulty", source=SourcePolicy(buffer=1))
    Faults.reset(lambda number: CLOCK.sleep_until(CLOCK.now() + 100_000_000))
    status = Run(slow, [SourceSpec(name="a", address=path)]).start().wait(30)
    assert_accounted(status)
    assert of(status, "a").dropped["buffer full"] > PICTURES // 3


def test_what_would_be_too_old_at_the_sinks_is_dropped(path: str) -> None:
    """The same with at most 50 ms of age: nothing comes out, everything has its cause."""
    Faults.reset(lambda number: CLOCK.sleep_until(CLOCK.now() + 100_000_000))
    collected = Collected()
    run = Run(plan("faulty"), [SourceSpec(name="a", address=path)], [sink(collected)], Options(max_age_ms=50))
    status = run.start().wait(30)
    assert_accounted(status)
    assert collected.numbers("a") == []
    assert set(of(status, "a").dropped) <= {"stale", "too old at the sink", "buffer full"}


@pytest.mark.long
def test_frames_that_would_be_too_old_when_they_are_done_are_not_taken(path: str) -> None:
    """A model of 60 ms, at most 90 ms of age, two frames of buffer: once that is known, nothing is inferred in vain."""
    Faults.reset(lambda number: CLOCK.sleep_until(CLOCK.now() + 60_000_000))
    options = Options(max_age_ms=90, stays=True)
    run = Run(plan("faulty"), [SourceSpec(name="a", address=path, loop=True)], options=options).start()
    until(run, lambda status: of(status, "a").taken > 90)
    before = of(run.status(), "a")
    after = of(until(run, lambda status: of(status, "a").taken > before.taken + 120), "a")
    run.stop()
    assert_accounted(run.wait(30))
    in_vain = after.dropped.get("too old at the sink", 0) - before.dropped.get("too old at the sink", 0)
    delivered = after.delivered - before.delivered
    assert delivered > 20
    assert in_vain <= 0.25 * delivered


@pytest.mark.long
def test_adaptive_sources_share_what_the_model_can_do(path: str) -> None:
    """Two cameras of 30 fps, and a model of 50 ms: as many as it has time for, evenly, and none is lost any more."""
    worked_ns = [0]

    def work(number: int) -> None:
        began = CLOCK.now()
        CLOCK.sleep_until(began + 50_000_000)
        worked_ns[0] += CLOCK.now() - began

    Faults.reset(work)
    sources = [SourceSpec(name=name, address=path, loop=True, every="adaptive") for name in "ab"]
    run = Run(plan("faulty"), sources, options=Options(stays=True)).start()
    until(run, lambda status: of(status, "a").taken > 240)
    before = run.status()
    worked_before = worked_ns[0]
    after = until(run, lambda status: of(status, "a").taken > 480)
    busy = (worked_ns[0] - worked_before) / NS_PER_S / (after.seconds - before.seconds)
    run.stop()
    assert_accounted(run.wait(30))
    skipped = [of(after, name).skipped - of(before, name).skipped for name in "ab"]
    delivered = [of(after, name).delivered - of(before, name).delivered for name in "ab"]
    lost = [sum(of(after, name).dropped.values()) - sum(of(before, name).dropped.values()) for name in "ab"]
    assert busy >= 0.6 or sum(skipped) <= 0.1 * sum(delivered)  # or so few came that there is nothing to thin
    assert delivered[0] == pytest.approx(delivered[1], rel=0.1, abs=3)
    assert sum(lost) <= 0.05 * sum(delivered)
    assert after.degraded == ()


def test_under_overload_the_sources_of_the_lowest_priority_are_paused(path: str) -> None:
    """Three cameras, a model of 40 ms: the most important one goes on, and it is said which are paused."""
    Faults.reset(lambda number: CLOCK.sleep_until(CLOCK.now() + 40_000_000))
    sources = [SourceSpec(name=name, address=path, loop=True, priority=priority) for priority, name in enumerate("abc")]
    run = Run(plan("faulty"), sources, options=Options(stays=True, fewer=True)).start()
    status = until(run, lambda status: any("paused" in text for text in status.degraded))
    assert "paused, by priority: a" in status.degraded[0]
    before = of(status, "c").delivered
    until(run, lambda status: of(status, "c").delivered > before + 5)
    run.stop()
    assert_accounted(run.wait(30))


@pytest.mark.long
def test_a_smaller_plan_takes_over_and_gives_way_again(path: str) -> None:
    """A slow model: the other plan runs, which is said; results go on in order, and every picture is accounted for."""
    slow = threading.Event()
    slow.set()
    Faults.reset(lambda number: CLOCK.sleep_until(CLOCK.now() + 100_000_000) if slow.is_set() else None)
    collected = Collected()
    run = Run(
        plan("faulty"),
        [SourceSpec(name="a", address=path, loop=True)],
        [sink(collected)],
        Options(stays=True, smaller=plan("null")),
    ).start()
    status = until(run, lambda status: bool(status.degraded))
    assert "smaller plan" in status.degraded[0]
    until(run, lambda now: of(now, "a").delivered > of(status, "a").delivered + 60)
    slow.clear()
    until(run, lambda now: not now.degraded, 60)
    run.stop()
    assert_accounted(run.wait(30))
    assert collected.numbers("a") == sorted(set(collected.numbers("a")))


@pytest.mark.long
@pytest.mark.parametrize(
    ("used", "tried", "verdict"), [("faulty", "null", "promoted"), ("null", "faulty", "rolled back")]
)
def test_a_canary_is_promoted_or_rolled_back(path: str, used: str, tried: str, verdict: str) -> None:
    """A plan of 20 ms and one of none, a third of the frames: the quicker one runs in the end; all is in order."""
    Faults.reset(lambda number: CLOCK.sleep_until(CLOCK.now() + 20_000_000))
    collected = Collected()
    options = Options(stays=True, canary=plan(tried), canary_share=0.3)
    sources = [SourceSpec(name=name, address=path, loop=True) for name in "ab"]
    run = Run(plan(used), sources, [sink(collected)], options).start()
    status = until(run, lambda status: any("canary" in note for note in status.notes), 120)
    assert any(f"the canary was {verdict}" in note for note in status.notes)
    before = Faults.count
    until(run, lambda now: of(now, "a").delivered > of(status, "a").delivered + 60)
    assert Faults.count - before <= 2
    run.stop()
    assert_accounted(run.wait(30))
    for name in "ab":
        assert collected.numbers(name) == sorted(set(collected.numbers(name)))
