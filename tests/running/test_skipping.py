"""Which pictures are inferred, and which are not even decoded."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from framepace.running.skipping import CatchingUp, LeavingOut, Thinning
from framepace.units import NS_PER_S
from framepace.video.choice import LeavesOut


@given(st.floats(1, 50), st.floats(0, 0.99), st.integers(1, 500))
@example(1.71875, 0.75, 50)
def test_an_even_share_is_taken(every: float, phase: float, count: int) -> None:
    """Of n pictures one of `every`, to within one, and never two closer than they should be."""
    thinning = Thinning(every, phase)
    taken = [number for number in range(count) if thinning.takes()]
    assert abs(len(taken) - count / every) <= 1 + 1e-6
    assert all(every - 1 < other - one < every + 1 for one, other in pairwise(taken))


def test_one_of_four_begins_with_the_first() -> None:
    """Without a phase; with half a one two pictures later."""
    assert [number for number in range(9) if Thinning(4).takes()] == list(range(9))
    first = Thinning(4)
    assert [number for number in range(9) if first.takes()] == [0, 4, 8]
    second = Thinning(4, 0.5)
    assert [number for number in range(9) if second.takes()] == [2, 6]


def decoder(leaving_out: LeavingOut, every: float, pictures: int, referred: int, keys: int) -> list[LeavesOut]:
    """A stream in which one picture of `referred` is referred to, and one of `keys` is a key frame."""
    levels: list[LeavesOut] = []
    level: LeavesOut = "NONE"
    for number in range(pictures):
        is_key = number % keys == 0
        kept = level == "NONE" or is_key or (level == "NONREF" and number % referred == 0)
        if kept:
            leaving_out.decoded(is_key, level)
        else:
            leaving_out.left_out(is_key, level)
        level = leaving_out.level(every)
        levels.append(level)
    return levels


@pytest.mark.parametrize(
    ("every", "referred", "keys", "level"),
    [
        (1, 2, 30, "NONE"),  # all pictures are wanted
        (2, 2, 30, "NONREF"),  # the decoder gives just as many
        (2, 4, 30, "NONE"),  # it would give one of four
        (30, 2, 30, "NONKEY"),
        (25, 2, 30, "NONREF"),
    ],
)
def test_the_decoder_leaves_out_as_much_as_it_may(every: float, referred: int, keys: int, level: LeavesOut) -> None:
    """After a second or ten it knows how many pictures are referred to, and how far key frames are apart."""
    assert decoder(LeavingOut(), every, 600, referred, keys)[-1] == level


def test_a_source_that_wants_more_again_gets_more() -> None:
    """From one of thirty back to all."""
    leaving_out = LeavingOut()
    assert decoder(leaving_out, 30, 600, 2, 30)[-1] == "NONKEY"
    assert decoder(leaving_out, 1, 1, 2, 30) == ["NONE"]


def test_a_source_that_stays_behind_catches_up_until_it_is_not() -> None:
    """It begins two seconds after a second behind, and ends at a quarter of that; what was made up for begins none."""
    catching = CatchingUp()
    behind = [
        (0.0, 1.5),
        (1.9, 2.5),
        (2.1, 2.6),
        (2.5, 0.9),
        (2.6, 0.2),
        (3.0, 1.2),
        (4.0, 0.5),
        (4.5, 1.2),
        (6.0, 1.2),
    ]
    got = [catching.look(round(now * NS_PER_S), round(lag * NS_PER_S)) for now, lag in behind]
    assert got == [False, False, True, True, False, False, False, False, False]
