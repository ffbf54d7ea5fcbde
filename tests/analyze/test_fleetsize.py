"""The cheapest hosts, held against trying all of them."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from framepace.analyze.fleetsize import Counts, Hosts, carried, cheapest, cost

_KIND = st.builds(
    Hosts,
    carries=st.integers(0, 7),
    cost=st.integers(1, 9).map(float),
    limit=st.none() | st.integers(1, 4),
)
KINDS = st.dictionaries(st.sampled_from("abc"), _KIND, min_size=1)
_ENOUGH = 7  # hosts of a kind that can have as many as it likes, for the cameras below


def tried(kinds: dict[str, Hosts], cameras: int) -> float | None:
    """The lowest cost of all fleets that carry the cameras without their largest host; None without any."""
    ranges = [range((_ENOUGH if kind.limit is None else kind.limit) + 1) for kind in kinds.values()]
    fleets: list[Counts] = [dict(zip(kinds, counts, strict=True)) for counts in product(*ranges)]
    return min((cost(kinds, fleet) for fleet in fleets if carried(kinds, fleet) >= cameras), default=None)


@given(KINDS, st.integers(1, 6))
def test_no_other_fleet_is_cheaper(kinds: dict[str, Hosts], cameras: int) -> None:
    """Of every combination of hosts, and there is one wherever any carries the cameras."""
    found = cheapest(kinds, cameras)
    best = tried(kinds, cameras)
    assert (found is None) == (best is None)
    if found is not None:
        assert cost(kinds, found) == best


@given(KINDS, st.integers(1, 5_000))
def test_any_one_host_may_be_lost(kinds: dict[str, Hosts], cameras: int) -> None:
    """The others carry all cameras, whichever it is, and no kind has more hosts than there are."""
    found = cheapest(kinds, cameras)
    if found is None:
        return
    whole = sum(kinds[name].carries * count for name, count in found.items())
    assert all(whole - kinds[name].carries >= cameras for name in found)
    assert all(count <= (kinds[name].limit or count) for name, count in found.items())


@given(KINDS, st.integers(1, 2_000), st.integers(1, 500))
def test_more_cameras_never_cost_less(kinds: dict[str, Hosts], cameras: int, more: int) -> None:
    """Nor can they be carried where fewer cannot."""
    fewer = cheapest(kinds, cameras)
    many = cheapest(kinds, cameras + more)
    if many is not None:
        assert fewer is not None
        assert cost(kinds, fewer) <= cost(kinds, many)


@given(KINDS, _KIND, st.integers(1, 2_000))
def test_a_further_kind_never_makes_it_dearer(kinds: dict[str, Hosts], another: Hosts, cameras: int) -> None:
    """It may be left out."""
    without = cheapest(kinds, cameras)
    with_it = cheapest({**kinds, "another": another}, cameras)
    if without is not None:
        assert with_it is not None
        assert cost({**kinds, "another": another}, with_it) <= cost(kinds, without)


def test_of_fleets_that_cost_the_same_the_one_of_fewer_hosts_is_taken() -> None:
    """Four small ones cost what two large ones do."""
    kinds = {"small": Hosts(carries=5, cost=1.0), "large": Hosts(carries=10, cost=2.0)}
    assert cheapest(kinds, 10) in ({"large": 2}, {"small": 3})
    assert cheapest({"small": Hosts(5, 1.0), "large": Hosts(10, 1.5)}, 10) == {"large": 2}
    assert cheapest({"a": Hosts(5), "b": Hosts(10, 2.0)}, 1000) is not None


def test_a_large_spare_is_not_free() -> None:
    """Many small hosts need a small spare; one large host in between would need a large one."""
    kinds = {"small": Hosts(carries=10, cost=10.0), "large": Hosts(carries=100, cost=99.0)}
    assert cheapest(kinds, 100) == {"small": 11}
    assert cheapest(kinds, 10_000) == {"large": 101}
