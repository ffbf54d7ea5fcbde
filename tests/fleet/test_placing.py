"""Where cameras are put: facts that hold for any cameras and places."""

from __future__ import annotations

import itertools
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from framepace.fleet.placing import Assignment, Capacity, Load, balanced, moved, place, predicted

_LOADS = st.lists(st.builds(Load, st.floats(0.5, 60), st.floats(1e4, 6e7)), min_size=1, max_size=24).map(
    lambda loads: {f"camera-{number}": load for number, load in enumerate(loads)}
)
_PASSES = 5  # an algorithm that looks at all pairs does more with each than compare it
_CAPACITIES = st.lists(st.builds(Capacity, st.floats(10, 400), st.floats(1e6, 4e8)), min_size=1, max_size=6).map(
    lambda capacities: {f"place-{number}": capacity for number, capacity in enumerate(capacities)}
)


def _share(loads: dict[str, Load], capacity: Capacity, names: list[str]) -> float:
    frames = sum(loads[name].frames for name in names)
    pixels = sum(loads[name].pixels for name in names)
    return max(frames / capacity.frames, pixels / capacity.pixels)


def _at(assignment: Assignment, where: str) -> list[str]:
    return [name for name, at in assignment.items() if at == where]


def _assert_no_needless_overload(loads: dict[str, Load], capacities: dict[str, Capacity], found: Assignment) -> None:
    for full, capacity in capacities.items():
        if _share(loads, capacity, _at(found, full)) <= 1 + 1e-6:
            continue
        for name, other in itertools.product(_at(found, full), capacities):
            if other != full:
                assert _share(loads, capacities[other], [*_at(found, other), name]) > 1, (name, other)


@given(_LOADS, _CAPACITIES)
@settings(max_examples=300, deadline=None)
def test_no_place_is_above_its_capacity_while_another_has_room(
    loads: dict[str, Load], capacities: dict[str, Capacity]
) -> None:
    """Every camera has a place, and no camera of an overloaded one would fit elsewhere."""
    found = place(loads, capacities)
    assert found.keys() == loads.keys()
    _assert_no_needless_overload(loads, capacities, found)


@given(_LOADS, _CAPACITIES, st.data())
@settings(max_examples=300, deadline=None)
def test_a_lost_place_moves_its_own_cameras_alone(
    loads: dict[str, Load], capacities: dict[str, Capacity], data: st.DataObject
) -> None:
    """Where the others have room for them; where not, other cameras move only to relieve what that overloads."""
    before = place(loads, capacities)
    lost = data.draw(st.sampled_from(sorted(capacities)))
    remaining = {name: capacity for name, capacity in capacities.items() if name != lost}
    after = place(loads, remaining, before)
    if not remaining:
        assert after == {}
        return
    _assert_no_needless_overload(loads, remaining, after)
    orphans = set(_at(before, lost))
    assert orphans <= set(moved(before, after))
    if all(what.share <= 1 for what in predicted(loads, remaining, before_without(before, lost, after)).values()):
        assert set(moved(before, after)) == orphans


def before_without(before: Assignment, lost: str, after: Assignment) -> Assignment:
    """The cameras of other places where they were, those of the lost one where they went."""
    return {name: after[name] if at == lost else at for name, at in before.items()}


@given(st.lists(st.integers(1, 20), min_size=1, max_size=8), st.integers(1, 60))
@settings(max_examples=200, deadline=None)
def test_the_fewest_cameras_leave_a_hot_place(frames: list[int], carried: int) -> None:
    """With room elsewhere, no smaller set of cameras would relieve it."""
    loads = {f"camera-{number}": Load(float(count)) for number, count in enumerate(frames)}
    before = dict.fromkeys(loads, "hot")
    after = place(loads, {"hot": Capacity(float(carried)), "free": Capacity(1000.0)}, before)
    left = len(moved(before, after))
    fewest = next(
        count
        for count in range(len(frames) + 1)
        if any(sum(frames) - sum(away) <= carried for away in itertools.combinations(frames, count))
    )
    assert left == fewest


@given(_LOADS, _CAPACITIES)
@settings(max_examples=100, deadline=None)
def test_what_fits_stays_where_it_is(loads: dict[str, Load], capacities: dict[str, Capacity]) -> None:
    """A placement that was made is its own answer."""
    once = place(loads, capacities)
    assert place(loads, capacities, once) == once


def test_a_place_that_comes_back_gets_its_own_cameras_again() -> None:
    """Those that its loss moved came last to where they are, and go first: the others are left alone."""
    loads = {f"camera-{number}": Load(10.0) for number in range(80)}
    capacities = {f"place-{number}": Capacity(200.0) for number in range(8)}
    before = place(loads, capacities)
    without = {name: capacity for name, capacity in capacities.items() if name != "place-3"}
    after = balanced(loads, capacities, place(loads, without, before))
    assert set(moved(before, after)) <= set(_at(before, "place-3"))
    assert max(what.share for what in predicted(loads, capacities, after).values()) <= 0.6


def test_unlike_places_are_filled_to_the_same_share() -> None:
    """A place that carries four times as much gets four times as many cameras."""
    loads = {f"camera-{number}": Load(10.0) for number in range(50)}
    found = place(loads, {"small": Capacity(200.0), "large": Capacity(800.0)})
    assert len(_at(found, "small")) == 10
    assert len(_at(found, "large")) == 40


def test_a_host_with_few_cores_gets_few_pixels() -> None:
    """Decoding counts as well as inference: large pictures go to where they can be decoded."""
    loads = {"large": Load(10.0, 8e7), "small": Load(10.0, 1e6)}
    found = place(loads, {"few-cores": Capacity(100.0, 1e7), "many-cores": Capacity(100.0, 1e8)})
    assert found["large"] == "many-cores"


def test_the_age_is_predicted_between_what_is_known() -> None:
    """On straight lines between known shares; an overloaded place has none."""
    capacity = Capacity(100.0, curve=((0.1, 10.0), (0.5, 20.0), (1.0, 60.0)))
    loads = {f"camera-{number}": Load(25.0) for number in range(5)}
    assert predicted(loads, {"a": capacity}, dict.fromkeys(list(loads)[:3], "a"))["a"].p99_ms == 40.0
    assert predicted(loads, {"a": capacity}, dict.fromkeys(loads, "a"))["a"].p99_ms is None


def test_ten_thousand_cameras_are_placed_in_less_time_than_a_few_passes_over_all_pairs() -> None:
    """10,000 cameras on 1,000 places take less time than comparing each pair a few times in Python."""
    loads = {f"camera-{number}": Load(5.0 + number % 4 * 8, 1e6 * (number % 5)) for number in range(10_000)}
    capacities = {f"place-{number}": Capacity(200.0 + 200 * (number % 2), 1e8) for number in range(1_000)}
    began = time.thread_time()
    found = place(loads, capacities)
    took = time.thread_time() - began
    began = time.thread_time()
    assert sum(load.frames <= capacity.frames for load in loads.values() for capacity in capacities.values()) == 10**7
    one_pass = time.thread_time() - began
    shares = [what.share for what in predicted(loads, capacities, found).values()]
    assert max(shares) <= 1
    assert took < _PASSES * one_pass
