"""Deadlines: a call that does not return is left behind, and what it gives too late is freed."""

from __future__ import annotations

import threading
import time

import pytest

from framepace.deadline import together, within
from framepace.errors import SourceError


def test_what_returns_in_time_is_returned() -> None:
    """The result as it is, also None."""
    assert within(5, "late", lambda: 3) == 3
    assert within(5, "late", lambda: None) is None


def test_what_raises_in_time_is_raised() -> None:
    """The error itself, not one about time."""
    with pytest.raises(ZeroDivisionError):
        within(5, "late", lambda: 1 // 0)


def test_what_does_not_return_is_left_and_named() -> None:
    """The sentence says what did not answer and for how long; a result that comes later is freed by its owner."""
    answer = threading.Event()
    freed = threading.Event()

    def wait() -> bool:
        return answer.wait(10)

    began = time.monotonic()
    with pytest.raises(SourceError, match="does not open") as error:
        within(
            0.1, "it does not open", lambda: answer.wait(10), got="disk", error=SourceError, late=lambda _: freed.set()
        )
    assert time.monotonic() - began < 5
    assert "disk: no answer in 0.1 s" in str(error.value)
    answer.set()
    assert freed.wait(5)


def test_several_that_wait_take_as_long_as_one() -> None:
    """Each gets its own outcome, in order; an error is one of them."""
    gate = threading.Barrier(3)

    def wait() -> str:
        gate.wait(10)
        return "met"

    def fail() -> str:
        gate.wait(10)
        raise SourceError("none")

    outcomes = together([wait, fail, wait])
    assert outcomes[0] == outcomes[2] == "met"
    assert isinstance(outcomes[1], SourceError)
