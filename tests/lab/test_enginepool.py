"""Engines kept between runs."""

from __future__ import annotations

import pytest

from framepace.errors import DeviceMemoryError
from framepace.facts.plan import ModelPlan, Plan
from framepace.lab.enginepool import EnginePool
from framepace.testing import FakeClock


class Loaded:
    """An engine that only counts: `room` of them fit on the device."""

    alive: int = 0
    made: int = 0
    room: int = 100

    def __init__(self, plan: Plan, clock: object, tell: object, keep: bool) -> None:
        if Loaded.alive >= Loaded.room:
            raise DeviceMemoryError("too little memory")
        Loaded.alive, Loaded.made = Loaded.alive + 1, Loaded.made + 1

    def release_workers(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Leave."""
        Loaded.alive -= 1


@pytest.fixture(autouse=True)
def loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines are counted, not loaded."""
    monkeypatch.setattr("framepace.lab.enginepool.Engine", Loaded)
    Loaded.alive, Loaded.made, Loaded.room = 0, 0, 100


def plan(name: str) -> Plan:
    """A plan of one model."""
    return Plan(models=(ModelPlan(name=name, model="null", backend="null"),))


def test_a_plan_that_loads_alike_uses_the_same_engine() -> None:
    """The same plan twice is loaded once; another one closes the oldest when there is no room to keep it."""
    with EnginePool(FakeClock(), size=2) as kept:
        first = kept.get(plan("a"))
        assert kept.get(plan("a")) is first
        kept.get(plan("b"))
        kept.get(plan("c"))
        assert (Loaded.made, Loaded.alive) == (3, 2)
    assert Loaded.alive == 0


def test_others_make_room_on_a_full_device() -> None:
    """Where a model does not fit beside those kept, they are closed and it is loaded; alone it is an error."""
    with EnginePool(FakeClock(), size=5) as kept:
        Loaded.room = 2
        for name in "abc":
            kept.get(plan(name))
        assert Loaded.alive == 1
        Loaded.room = 0
        with pytest.raises(DeviceMemoryError):
            kept.get(plan("d"))
    assert Loaded.alive == 0
