"""Overload in virtual time: measures are taken until nothing is lost, and taken back when there is room."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framepace.running.defence import Allowed, Defence, Load, Measures, ladder, sentences

FPS = 30


class Simulated:
    """Cameras at 30 fps on a machine that infers so many frames per second, three times as many with a smaller plan."""

    def __init__(self, allowed: Allowed, capacity: Callable[[int], float]) -> None:
        self.defence = Defence()
        self.allowed = allowed
        self.capacity = capacity
        self.measures = Measures()
        self.second = 0
        self.losses: list[float] = []
        self.taken: list[Measures] = []
        self.delivered: list[float] = []

    def run(self, seconds: int) -> None:
        """So many seconds."""
        for _ in range(seconds):
            capacity = self.capacity(self.second) * (3 if self.measures.smaller else 1)
            asked = FPS * (self.allowed.adaptive * self.measures.adaptive + self.allowed.others * self.measures.fixed)
            asked *= 1 - self.measures.paused / (self.allowed.adaptive + self.allowed.others)
            delivered = min(asked, capacity)
            load = Load(delivered, asked - delivered, late=0, busy=min(1, asked / capacity))
            self.measures = self.defence.look(load, ladder(self.allowed))
            self.losses.append(load.lost)
            self.delivered.append(delivered)
            self.taken.append(self.measures)
            self.second += 1


@settings(deadline=None)
@given(st.integers(1, 64), st.floats(0.1, 3.0))
def test_adaptive_sources_lose_next_to_nothing_and_use_most_of_the_machine(cameras: int, capacity: float) -> None:
    """From a tenth to three times what they ask for: after ten seconds no loss but of a try now and then."""
    run = Simulated(Allowed(adaptive=cameras), lambda second: capacity * cameras * FPS)
    run.run(180)
    settled = zip(run.losses[10:], run.delivered[10:], strict=True)
    assert sum(lost > 0.01 * (lost + delivered) for lost, delivered in settled) <= 6
    assert min(run.delivered[60:]) >= 0.6 * min(capacity, 1) * cameras * FPS


def test_without_overload_nothing_is_done() -> None:
    """All measures are allowed, none is taken."""
    run = Simulated(Allowed(others=10, skip=True, smaller=True, fewer=True), lambda second: 310.0)
    run.run(60)
    assert set(run.taken) == {Measures()}


def test_measures_are_taken_in_their_order() -> None:
    """Skipping alone where that is enough; then the smaller plan; cameras are paused only when nothing else helps."""
    allowed = Allowed(others=16, skip=True, smaller=True, fewer=True)
    for capacity, smaller, paused in ((300, False, False), (25, True, False), (4, True, True)):
        run = Simulated(allowed, lambda second, capacity=capacity: float(capacity))  # type: ignore[misc]
        run.run(120)
        assert run.measures.smaller is smaller
        assert (run.measures.paused > 0) is paused
        assert sum(run.losses[60:]) <= 0.05 * sum(run.delivered[60:])


def test_it_recovers_when_there_is_room_again() -> None:
    """A neighbour takes half of the machine for a minute: afterwards every picture is inferred again."""
    run = Simulated(Allowed(others=10, skip=True), lambda second: 200.0 if 20 <= second < 80 else 400.0)
    run.run(20)
    assert run.measures == Measures()
    run.run(60)
    assert run.measures.fixed < 0.7
    run.run(180)
    assert run.measures == Measures()


def test_it_does_not_swing() -> None:
    """At a constant overload it tries again now and then, more and more rarely."""
    run = Simulated(Allowed(others=10, skip=True), lambda second: 260.0)
    run.run(600)
    changes = [one != other for one, other in pairwise(run.taken)]
    assert sum(changes[300:]) <= 4


def test_late_results_are_overload_too() -> None:
    """Nothing is lost, but most results come later than the target; not where workers wait and less would not help."""
    defence = Defence()
    measures = defence.look(Load(100, 0, late=80, busy=1.0), ladder(Allowed(others=4, skip=True)))
    assert measures.fixed < 1
    defence = Defence()
    assert defence.look(Load(100, 0, late=80, busy=0.5), ladder(Allowed(others=4, skip=True))).fixed == 1


@pytest.mark.parametrize("allowed", [Allowed(), Allowed(others=3), Allowed(others=1, fewer=True)])
def test_where_nothing_may_be_done_nothing_is(allowed: Allowed) -> None:
    """And the last camera is never paused."""
    run = Simulated(Allowed(others=1), lambda second: 1.0)
    run.allowed = allowed if allowed.others else Allowed(others=1)
    run.run(20)
    assert run.measures == Measures()


def test_what_is_in_force_is_said() -> None:
    """A sentence per measure; thinning that a source asks for is none."""
    assert sentences(Measures(adaptive=0.5), Allowed(adaptive=2)) == ()
    told = sentences(Measures(fixed=0.5, smaller=True, paused=1), Allowed(others=2), ["door"])
    assert len(told) == 3
    assert "one picture of 2" in told[0]
    assert "door" in told[2]
