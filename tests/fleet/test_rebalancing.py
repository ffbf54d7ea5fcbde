"""When a place counts as hot, and what it is taken to carry then."""

from __future__ import annotations

from framepace.fleet.rebalancing import Heat, Seen

_COOL = Seen(p99_ms=40.0)
_LATE = Seen(p99_ms=140.0)


def _seconds(heat: Heat, seen: Seen, since: int, until: int, share: float = 0.8) -> list[int]:
    """The seconds in which its factor became less."""
    return [now for now in range(since, until) if heat.look(float(now), share, seen)]


def test_a_place_that_is_late_for_seconds_carries_less_than_its_share() -> None:
    """Not at once after it began, and only once until the change has shown."""
    heat = Heat(0.0, target_ms=100.0)
    assert _seconds(heat, _LATE, 0, 21) == [20]
    assert heat.factor < 0.8
    assert _seconds(heat, _LATE, 21, 40) == []


def test_a_place_that_nobody_can_relieve_is_not_taken_to_carry_less_and_less() -> None:
    """Where all are overloaded, what each carries stays what was seen."""
    heat = Heat(0.0, target_ms=100.0)
    assert _seconds(heat, _LATE, 0, 400) == [20]


def test_one_late_second_is_no_heat() -> None:
    """Seconds that are late now and then leave it as it is."""
    heat = Heat(0.0, target_ms=100.0)
    for now in range(20, 200):
        assert not heat.look(float(now), 0.8, _LATE if now % 4 == 0 else _COOL)
    assert heat.factor == 1.0


def test_losses_are_heat_without_a_target() -> None:
    """Pictures that are lost for want of time say it as well."""
    heat = Heat(0.0, target_ms=None)
    assert _seconds(heat, Seen(p99_ms=500.0), 16, 60) == []
    assert _seconds(heat, Seen(p99_ms=500.0, lost=0.05), 60, 70) == [65]


def test_what_was_taken_away_comes_back_with_calm() -> None:
    """A device that was throttled for a while is believed again, step by step."""
    heat = Heat(0.0, target_ms=100.0)
    _seconds(heat, _LATE, 0, 21)
    lowest = heat.factor
    _seconds(heat, _COOL, 40, 200)
    assert lowest < heat.factor < 1.0
    _seconds(heat, _COOL, 200, 2000)
    assert heat.factor == 1.0
