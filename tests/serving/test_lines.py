"""Who waits, and who goes next."""

from __future__ import annotations

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from framepace.serving.lines import Lines

REQUESTS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([1, 5]), st.integers(0, 5)), min_size=1, max_size=30
)


def filled(*requests: tuple[str, int, int]) -> Lines[str]:
    """Lines with (client, priority, deadline) in order; an item is its client and its number."""
    lines: Lines[str] = Lines()
    for number, (client, priority, deadline) in enumerate(requests):
        lines.add(f"{client}{number}", client, priority, deadline, number)
    return lines


def test_the_earliest_deadline_of_a_client_goes_first() -> None:
    """Whatever the order in which they came; equal ones in that order."""
    lines = filled(("a", 5, 9), ("a", 5, 3), ("a", 5, 7), ("a", 5, 3))
    assert lines.take(4) == ["a1", "a3", "a2", "a0"]


def test_clients_take_turns() -> None:
    """One that floods does not make another wait behind all that it sent."""
    lines = filled(*[("flood", 5, 1)] * 5, ("polite", 5, 9))
    assert lines.take(3) == ["flood0", "polite5", "flood1"]


def test_a_lower_priority_number_goes_before_all_others() -> None:
    """Whatever the deadlines."""
    assert filled(("a", 5, 1), ("b", 1, 9)).take(2) == ["b1", "a0"]


def test_a_removed_item_does_not_go() -> None:
    """And only it is gone."""
    lines = filled(("a", 5, 1), ("a", 5, 1), ("b", 5, 1))
    assert lines.remove("a", 5, 1, 1)
    assert not lines.remove("a", 5, 1, 1)
    assert len(lines) == 2
    assert lines.clear() == ["a0", "b2"]


@given(REQUESTS, st.integers(1, 10))
def test_what_is_next_is_what_is_taken(requests: list[tuple[str, int, int]], size: int) -> None:
    """In batches of any size, and everything is taken once."""
    lines = filled(*requests)
    taken: list[str] = []
    while len(lines):
        announced = [place.item for place in lines.next(size)]
        assert lines.take(size) == announced
        taken += announced
    assert sorted(int(item[1:]) for item in taken) == list(range(len(requests)))


@given(REQUESTS, st.sampled_from("abc"), st.sampled_from([1, 5]), st.integers(0, 5))
def test_a_new_item_never_waits_for_more_than_was_said(
    requests: list[tuple[str, int, int]], client: str, priority: int, deadline: int
) -> None:
    """`ahead` is what admission counts on; nothing that came before it goes before it beyond that."""
    lines = filled(*requests)
    ahead = lines.ahead(client, priority, deadline)
    lines.add("new", client, priority, deadline, len(requests))
    assert lines.take(len(lines)).index("new") <= ahead


@given(st.integers(1, 5), st.integers(1, 40))
def test_no_client_gets_more_than_its_turn(clients: int, flood: int) -> None:
    """While several wait, none has two items more taken than another that still waits."""
    numbers = count()
    lines: Lines[str] = Lines()
    for name in [f"c{i}" for i in range(clients)]:
        for _ in range(flood):
            lines.add(name, name, 5, 0, next(numbers))
    taken = lines.take(clients * flood // 2)
    shares = [taken.count(f"c{i}") for i in range(clients)]
    assert max(shares) - min(shares) <= 1
