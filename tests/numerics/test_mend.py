"""The search for the smallest set of nodes that stay in FP32."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st

from framepace.numerics.mend import Search, islands

NAMES = [f"n{number}" for number in range(40)]
SMALL = NAMES[:24]  # of so few all may be kept
SETS = st.frozensets(st.sampled_from(SMALL), max_size=8)


@given(planted=SETS, order=st.permutations(SMALL), likely=st.integers(0, 30))
def test_what_is_needed_is_found_whatever_the_ranking_says(
    planted: frozenset[str], order: list[str], likely: int
) -> None:
    """When the gate holds exactly if all planted nodes are kept, they are kept and nothing else."""
    search = Search(order, lambda kept: not planted <= kept)
    assert search.run(likely=likely)
    assert search.best == planted
    assert search.minimal


@given(planted=st.frozensets(st.sampled_from(NAMES), min_size=1), likely=st.integers(0, 60))
def test_a_network_that_needs_more_than_half_is_refused_after_few_tries(planted: frozenset[str], likely: int) -> None:
    """Of 40 nodes 24 at most are kept; what is not within those that cost most is not looked for any further."""
    search = Search(NAMES, lambda kept: not planted <= kept)
    assert search.run(likely=likely) == (planted <= frozenset(NAMES[: search.most]))
    if not planted <= frozenset(NAMES[:24]):
        assert search.reached == frozenset(NAMES[:24])
        assert search.best == frozenset(NAMES)
        assert search.tries <= 7


@given(planted=SETS, order=st.permutations(SMALL))
def test_a_search_takes_a_few_tries_for_each_node_that_it_tries_to_leave_out(
    planted: frozenset[str], order: list[str]
) -> None:
    """Not the square of it: what is needed once is needed for good, and what is not goes in ever larger parts."""
    search = Search(order, lambda kept: not planted <= kept)
    search.run()
    last = max((order.index(name) + 1 for name in planted), default=0)
    assert search.tries <= 12 + last + 4 * len(planted)


@given(planted=SETS)
def test_nodes_that_fail_alone_make_the_search_short(planted: frozenset[str]) -> None:
    """With the planted nodes as `needed`, little is tried: none, them, and them without each or a part of them."""
    search = Search(NAMES, lambda kept: not planted <= kept)
    assert search.run(needed=planted)
    assert search.best == planted
    assert search.tries <= 2 + 3 * len(planted)


@given(errors=st.lists(st.integers(0, 9), min_size=1, max_size=20), limit=st.integers(0, 40))
def test_small_errors_that_add_up_need_no_more_nodes_than_the_largest_of_them(errors: list[int], limit: int) -> None:
    """When the errors of what is lowered add up, ranked by error, as few nodes are kept as can be."""
    named = {f"n{number}": error for number, error in enumerate(errors)}
    order = sorted(named, key=named.__getitem__, reverse=True)

    def fails(kept: frozenset[str]) -> bool:
        return sum(error for name, error in named.items() if name not in kept) > limit

    fewest = next(count for count in range(len(order) + 1) if not fails(frozenset(order[:count])))
    search = Search(order, fails)
    assert search.run()
    assert len(search.best) == fewest


@given(salt=st.integers(0, 10_000), count=st.integers(1, 12))
def test_a_gate_of_any_kind_holds_for_what_is_returned(salt: int, count: int) -> None:
    """Even where keeping more nodes may break the gate again."""
    names = NAMES[:count]

    def fails(kept: frozenset[str]) -> bool:
        digest = zlib.crc32(f"{salt} {sorted(kept)}".encode())
        return len(kept) < count and digest % 3 > 0

    search = Search(names, fails)
    assert search.run()
    assert not fails(search.best)


def test_an_interrupted_search_has_a_set_for_which_the_gate_holds() -> None:
    """After the first few tries the best is smaller than everything, and still right."""
    planted = frozenset(NAMES[3:6])
    tries = []

    def fails(kept: frozenset[str]) -> bool:
        tries.append(kept)
        if len(tries) > 9:
            raise KeyboardInterrupt
        return not planted <= kept

    search = Search(NAMES, fails)
    try:
        search.run()
    except KeyboardInterrupt:
        assert planted <= search.best < frozenset(NAMES)
        assert not search.minimal
    else:
        raise AssertionError("the search took fewer tries than expected")


def test_islands_are_nodes_that_feed_each_other() -> None:
    """Neighbours through a node that moves values count; nodes on other paths are islands of their own."""
    links = {"n1": ["n3"], "n3": ["n4"], "n7": []}
    found = islands(["n1", "n3", "n7"], NAMES, lambda name: links.get(name, []))
    assert found == [["n1", "n3"], ["n7"]]
